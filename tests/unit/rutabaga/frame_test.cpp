// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/frame.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>
#include <thread>

#include "unit/rutabaga/gpu_fixture.h"
#include "unit/rutabaga/guest_pages.h"

namespace swede::rutabaga {
namespace {

using testing::GuestPages;

constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();

TEST(Rect, InsideMeansNotEmptyAndNotPastAnEdge) {
    EXPECT_TRUE(rect_inside({0, 0, 10, 20}, 10, 20));
    EXPECT_TRUE(rect_inside({9, 19, 1, 1}, 10, 20));
    EXPECT_FALSE(rect_inside({0, 0, 0, 20}, 10, 20));
    EXPECT_FALSE(rect_inside({0, 0, 10, 0}, 10, 20));
    EXPECT_FALSE(rect_inside({0, 0, 11, 20}, 10, 20));
    EXPECT_FALSE(rect_inside({0, 0, 10, 21}, 10, 20));
    EXPECT_FALSE(rect_inside({10, 0, 1, 1}, 10, 20));
    EXPECT_FALSE(rect_inside({0, 20, 1, 1}, 10, 20));
    EXPECT_FALSE(rect_inside({5, 0, 6, 1}, 10, 20));
}

TEST(Rect, SumsThatWrap_AreOutside) {
    EXPECT_FALSE(rect_inside({kMax, 0, 2, 1}, 10, 20));
    EXPECT_FALSE(rect_inside({0, kMax, 1, 2}, 10, 20));
    EXPECT_FALSE(rect_inside({1, 0, kMax, 1}, 10, 20));
    EXPECT_FALSE(rect_inside({0, 1, 1, kMax}, 10, 20));
    EXPECT_FALSE(rect_inside({kMax, kMax, kMax, kMax}, kMax, kMax));
}

TEST(Rect, Intersection_IsTheCommonPart) {
    const Rect common = intersect({0, 0, 10, 10}, {5, 6, 10, 10});
    EXPECT_EQ(common.x, 5u);
    EXPECT_EQ(common.y, 6u);
    EXPECT_EQ(common.width, 5u);
    EXPECT_EQ(common.height, 4u);
}

TEST(Rect, Intersection_OfStrangersIsEmpty) {
    for (const auto& [a, b] : {std::pair<Rect, Rect>{{0, 0, 5, 5}, {5, 0, 5, 5}},
                               {{0, 0, 5, 5}, {0, 5, 5, 5}},
                               {{0, 0, 0, 5}, {0, 0, 5, 5}},
                               {{kMax, 0, 5, 5}, {0, 0, 5, 5}},
                               {{kMax, kMax, kMax, kMax}, {0, 0, kMax, kMax}}}) {
        EXPECT_EQ(intersect(a, b).width, 0u);
        EXPECT_EQ(intersect(b, a).height, 0u);
    }
}

TEST(Rect, Intersection_DoesNotWrap) {
    const Rect common = intersect({1, 1, kMax, kMax}, {2, 3, kMax, kMax});
    EXPECT_EQ(common.x, 2u);
    EXPECT_EQ(common.y, 3u);
    EXPECT_EQ(common.width, kMax - 1);
    EXPECT_EQ(common.height, kMax - 2);
}

BlobLayout layout(uint64_t offset, uint32_t stride, uint32_t width, uint32_t height) {
    return {PixelFormat::kB8G8R8X8, offset, stride, width, height};
}

TEST(BlobLayout, LastRow_MayEndWithTheBlob) {
    EXPECT_TRUE(check_layout(layout(0, 40, 10, 3), 120));
    EXPECT_TRUE(check_layout(layout(0, 64, 10, 3), 64 + 64 + 40));
    EXPECT_TRUE(check_layout(layout(80, 40, 10, 1), 120));
    EXPECT_TRUE(check_layout(layout(4, 40, 1, 1), 8));
}

TEST(BlobLayout, PastTheEnd_IsRefused) {
    EXPECT_FAILS(check_layout(layout(0, 40, 10, 3), 119), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(1, 40, 10, 3), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, 41, 10, 3), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(121, 40, 10, 1), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, 40, 10, 1), 0), ErrorCode::kInvalidParameter);
}

TEST(BlobLayout, SumsThatWrap_AreRefused) {
    constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();
    EXPECT_FAILS(check_layout(layout(kMax64, 40, 10, 3), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(kMax64 - 119, 40, 10, 3), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, kMax, 10, kMax), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, kMax, kMax, kMax), kMax64), ErrorCode::kInvalidParameter);
    // 0x40000001 pixels of 4 bytes are 4 bytes in 32 bits.
    EXPECT_FAILS(check_layout(layout(0, 4, 0x40000001, 1), 120), ErrorCode::kInvalidParameter);
}

TEST(BlobLayout, LargerThanAnyScreen_IsRefusedWhateverTheBlobHolds) {
    constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();
    constexpr uint32_t kStride = 4 * (kMaxDimension + 1);
    EXPECT_TRUE(check_layout(layout(0, kStride, kMaxDimension, kMaxDimension), kMax64));
    EXPECT_FAILS(check_layout(layout(0, kStride, kMaxDimension + 1, 1), kMax64),
                 ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, kStride, 1, kMaxDimension + 1), kMax64),
                 ErrorCode::kInvalidParameter);
}

TEST(BlobLayout, ShortStrideAndNoPixels_AreRefused) {
    EXPECT_FAILS(check_layout(layout(0, 39, 10, 1), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, 0, 10, 3), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, 40, 0, 3), 120), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(check_layout(layout(0, 40, 10, 0), 120), ErrorCode::kInvalidParameter);
}

TEST(BackingFrame, ReadsGuestMemoryInPlace) {
    GuestPages pages(64 * 1024, 512);
    pages.number();
    const auto frame = make_backing_frame(pages.backing(), layout(100, 600, 100, 60));
    std::vector<std::byte> out(20 * 100, std::byte{0xee});
    ASSERT_TRUE(frame->read({7, 11, 20, 3}, out.data(), 100));
    for (uint64_t y = 0; y < 3; ++y) {
        for (uint64_t i = 0; i < 80; ++i)
            EXPECT_EQ(out[y * 100 + i], GuestPages::value_at(100 + (11 + y) * 600 + 7 * 4 + i));
        for (uint64_t i = 80; i < 100; ++i) EXPECT_EQ(out[y * 100 + i], std::byte{0xee});
    }
    // No copy was taken: what the guest draws now is seen.
    pages[100 + 11 * 600 + 7 * 4] = std::byte{0x99};
    ASSERT_TRUE(frame->read({7, 11, 1, 1}, out.data(), 4));
    EXPECT_EQ(out[0], std::byte{0x99});
}

TEST(BackingFrame, LargeRead_IsWholeThoughTakenInPieces) {
    constexpr uint32_t kWidth = 1000;
    constexpr uint32_t kHeight = 300;  // 1.2 MB: several pieces, the last one shorter
    GuestPages pages(kWidth * kHeight * 4);
    pages.number();
    const auto frame = make_backing_frame(pages.backing(), layout(0, kWidth * 4, kWidth, kHeight));
    std::vector<std::byte> out(kWidth * kHeight * 4);
    ASSERT_TRUE(frame->read({0, 0, kWidth, kHeight}, out.data(), kWidth * 4));
    size_t wrong = 0;
    for (uint64_t i = 0; i < out.size(); ++i) wrong += out[i] != GuestPages::value_at(i);
    EXPECT_EQ(wrong, 0u);
}

TEST(BackingFrame, RectangleNotInside_IsRefused) {
    GuestPages pages(4096);
    const auto frame = make_backing_frame(pages.backing(), layout(0, 40, 10, 10));
    std::byte out[4];
    EXPECT_FAILS(frame->read({0, 0, 11, 1}, out, 44), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(frame->read({0, 10, 1, 1}, out, 4), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(frame->read({0, 0, 0, 0}, out, 4), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(frame->read({kMax, kMax, 2, 2}, out, 4), ErrorCode::kInvalidParameter);
}

TEST(BackingFrame, RevokedBacking_FailsAndTouchesNothing) {
    GuestPages pages(4096);
    const auto backing = pages.backing();
    const auto frame = make_backing_frame(backing, layout(0, 40, 10, 10));
    backing->revoke();
    std::byte out[4] = {std::byte{1}};
    EXPECT_FAILS(frame->read({0, 0, 1, 1}, out, 4), ErrorCode::kInvalidParameter);
    EXPECT_EQ(out[0], std::byte{1});
}

TEST(BackingFrame, RevokeWhileOthersRead_EndsTheirReads) {
    constexpr uint32_t kSide = 512;
    GuestPages pages(kSide * kSide * 4);
    const auto backing = pages.backing();
    const auto frame = make_backing_frame(backing, layout(0, kSide * 4, kSide, kSide));
    std::atomic<int> running{0};
    std::vector<std::jthread> readers;
    for (int i = 0; i < 2; ++i)
        readers.emplace_back([&] {
            std::vector<std::byte> out(kSide * kSide * 4);
            running.fetch_add(1);
            while (frame->read({0, 0, kSide, kSide}, out.data(), kSide * 4)) {
            }
        });
    while (running.load() < 2) std::this_thread::yield();
    backing->revoke();
    readers.clear();  // ends: after the revoke every read fails
    EXPECT_FALSE(backing->lease());
}

TEST(MemoryFrame, ReadsTheMapping) {
    auto memory = std::make_shared<Mapping>(*Mapping::anonymous(8192));
    for (size_t i = 0; i < 8192; ++i) memory->data()[i] = GuestPages::value_at(i);
    const auto frame = make_memory_frame(memory, layout(16, 100, 20, 30));
    memory.reset();
    std::vector<std::byte> out(8 * 12);
    ASSERT_TRUE(frame->read({3, 4, 2, 12}, out.data(), 8));
    for (uint64_t y = 0; y < 12; ++y)
        for (uint64_t i = 0; i < 8; ++i)
            EXPECT_EQ(out[y * 8 + i], GuestPages::value_at(16 + (4 + y) * 100 + 12 + i));
    EXPECT_FAILS(frame->read({19, 0, 2, 1}, out.data(), 8), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(frame->read({0, 29, 1, 2}, out.data(), 8), ErrorCode::kInvalidParameter);
}

}  // namespace
}  // namespace swede::rutabaga
