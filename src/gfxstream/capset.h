// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "rutabaga/renderer.h"

namespace swede::gfxstream {

inline constexpr uint32_t kCapsetId = 3;  ///< VIRTIO_GPU_CAPSET_GFXSTREAM_VULKAN

/// What GET_CAPSET answers a guest's Vulkan driver.
/// `color_buffer_index`: the memory type, as guests number them, of exported images.
[[nodiscard]] rutabaga::Capset make_capset(uint32_t color_buffer_index);

}  // namespace swede::gfxstream
