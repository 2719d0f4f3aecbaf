// SPDX-License-Identifier: Apache-2.0
#include "display/cursor_blend.h"

#include <algorithm>

#include "rutabaga/pixel_format.h"

namespace swede::display {
namespace {

constexpr int64_t kCursorSize = wire::kCursorSize;

struct Interval {
    int64_t begin;
    int64_t end;
};

/// The pixels of the cursor, along one axis, that land in [from, to).
Interval visible(int64_t cursor_start, int64_t from, int64_t to) {
    return {std::clamp<int64_t>(from - cursor_start, 0, kCursorSize),
            std::clamp<int64_t>(to - cursor_start, 0, kCursorSize)};
}

/// Premultiplied "over": source + destination * (1 - alpha), to the nearest. A guest may send
/// colours larger than their alpha; they end at white.
std::byte over(uint32_t source, std::byte destination, uint32_t alpha) {
    const uint32_t rest = (std::to_integer<uint32_t>(destination) * (255 - alpha) + 127) / 255;
    return std::byte(std::min<uint32_t>(source + rest, 255));
}

}  // namespace

void blend_cursor(const PixelBand& band, const rutabaga::CursorImage& cursor, int32_t x,
                  int32_t y) {
    const size_t stride = size_t{band.width} * rutabaga::kBytesPerPixel;
    if (stride == 0) return;
    const int64_t rows = static_cast<int64_t>(band.pixels.size() / stride);
    const int64_t left = int64_t{x} - cursor.hot_x;
    const int64_t top = int64_t{y} - cursor.hot_y - band.first_row;
    const Interval columns = visible(left, 0, band.width);
    const Interval lines = visible(top, 0, rows);
    for (int64_t line = lines.begin; line < lines.end; ++line) {
        for (int64_t column = columns.begin; column < columns.end; ++column) {
            const uint32_t pixel = cursor.pixels[static_cast<size_t>(line * kCursorSize + column)];
            const uint32_t alpha = pixel >> 24;
            if (pixel == 0) continue;
            const size_t at = static_cast<size_t>(top + line) * stride +
                              static_cast<size_t>(left + column) * rutabaga::kBytesPerPixel;
            const std::span<std::byte> to = band.pixels.subspan(at, rutabaga::kBytesPerPixel);
            to[0] = over(pixel & 0xff, to[0], alpha);
            to[1] = over((pixel >> 8) & 0xff, to[1], alpha);
            to[2] = over((pixel >> 16) & 0xff, to[2], alpha);
        }
    }
}

}  // namespace swede::display
