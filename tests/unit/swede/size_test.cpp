// SPDX-License-Identifier: Apache-2.0
#include "swede/size.h"

#include <gtest/gtest.h>

namespace swede {
namespace {

TEST(Size, Suffixes_ArePowersOf1024) {
    EXPECT_EQ(parse_size("0"), 0u);
    EXPECT_EQ(parse_size("17"), 17u);
    EXPECT_EQ(parse_size("4K"), 4096u);
    EXPECT_EQ(parse_size("3M"), 3u << 20);
    EXPECT_EQ(parse_size("8G"), uint64_t{8} << 30);
    EXPECT_EQ(parse_size("2T"), uint64_t{2} << 40);
}

TEST(Size, Suffixes_MayBeLowerCase) {
    EXPECT_EQ(parse_size("4k"), 4096u);
    EXPECT_EQ(parse_size("1t"), uint64_t{1} << 40);
}

TEST(Size, LargestValue_Fits) {
    EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
    EXPECT_EQ(parse_size("16777215T"), uint64_t{16777215} << 40);
}

TEST(Size, Overflow_IsRefused) {
    EXPECT_FALSE(parse_size("18446744073709551616"));
    EXPECT_FALSE(parse_size("16777216T"));
    EXPECT_FALSE(parse_size("18446744073709551615K"));
}

TEST(Size, OtherText_IsRefused) {
    for (const char* text : {"", "G", "8GB", "8 G", " 8G", "8G ", "-1", "+1", "0x10", "1.5G", "1e3",
                             "8P", "8GG", "eight", "\n8", "8\n"})
        EXPECT_FALSE(parse_size(text)) << text;
    EXPECT_FALSE(parse_size(std::string_view("8\0G", 3)));
}

TEST(Size, Text_ReadsBack) {
    for (const uint64_t size :
         {uint64_t{0}, uint64_t{1}, uint64_t{1023}, uint64_t{1024}, uint64_t{8} << 30,
          (uint64_t{8} << 30) + 1, uint64_t{5} << 50, UINT64_MAX})
        EXPECT_EQ(parse_size(size_text(size)), size);
    EXPECT_EQ(size_text(uint64_t{8} << 30), "8G");
    EXPECT_EQ(size_text(1536), "1536");
}

TEST(Number, OnlyDigits_AreAccepted) {
    EXPECT_EQ(parse_number("0"), 0u);
    EXPECT_EQ(parse_number("007"), 7u);
    for (const char* text : {"", " ", "-1", "+1", "1 ", "1K", "0x1", "18446744073709551616"})
        EXPECT_FALSE(parse_number(text)) << text;
}

}  // namespace
}  // namespace swede
