// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <png.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rutabaga/frame.h"

/// What the display tests share: a frame made of a function, and a PNG reader.
namespace swede::display {

struct Colour {
    uint8_t red = 0;
    uint8_t green = 0;
    uint8_t blue = 0;
    bool operator==(const Colour&) const = default;
};

/// Shows what `pixel` says: the four bytes of memory at (x, y).
class FunctionFrame : public rutabaga::Frame {
  public:
    using Bytes = std::array<uint8_t, 4>;
    using Pixel = std::function<Bytes(uint32_t x, uint32_t y)>;

    FunctionFrame(uint32_t width, uint32_t height, rutabaga::PixelFormat format, Pixel pixel)
        : Frame(width, height, format), pixel_(std::move(pixel)) {}

    Result<void> read(const rutabaga::Rect& rect, std::byte* to,
                      uint64_t to_stride) const override {
        for (uint32_t y = 0; y < rect.height; ++y)
            for (uint32_t x = 0; x < rect.width; ++x) {
                const Bytes bytes = pixel_(rect.x + x, rect.y + y);
                std::memcpy(to + y * to_stride + uint64_t{x} * 4, bytes.data(), 4);
            }
        return {};
    }

  private:
    Pixel pixel_;
};

struct Picture {
    uint32_t width = 0;
    uint32_t height = 0;
    std::vector<Colour> pixels;
    [[nodiscard]] Colour at(uint32_t x, uint32_t y) const { return pixels.at(y * width + x); }
};

/// Decodes a whole PNG; empty when libpng refuses it.
inline std::optional<Picture> decode_png(const std::vector<uint8_t>& file) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0)
        return std::nullopt;
    image.format = PNG_FORMAT_RGB;
    std::vector<uint8_t> bytes(PNG_IMAGE_SIZE(image));
    if (png_image_finish_read(&image, nullptr, bytes.data(), 0, nullptr) == 0) return std::nullopt;
    Picture picture{image.width, image.height, {}};
    for (size_t i = 0; i + 2 < bytes.size(); i += 3)
        picture.pixels.push_back({bytes[i], bytes[i + 1], bytes[i + 2]});
    return picture;
}

inline std::optional<Picture> decode_png(int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return std::nullopt;
    std::vector<uint8_t> file(static_cast<size_t>(status.st_size));
    if (::pread(fd, file.data(), file.size(), 0) != status.st_size) return std::nullopt;
    return decode_png(file);
}

}  // namespace swede::display
