// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "rutabaga/frame.h"

namespace swede::rutabaga {

/// A cursor as UPDATE_CURSOR took it: a copy, so the guest may draw the next one at once.
struct CursorImage {
    uint32_t hot_x = 0;  ///< px
    uint32_t hot_y = 0;  ///< px
    /// B8G8R8A8, premultiplied as the guest gave it, rows of 64.
    std::array<uint32_t, size_t{wire::kCursorSize} * wire::kCursorSize> pixels{};
};

/// Takes what a guest shows: PNG files, QEMU's display socket, later windows. Called on the device
/// thread only; never delays it (decision 17): work is done on a thread of its own with the latest
/// frame, or sent without blocking.
class DisplaySink {
  public:
    virtual ~DisplaySink() = default;
    /// Null turns the scanout off.
    virtual void set_scanout(uint32_t scanout, std::shared_ptr<const Frame> frame) = 0;
    /// `damage` lies inside the frame.
    virtual void flush(uint32_t scanout, const Rect& damage) = 0;
    /// Null hides the cursor. The position is of the hot spot's pixel, in scanout coordinates.
    virtual void set_cursor(uint32_t scanout, std::shared_ptr<const CursorImage> image, int32_t x,
                            int32_t y) = 0;
    virtual void move_cursor(uint32_t scanout, int32_t x, int32_t y) = 0;
};

}  // namespace swede::rutabaga
