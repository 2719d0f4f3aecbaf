// SPDX-License-Identifier: Apache-2.0
#include "display/cursor_blend.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace swede::display {
namespace {

constexpr uint32_t kWidth = 100;
constexpr uint32_t kHeight = 90;
constexpr uint32_t kOpaqueRed = 0xffff0000;
constexpr uint32_t kBackground = 0xff102030;

/// A picture of kBackground with the cursor drawn on it.
class CursorBlend : public testing::Test {
  protected:
    CursorBlend() : pixels_(kWidth * kHeight, kBackground) { cursor_.pixels.fill(kOpaqueRed); }

    void blend(int32_t x, int32_t y) {
        blend_cursor({std::as_writable_bytes(std::span(pixels_)), kWidth, 0}, cursor_, x, y);
    }
    [[nodiscard]] uint32_t at(uint32_t x, uint32_t y) const { return pixels_[y * kWidth + x]; }

    /// The pixels that differ from the background are exactly [x0, x1) x [y0, y1), and red.
    void expect_red_only_in(uint32_t x0, uint32_t x1, uint32_t y0, uint32_t y1) const {
        for (uint32_t y = 0; y < kHeight; ++y)
            for (uint32_t x = 0; x < kWidth; ++x) {
                const bool inside = x >= x0 && x < x1 && y >= y0 && y < y1;
                ASSERT_EQ(at(x, y), inside ? kOpaqueRed : kBackground) << x << "," << y;
            }
    }

    std::vector<uint32_t> pixels_;
    rutabaga::CursorImage cursor_;
};

TEST_F(CursorBlend, Inside_IsDrawnWhole) {
    blend(10, 20);
    expect_red_only_in(10, 74, 20, 84);
}

TEST_F(CursorBlend, HotSpot_ShiftsTheImageUpAndLeft) {
    cursor_.hot_x = 7;
    cursor_.hot_y = 3;
    blend(10, 20);
    expect_red_only_in(3, 67, 17, 81);
}

TEST_F(CursorBlend, LeftEdge_Clips) {
    blend(-60, 0);
    expect_red_only_in(0, 4, 0, 64);
}

TEST_F(CursorBlend, TopEdge_Clips) {
    blend(0, -63);
    expect_red_only_in(0, 64, 0, 1);
}

TEST_F(CursorBlend, RightEdge_Clips) {
    blend(99, 5);
    expect_red_only_in(99, 100, 5, 69);
}

TEST_F(CursorBlend, BottomEdge_Clips) {
    blend(5, 88);
    expect_red_only_in(5, 69, 88, 90);
}

TEST_F(CursorBlend, Corners_ClipBothWays) {
    blend(-1, -1);
    expect_red_only_in(0, 63, 0, 63);
}

TEST_F(CursorBlend, LowerRightCorner_ClipsBothWays) {
    blend(98, 87);
    expect_red_only_in(98, 100, 87, 90);
}

TEST_F(CursorBlend, OffThePicture_DrawsNothing) {
    constexpr int32_t kMin = std::numeric_limits<int32_t>::min();
    constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
    for (const int32_t x : {kMin, -64, 100, 101, kMax}) blend(x, 0);
    for (const int32_t y : {kMin, -64, 90, 91, kMax}) blend(0, y);
    blend(kMin, kMin);
    blend(kMax, kMax);
    expect_red_only_in(0, 0, 0, 0);
}

TEST_F(CursorBlend, HostileHotSpot_DrawsNothing) {
    cursor_.hot_x = std::numeric_limits<uint32_t>::max();
    cursor_.hot_y = std::numeric_limits<uint32_t>::max();
    for (const int32_t at :
         {std::numeric_limits<int32_t>::min(), 0, std::numeric_limits<int32_t>::max()})
        blend(at, at);
    expect_red_only_in(0, 0, 0, 0);
}

TEST_F(CursorBlend, EachPixelOfTheImage_LandsWhereItBelongs) {
    for (uint32_t i = 0; i < cursor_.pixels.size(); ++i) cursor_.pixels[i] = 0xff000000 | (i * 997);
    blend(-5, 30);
    for (uint32_t y = 30; y < kHeight; ++y)
        for (uint32_t x = 0; x < 59; ++x)
            ASSERT_EQ(at(x, y), cursor_.pixels[(y - 30) * 64 + x + 5]) << x << "," << y;
}

TEST_F(CursorBlend, Transparent_LeavesThePicture) {
    cursor_.pixels.fill(0);
    blend(0, 0);
    expect_red_only_in(0, 0, 0, 0);
}

TEST_F(CursorBlend, HalfTransparent_IsPremultiplied) {
    cursor_.pixels.fill(0x80400000);  // alpha 128, red 64 of it
    blend(0, 0);
    // Background 0x10, 0x20, 0x30 weighs 127/255.
    EXPECT_EQ(at(0, 0) & 0xffffff, 0x481018u);
}

TEST_F(CursorBlend, ColourAboveAlpha_EndsAtWhite) {
    cursor_.pixels.fill(0x01ffffff);
    blend(0, 0);
    EXPECT_EQ(at(0, 0) & 0xffffff, 0xffffffu);
}

TEST_F(CursorBlend, Bands_TogetherShowTheSamePicture) {
    cursor_.hot_x = 11;
    blend(50, 17);
    const std::vector<uint32_t> whole = pixels_;
    for (const uint32_t cut : {1u, 17u, 40u, 81u, 89u}) {
        pixels_.assign(kWidth * kHeight, kBackground);
        const auto bytes = std::as_writable_bytes(std::span(pixels_));
        blend_cursor({bytes.first(cut * kWidth * 4), kWidth, 0}, cursor_, 50, 17);
        blend_cursor({bytes.subspan(cut * kWidth * 4), kWidth, cut}, cursor_, 50, 17);
        ASSERT_EQ(pixels_, whole) << "cut at row " << cut;
    }
}

TEST_F(CursorBlend, EmptyBand_IsLeftAlone) {
    blend_cursor({{}, 0, 0}, cursor_, 0, 0);
    blend_cursor({{}, kWidth, 5}, cursor_, 0, 0);
}

}  // namespace
}  // namespace swede::display
