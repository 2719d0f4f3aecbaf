// SPDX-License-Identifier: Apache-2.0
#include "display/png_encoder.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "pictures.h"

namespace swede::display {
namespace {

UniqueFd memory_file() {
    return UniqueFd(::memfd_create("test", MFD_CLOEXEC));
}

std::vector<std::byte> rows_of(uint32_t width, uint32_t rows) {
    std::vector<std::byte> bytes(size_t{width} * rows * 4);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7 % 251);
    return bytes;
}

TEST(PngEncoder, Picture_ReadsBackAsWritten) {
    constexpr uint32_t kWidth = 37;
    constexpr uint32_t kHeight = 19;
    const auto rows = rows_of(kWidth, kHeight);
    const UniqueFd file = memory_file();
    auto encoder = PngEncoder::create(file.get(), kWidth, kHeight);
    ASSERT_TRUE(encoder);
    ASSERT_TRUE((*encoder)->write_rows(rows));
    ASSERT_TRUE((*encoder)->finish());
    const auto picture = decode_png(file.get());
    ASSERT_TRUE(picture);
    ASSERT_EQ(picture->width, kWidth);
    ASSERT_EQ(picture->height, kHeight);
    for (size_t i = 0; i < picture->pixels.size(); ++i) {
        const Colour expected{std::to_integer<uint8_t>(rows[4 * i + 2]),
                              std::to_integer<uint8_t>(rows[4 * i + 1]),
                              std::to_integer<uint8_t>(rows[4 * i])};
        ASSERT_EQ(picture->pixels[i], expected) << "pixel " << i;
    }
}

TEST(PngEncoder, Picture_IsTheSameInOnePieceAndInMany) {
    const auto rows = rows_of(50, 10);
    const UniqueFd whole = memory_file();
    const UniqueFd pieces = memory_file();
    auto one = PngEncoder::create(whole.get(), 50, 10);
    auto many = PngEncoder::create(pieces.get(), 50, 10);
    ASSERT_TRUE((*one)->write_rows(rows));
    for (size_t row = 0; row < 10; ++row)
        ASSERT_TRUE((*many)->write_rows(std::span(rows).subspan(row * 200, 200)));
    ASSERT_TRUE((*one)->finish());
    ASSERT_TRUE((*many)->finish());
    EXPECT_EQ(decode_png(whole.get())->pixels, decode_png(pieces.get())->pixels);
}

TEST(PngEncoder, TooManyRows_AreRefused) {
    const UniqueFd file = memory_file();
    auto encoder = PngEncoder::create(file.get(), 8, 4);
    const auto written = (*encoder)->write_rows(rows_of(8, 5));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kInvalidParameter);
}

TEST(PngEncoder, PartOfARow_IsRefused) {
    const UniqueFd file = memory_file();
    auto encoder = PngEncoder::create(file.get(), 8, 4);
    EXPECT_FALSE((*encoder)->write_rows(std::vector<std::byte>(31)));
}

TEST(PngEncoder, MissingRows_FailAtTheEnd) {
    const UniqueFd file = memory_file();
    auto encoder = PngEncoder::create(file.get(), 8, 4);
    ASSERT_TRUE((*encoder)->write_rows(rows_of(8, 3)));
    const auto finished = (*encoder)->finish();
    ASSERT_FALSE(finished);
    EXPECT_NE(finished.error().message.find("1 rows"), std::string::npos);
}

TEST(PngEncoder, EmptyPicture_IsRefused) {
    const UniqueFd file = memory_file();
    EXPECT_FALSE(PngEncoder::create(file.get(), 0, 4));
    EXPECT_FALSE(PngEncoder::create(file.get(), 4, 0));
}

TEST(PngEncoder, FullDisk_IsToldWithItsReason) {
    const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(full);
    auto encoder = PngEncoder::create(full.get(), 640, 480);
    ASSERT_TRUE(encoder);
    auto written = (*encoder)->write_rows(rows_of(640, 480));
    if (written) written = (*encoder)->finish();
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().message.find(std::strerror(ENOSPC)), std::string::npos)
        << written.error().message;
}

TEST(PngEncoder, FileThatCannotBeWritten_IsAnError) {
    const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    auto encoder = PngEncoder::create(file.get(), 4, 4);
    ASSERT_TRUE(encoder);
    ASSERT_TRUE((*encoder)->write_rows(rows_of(4, 4)));
    EXPECT_FALSE((*encoder)->finish());
}

}  // namespace
}  // namespace swede::display
