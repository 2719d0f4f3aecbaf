// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace swede::rutabaga {

/// The eight formats of virtio 1.3, 5.7.6.8 (VIRTIO_GPU_FORMAT_*), all 4 bytes a pixel, named in
/// the order of bytes in memory.
enum class PixelFormat : uint32_t {
    kB8G8R8A8 = 1,
    kB8G8R8X8 = 2,
    kA8R8G8B8 = 3,
    kX8R8G8B8 = 4,
    kR8G8B8A8 = 67,
    kX8B8G8R8 = 68,
    kA8B8G8R8 = 121,
    kR8G8B8X8 = 134,
};

inline constexpr uint32_t kBytesPerPixel = 4;

[[nodiscard]] std::optional<PixelFormat> pixel_format(uint32_t virtio_format);
[[nodiscard]] bool has_alpha(PixelFormat format);
/// The same order of bytes, with the ignored byte taken as alpha.
[[nodiscard]] PixelFormat with_alpha(PixelFormat format);

/// Rewrites a row of pixels from `format` to B8G8R8A8 in place; formats without alpha become
/// opaque.
void convert_to_bgra(PixelFormat format, std::span<std::byte> row);

}  // namespace swede::rutabaga
