// SPDX-License-Identifier: Apache-2.0
#include "base/checked.h"

#include <gtest/gtest.h>

namespace swede {
namespace {

constexpr uint64_t kTop = UINT64_MAX;

TEST(Checked, Add_IsEmptyOnOverflow) {
    EXPECT_EQ(checked_add<uint64_t>(kTop - 1, 1), kTop);
    EXPECT_EQ(checked_add<uint64_t>(kTop, 1), std::nullopt);
    EXPECT_EQ(checked_add<uint32_t>(UINT32_MAX, 1), std::nullopt);
    EXPECT_EQ(checked_add<uint8_t>(200, 56), std::nullopt);  // int arithmetic would say 256
    EXPECT_EQ(checked_add<uint8_t>(200, 55), 255);
}

TEST(Checked, Multiply_IsEmptyOnOverflow) {
    EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 32, (uint64_t{1} << 32) - 1), kTop - UINT32_MAX);
    EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
    EXPECT_EQ(checked_mul<uint16_t>(256, 256), std::nullopt);
    EXPECT_EQ(checked_mul<uint64_t>(0, kTop), 0u);
}

TEST(Checked, RangeFits_NeverOverflows) {
    EXPECT_TRUE(range_fits(0, 0, 0));
    EXPECT_TRUE(range_fits(8, 0, 8));
    EXPECT_TRUE(range_fits(0, kTop, kTop));
    EXPECT_FALSE(range_fits(1, kTop, kTop));
    EXPECT_FALSE(range_fits(kTop, 1, kTop));
    EXPECT_FALSE(range_fits(9, 0, 8));
    EXPECT_FALSE(range_fits(4, 5, 8));
}

// Against the definition, for all small ranges and for the same ranges at the top of all numbers.
TEST(Checked, RangesOverlap_AsDefinedByteByByte) {
    for (const uint64_t base : {uint64_t{0}, kTop - 12})
        for (uint64_t a = 0; a < 6; ++a)
            for (uint64_t a_size = 0; a_size < 6; ++a_size)
                for (uint64_t b = 0; b < 6; ++b)
                    for (uint64_t b_size = 0; b_size < 6; ++b_size) {
                        bool expected = false;
                        for (uint64_t byte = a; byte < a + a_size; ++byte)
                            expected |= byte >= b && byte < b + b_size;
                        EXPECT_EQ(ranges_overlap(base + a, a_size, base + b, b_size), expected)
                            << a << "+" << a_size << " " << b << "+" << b_size;
                    }
}

TEST(Checked, PageAlign_IsEmptyOnOverflow) {
    EXPECT_EQ(page_align(0), 0u);
    EXPECT_EQ(page_align(1), 4096u);
    EXPECT_EQ(page_align(4096), 4096u);
    EXPECT_EQ(page_align(kTop - 4095), kTop - 4095);
    EXPECT_EQ(page_align(kTop - 4094), std::nullopt);
    EXPECT_TRUE(is_page_aligned(8192));
    EXPECT_FALSE(is_page_aligned(8193));
}

}  // namespace
}  // namespace swede
