// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rutabaga/display_sink.h"

namespace swede::display {

/// Some rows of a picture in B8G8R8A8, one behind the other.
struct PixelBand {
    std::span<std::byte> pixels;
    uint32_t width = 0;      ///< px; the picture's
    uint32_t first_row = 0;  ///< of the picture
};

/// Draws the part of the cursor that falls into the band, over what is there. `x`, `y` is where the
/// hot spot is, in px of the picture; any value is allowed, also far outside.
void blend_cursor(const PixelBand& band, const rutabaga::CursorImage& cursor, int32_t x, int32_t y);

}  // namespace swede::display
