// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/pixel_format.h"

#include <bit>
#include <cstring>

namespace swede::rutabaga {
namespace {

/// Applies `change` to each whole pixel. A pixel is a little-endian word: byte 0 is its low byte.
template <typename Change>
void rewrite(std::span<std::byte> row, Change change) {
    for (size_t at = 0; at + kBytesPerPixel <= row.size(); at += kBytesPerPixel) {
        uint32_t pixel;
        std::memcpy(&pixel, row.data() + at, kBytesPerPixel);
        pixel = change(pixel);
        std::memcpy(row.data() + at, &pixel, kBytesPerPixel);
    }
}

constexpr uint32_t kOpaque = 0xff000000;

constexpr uint32_t swap_red_and_blue(uint32_t pixel) {
    return (pixel & 0xff00ff00) | std::rotl(pixel & 0x00ff00ff, 16);
}

}  // namespace

std::optional<PixelFormat> pixel_format(uint32_t virtio_format) {
    const auto format = static_cast<PixelFormat>(virtio_format);
    switch (format) {
        case PixelFormat::kB8G8R8A8:
        case PixelFormat::kB8G8R8X8:
        case PixelFormat::kA8R8G8B8:
        case PixelFormat::kX8R8G8B8:
        case PixelFormat::kR8G8B8A8:
        case PixelFormat::kX8B8G8R8:
        case PixelFormat::kA8B8G8R8:
        case PixelFormat::kR8G8B8X8:
            return format;
    }
    return std::nullopt;
}

bool has_alpha(PixelFormat format) {
    return format == PixelFormat::kB8G8R8A8 || format == PixelFormat::kA8R8G8B8 ||
           format == PixelFormat::kR8G8B8A8 || format == PixelFormat::kA8B8G8R8;
}

PixelFormat with_alpha(PixelFormat format) {
    switch (format) {
        case PixelFormat::kB8G8R8X8:
            return PixelFormat::kB8G8R8A8;
        case PixelFormat::kX8R8G8B8:
            return PixelFormat::kA8R8G8B8;
        case PixelFormat::kR8G8B8X8:
            return PixelFormat::kR8G8B8A8;
        case PixelFormat::kX8B8G8R8:
            return PixelFormat::kA8B8G8R8;
        default:
            return format;
    }
}

void convert_to_bgra(PixelFormat format, std::span<std::byte> row) {
    switch (format) {
        case PixelFormat::kB8G8R8A8:
            return;
        case PixelFormat::kB8G8R8X8:
            return rewrite(row, [](uint32_t p) { return p | kOpaque; });
        case PixelFormat::kA8R8G8B8:
            return rewrite(row, [](uint32_t p) { return __builtin_bswap32(p); });
        case PixelFormat::kX8R8G8B8:
            return rewrite(row, [](uint32_t p) { return __builtin_bswap32(p) | kOpaque; });
        case PixelFormat::kR8G8B8A8:
            return rewrite(row, [](uint32_t p) { return swap_red_and_blue(p); });
        case PixelFormat::kR8G8B8X8:
            return rewrite(row, [](uint32_t p) { return swap_red_and_blue(p) | kOpaque; });
        case PixelFormat::kA8B8G8R8:
            return rewrite(row, [](uint32_t p) { return std::rotr(p, 8); });
        case PixelFormat::kX8B8G8R8:
            return rewrite(row, [](uint32_t p) { return std::rotr(p, 8) | kOpaque; });
    }
}

}  // namespace swede::rutabaga
