// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/pixel_format.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace swede::rutabaga {
namespace {

struct Case {
    uint32_t virtio;
    PixelFormat format;
    const char* bytes;  ///< the name of each byte in memory
};

constexpr std::array<Case, 8> kCases{{
    {1, PixelFormat::kB8G8R8A8, "BGRA"},
    {2, PixelFormat::kB8G8R8X8, "BGRX"},
    {3, PixelFormat::kA8R8G8B8, "ARGB"},
    {4, PixelFormat::kX8R8G8B8, "XRGB"},
    {67, PixelFormat::kR8G8B8A8, "RGBA"},
    {68, PixelFormat::kX8B8G8R8, "XBGR"},
    {121, PixelFormat::kA8B8G8R8, "ABGR"},
    {134, PixelFormat::kR8G8B8X8, "RGBX"},
}};

std::byte value_of(char channel, unsigned pixel) {
    switch (channel) {
        case 'B':
            return static_cast<std::byte>(0x10 + pixel);
        case 'G':
            return static_cast<std::byte>(0x60 + pixel);
        case 'R':
            return static_cast<std::byte>(0xa0 + pixel);
        default:
            return static_cast<std::byte>(0x31 + pixel);
    }
}

class PixelFormats : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Formats, PixelFormats, ::testing::ValuesIn(kCases),
                         [](const auto& format) { return std::string(format.param.bytes); });

TEST_P(PixelFormats, Number_NamesTheFormat) {
    EXPECT_EQ(pixel_format(GetParam().virtio), GetParam().format);
    EXPECT_EQ(has_alpha(GetParam().format), std::string(GetParam().bytes).contains('A'));
}

TEST_P(PixelFormats, Row_BecomesBgra) {
    for (const unsigned width : {1u, 2u, 3u, 16u, 33u}) {
        std::vector<std::byte> row;
        for (unsigned x = 0; x < width; ++x)
            for (const char* channel = GetParam().bytes; *channel != 0; ++channel)
                row.push_back(value_of(*channel, x));
        convert_to_bgra(GetParam().format, row);
        for (unsigned x = 0; x < width; ++x) {
            EXPECT_EQ(row[4 * x + 0], value_of('B', x));
            EXPECT_EQ(row[4 * x + 1], value_of('G', x));
            EXPECT_EQ(row[4 * x + 2], value_of('R', x));
            EXPECT_EQ(row[4 * x + 3],
                      has_alpha(GetParam().format) ? value_of('A', x) : std::byte{0xff});
        }
    }
}

TEST_P(PixelFormats, EmptyRow_IsLeft) {
    convert_to_bgra(GetParam().format, {});
}

TEST_P(PixelFormats, PartOfAPixelAtTheEnd_IsLeft) {
    std::array<std::byte, 7> row;
    row.fill(std::byte{0x42});
    convert_to_bgra(GetParam().format, row);
    EXPECT_EQ(row[4], std::byte{0x42});
    EXPECT_EQ(row[5], std::byte{0x42});
    EXPECT_EQ(row[6], std::byte{0x42});
}

TEST(PixelFormat, UnknownNumber_IsNoFormat) {
    for (uint32_t number = 0; number < 4096; ++number) {
        bool known = false;
        for (const Case& c : kCases) known |= c.virtio == number;
        EXPECT_EQ(pixel_format(number).has_value(), known) << number;
    }
    EXPECT_FALSE(pixel_format(UINT32_MAX));
    EXPECT_FALSE(pixel_format(0x80000001));
    EXPECT_FALSE(pixel_format(0x10000));
}

}  // namespace
}  // namespace swede::rutabaga
