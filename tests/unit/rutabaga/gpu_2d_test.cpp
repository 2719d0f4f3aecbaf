// SPDX-License-Identifier: Apache-2.0
// 2D resources in the core (virtio 1.3, 5.7.6.8): no renderer is registered.
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "rutabaga/pixel_storage.h"
#include "unit/rutabaga/gpu_fixture.h"

namespace swede::rutabaga {
namespace {

using testing::GpuFixture;
using testing::GuestPages;

class Gpu2d : public GpuFixture {
  protected:
    [[nodiscard]] Result<void> transfer(ResourceId id, const Rect& rect, uint64_t offset) {
        return gpu->transfer_to_host_2d({rect, offset, id, 0});
    }
};

constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();

TEST_F(Gpu2d, Create_MakesABlackPicture) {
    for (const uint32_t format : {1u, 2u, 3u, 4u, 67u, 68u, 121u, 134u}) {
        ASSERT_TRUE(create_2d(format, 17, 9, format));
        for (const std::byte byte : pixels_of(format)) ASSERT_EQ(byte, std::byte{0});
        EXPECT_EQ(gpu->find(format)->format, *pixel_format(format));
    }
    EXPECT_EQ(gpu->num_resources(), 8u);
    EXPECT_EQ(used(BudgetKind::kResources), 8u);
    EXPECT_EQ(used(BudgetKind::kHostBytes), 8u * 17 * 9 * 4);
}

TEST_F(Gpu2d, Create_BadRequestsAreRefusedAndLeaveNothing) {
    EXPECT_FAILS(create_2d(0, 8, 8), ErrorCode::kInvalidResource);
    EXPECT_FAILS(create_2d(1, 0, 8), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(create_2d(1, 8, 0), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(create_2d(1, 0, 0), ErrorCode::kInvalidParameter);
    for (const uint32_t format : {0u, 5u, 66u, 69u, 120u, 122u, 135u, kMax})
        EXPECT_FAILS(create_2d(1, 8, 8, format), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(create_2d(1, kMaxDimension + 1, 1), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(create_2d(1, 1, kMaxDimension + 1), ErrorCode::kInvalidParameter);
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu2d, Create_UsedIdIsRefusedAndTheFirstStays) {
    ASSERT_TRUE(create_2d(1, 8, 8));
    EXPECT_FAILS(create_2d(1, 16, 16), ErrorCode::kInvalidResource);
    EXPECT_EQ(gpu->find(1)->width, 8u);
    EXPECT_EQ(used(BudgetKind::kHostBytes), 256u);
}

// 4 * width wrapped in 32 bits in prior art, and the allocation of what did not wrap aborted.
TEST_F(Gpu2d, D5_HugePicturesAreOutOfMemory) {
    for (const auto& [width, height] : {std::pair{kMax, kMax},
                                        {0x40000001u, 0x40000001u},
                                        {0x80000000u, 0x80000000u},
                                        {0x40000000u, 0x10000000u},
                                        {0xffff0000u, 0x10000u},
                                        {kMax, 1u},
                                        {1u, kMax}})
        EXPECT_FAILS(create_2d(1, width, height), ErrorCode::kOutOfMemory);
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu2d, D5_WidthThatWrapsIn32BitsIsRefused) {
    EXPECT_FAILS(create_2d(1, 0x40000001, 1), ErrorCode::kOutOfMemory);
    EXPECT_FAILS(create_2d(1, 0x10000001, 1), ErrorCode::kInvalidParameter);
}

TEST_F(Gpu2d, D5_BudgetHoldsAndIsGivenBack) {
    make_with_limit(0, BudgetKind::kHostBytes, 3 * 1024 * 1024);
    ASSERT_TRUE(create_2d(1, 512, 512));
    ASSERT_TRUE(create_2d(2, 512, 512));
    ASSERT_TRUE(create_2d(3, 512, 512));
    EXPECT_FAILS(create_2d(4, 1, 1), ErrorCode::kOutOfMemory);
    EXPECT_EQ(gpu->num_resources(), 3u);
    EXPECT_EQ(used(BudgetKind::kResources), 3u);
    EXPECT_TRUE(destroy(2).ok());
    EXPECT_TRUE(create_2d(4, 512, 512));
}

TEST_F(Gpu2d, Create_NumberOfResourcesIsLimited) {
    make_with_limit(0, BudgetKind::kResources, 100);
    for (ResourceId id = 1; id <= 100; ++id) ASSERT_TRUE(create_2d(id, 1, 1));
    EXPECT_FAILS(create_2d(101, 1, 1), ErrorCode::kOutOfMemory);
    EXPECT_TRUE(destroy(50).ok());
    EXPECT_TRUE(create_2d(101, 1, 1));
}

TEST_F(Gpu2d, Destroy_GivesEverythingBack) {
    GuestPages pages(8 * 8 * 4, 16);
    ASSERT_TRUE(create_2d(1, 8, 8));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_EQ(gpu->find(1), nullptr);
    EXPECT_TRUE(nothing_is_charged());
    EXPECT_TRUE(destroy(1).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(create_2d(1, 8, 8)) << "the id is free again";
}

TEST_F(Gpu2d, Destroy_UnknownIsRefused) {
    EXPECT_TRUE(destroy(0).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(destroy(kMax).failed(ErrorCode::kInvalidResource));
}

TEST_F(Gpu2d, Backing_IsRevokedAtDetachAndAtUnref) {
    GuestPages pages(8 * 8 * 4);
    ASSERT_TRUE(create_2d(1, 8, 8));
    const auto first = pages.backing();
    ASSERT_TRUE(gpu->attach_backing(1, first));
    EXPECT_TRUE(first->lease());
    ASSERT_TRUE(gpu->detach_backing(1));
    EXPECT_FALSE(first->lease());
    const auto second = pages.backing();
    ASSERT_TRUE(gpu->attach_backing(1, second));
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_FALSE(second->lease());
}

TEST_F(Gpu2d, Backing_DiesWithTheGpu) {
    GuestPages pages(4096);
    const auto backing = pages.backing();
    ASSERT_TRUE(create_2d(1, 8, 8));
    ASSERT_TRUE(gpu->attach_backing(1, backing));
    gpu.reset();
    EXPECT_FALSE(backing->lease());
    EXPECT_TRUE(nothing_is_charged());
}

// A second attach without a detach lost the first list, an unref did not free it.
TEST_F(Gpu2d, CVE_2021_3544_SecondAttachIsRefusedAndNothingLeaks) {
    GuestPages pages(16 * 64, 64);
    ASSERT_TRUE(create_2d(1, 8, 8));
    const auto first = pages.backing();
    ASSERT_TRUE(gpu->attach_backing(1, first));
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 16u);
    for (int i = 0; i < 10; ++i)
        EXPECT_FAILS(gpu->attach_backing(1, pages.backing()), ErrorCode::kInvalidParameter);
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 16u);
    EXPECT_TRUE(first->lease());
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 0u);
}

TEST_F(Gpu2d, AttachBacking_BadRequestsAreRefused) {
    GuestPages pages(4096);
    EXPECT_FAILS(gpu->attach_backing(0, pages.backing()), ErrorCode::kInvalidResource);
    EXPECT_FAILS(gpu->attach_backing(7, pages.backing()), ErrorCode::kInvalidResource);
    ASSERT_TRUE(create_2d(1, 8, 8));
    EXPECT_FAILS(gpu->attach_backing(1, nullptr), ErrorCode::kInvalidParameter);
    const auto revoked = pages.backing();
    revoked->revoke();
    EXPECT_FAILS(gpu->attach_backing(1, revoked), ErrorCode::kInvalidParameter);
    EXPECT_EQ(gpu->find(1)->backing, nullptr);
    EXPECT_TRUE(gpu->attach_backing(1, pages.backing()));
}

TEST_F(Gpu2d, AttachBacking_SegmentsAreLimited) {
    make_with_limit(0, BudgetKind::kBackingSegments, 20);
    GuestPages pages(16 * 64, 64);
    ASSERT_TRUE(create_2d(1, 8, 8));
    ASSERT_TRUE(create_2d(2, 8, 8));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_FAILS(gpu->attach_backing(2, pages.backing()), ErrorCode::kOutOfMemory);
    EXPECT_EQ(gpu->find(2)->backing, nullptr);
    ASSERT_TRUE(gpu->detach_backing(1));
    EXPECT_TRUE(gpu->attach_backing(2, pages.backing()));
}

TEST_F(Gpu2d, DetachBacking_WithoutOneIsNoErrorAndUnknownIs) {
    ASSERT_TRUE(create_2d(1, 8, 8));
    EXPECT_TRUE(gpu->detach_backing(1));
    EXPECT_TRUE(gpu->detach_backing(1));
    EXPECT_FAILS(gpu->detach_backing(2), ErrorCode::kInvalidResource);
    EXPECT_FAILS(gpu->detach_backing(0), ErrorCode::kInvalidResource);
}

TEST_F(Gpu2d, Transfer_FullFrameIsCopiedStraight) {
    GuestPages pages(50 * 40 * 4, 96);
    pages.number();
    ASSERT_TRUE(create_2d(1, 50, 40));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    ASSERT_TRUE(transfer(1, {0, 0, 50, 40}, 0));
    const auto pixels = pixels_of(1);
    for (uint64_t i = 0; i < pixels.size(); ++i) ASSERT_EQ(pixels[i], GuestPages::value_at(i)) << i;
}

TEST_F(Gpu2d, Transfer_OffsetIsOfTheRectanglesFirstPixelAndOnlyTheDamageIsCopied) {
    GuestPages pages(50 * 40 * 4, 96);
    pages.number();
    ASSERT_TRUE(create_2d(1, 50, 40));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    ASSERT_TRUE(transfer(1, {10, 20, 5, 7}, 20 * 200 + 10 * 4));  // as Linux does
    const auto pixels = pixels_of(1);
    for (uint64_t i = 0; i < pixels.size(); ++i) {
        const uint64_t x = i % 200 / 4;
        const uint64_t y = i / 200;
        const bool inside = x >= 10 && x < 15 && y >= 20 && y < 27;
        ASSERT_EQ(pixels[i], inside ? GuestPages::value_at(i) : std::byte{0}) << i;
    }
}

TEST_F(Gpu2d, Transfer_LastRowMayEndWithTheBacking) {
    // The backing ends with the rectangle's last byte, far before the resource's stride.
    GuestPages pages(3 * 200 + 8 * 4, 96);
    pages.number();
    ASSERT_TRUE(create_2d(1, 50, 40));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_TRUE(transfer(1, {42, 36, 8, 4}, 0));
    EXPECT_FAILS(transfer(1, {42, 36, 8, 4}, 1), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(transfer(1, {41, 36, 9, 4}, 0), ErrorCode::kInvalidParameter);
    const auto pixels = pixels_of(1);
    EXPECT_EQ(pixels[39 * 200 + 42 * 4 + 31], GuestPages::value_at(3 * 200 + 31));
}

TEST_F(Gpu2d, Transfer_BadRequestsAreRefusedAndDrawNothing) {
    GuestPages pages(50 * 40 * 4);
    pages.fill(std::byte{0x77});
    ASSERT_TRUE(create_2d(1, 50, 40));
    ASSERT_TRUE(create_2d(2, 50, 40));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_FAILS(transfer(0, {0, 0, 50, 40}, 0), ErrorCode::kInvalidResource);
    EXPECT_FAILS(transfer(9, {0, 0, 50, 40}, 0), ErrorCode::kInvalidResource);
    EXPECT_FAILS(transfer(2, {0, 0, 50, 40}, 0), ErrorCode::kUnspecified);  // no backing
    for (const Rect& rect :
         {Rect{0, 0, 51, 40}, Rect{0, 0, 50, 41}, Rect{1, 0, 50, 40}, Rect{0, 1, 50, 40},
          Rect{0, 0, 0, 40}, Rect{0, 0, 50, 0}, Rect{kMax, 0, 2, 1}, Rect{0, kMax, 1, 2},
          Rect{50, 0, 1, 1}, Rect{0, 0, kMax, kMax}, Rect{kMax, kMax, kMax, kMax}})
        EXPECT_FAILS(transfer(1, rect, 0), ErrorCode::kInvalidParameter);
    constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();
    for (const uint64_t offset : {uint64_t{1}, uint64_t{8000}, uint64_t{8001}, kMax64,
                                  kMax64 - 7999, uint64_t{1} << 63, uint64_t{1} << 32})
        EXPECT_FAILS(transfer(1, {0, 0, 50, 40}, offset), ErrorCode::kInvalidParameter);
    for (const std::byte byte : pixels_of(1)) ASSERT_EQ(byte, std::byte{0});
}

TEST_F(Gpu2d, Transfer_AfterDetachIsRefused) {
    GuestPages pages(4096);
    ASSERT_TRUE(create_2d(1, 8, 8));
    const auto backing = pages.backing();
    ASSERT_TRUE(gpu->attach_backing(1, backing));
    // The guest's memory goes (hot unplug): the resource still holds a backing, and it is empty.
    backing->revoke();
    EXPECT_FAILS(transfer(1, {0, 0, 8, 8}, 0), ErrorCode::kInvalidParameter);
    ASSERT_TRUE(gpu->detach_backing(1));
    EXPECT_FAILS(transfer(1, {0, 0, 8, 8}, 0), ErrorCode::kUnspecified);
}

TEST_F(Gpu2d, Frame_ShowsAPartOfTheResource) {
    GuestPages pages(50 * 40 * 4);
    pages.number();
    ASSERT_TRUE(create_2d(1, 50, 40, wire::kFormatR8G8B8A8));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    const auto frame = gpu->frame_2d(1, {10, 20, 30, 15});
    ASSERT_TRUE(frame);
    EXPECT_EQ((*frame)->width(), 30u);
    EXPECT_EQ((*frame)->height(), 15u);
    EXPECT_EQ((*frame)->format(), PixelFormat::kR8G8B8A8);
    ASSERT_TRUE(transfer(1, {0, 0, 50, 40}, 0));
    std::byte out[4];
    ASSERT_TRUE((*frame)->read({29, 14, 1, 1}, out, 4));
    EXPECT_EQ(out[0], GuestPages::value_at((20 + 14) * 200 + (10 + 29) * 4));
}

// The guest's own rectangle reached the display unchecked: there an index of a scanout, here of
// pixels.
TEST_F(Gpu2d, CVE_2016_10029_FrameNotInsideTheResourceIsRefused) {
    ASSERT_TRUE(create_2d(1, 50, 40));
    for (const Rect& rect :
         {Rect{0, 0, 51, 40}, Rect{0, 0, 50, 41}, Rect{49, 0, 2, 1}, Rect{0, 39, 1, 2},
          Rect{0, 0, 0, 0}, Rect{kMax, 0, 2, 1}, Rect{1, 1, kMax, kMax}})
        EXPECT_FAILS(gpu->frame_2d(1, rect), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(gpu->frame_2d(0, {0, 0, 1, 1}), ErrorCode::kInvalidResource);
    EXPECT_FAILS(gpu->frame_2d(2, {0, 0, 1, 1}), ErrorCode::kInvalidResource);
}

TEST_F(Gpu2d, Frame_KeepsThePixelsAndTheirChargeAfterUnref) {
    GuestPages pages(8 * 8 * 4);
    pages.number();
    ASSERT_TRUE(create_2d(1, 8, 8));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    ASSERT_TRUE(transfer(1, {0, 0, 8, 8}, 0));
    auto frame = *gpu->frame_2d(1, {0, 0, 8, 8});
    EXPECT_TRUE(destroy(1).ok());
    std::byte out[4];
    ASSERT_TRUE(frame->read({7, 7, 1, 1}, out, 4));
    EXPECT_EQ(out[3], GuestPages::value_at(255));
    EXPECT_EQ(used(BudgetKind::kHostBytes), 256u) << "or a guest has more than its limit";
    gpu.reset();
    ASSERT_TRUE(frame->read({7, 7, 1, 1}, out, 4));
    frame.reset();
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu2d, Uuid_IsRandomOnceAndTheSameEverAfter) {
    std::set<std::array<uint8_t, 16>> seen;
    for (ResourceId id = 1; id <= 50; ++id) {
        ASSERT_TRUE(create_2d(id, 1, 1));
        const auto uuid = gpu->uuid(id);
        ASSERT_TRUE(uuid);
        EXPECT_EQ((*uuid)[6] & 0xf0, 0x40);
        EXPECT_EQ((*uuid)[8] & 0xc0, 0x80);
        EXPECT_TRUE(seen.insert(*uuid).second);
        EXPECT_EQ(*gpu->uuid(id), *uuid);
    }
    const auto old = *gpu->uuid(1);
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_FAILS(gpu->uuid(1), ErrorCode::kInvalidResource);
    ASSERT_TRUE(create_2d(1, 1, 1));
    EXPECT_NE(*gpu->uuid(1), old);
    EXPECT_FAILS(gpu->uuid(0), ErrorCode::kInvalidResource);
}

TEST_F(Gpu2d, WithoutRenderers_ContextsAndHostBlobsAreRefused) {
    EXPECT_EQ(gpu->num_capsets(), 0u);
    EXPECT_EQ(gpu->capset_at(0), nullptr);
    EXPECT_TRUE(create_context(1).failed(ErrorCode::kUnsupported));
    EXPECT_TRUE(create_host_blob(1, 1).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(create_host_blob(0, 1).failed(ErrorCode::kInvalidContext));
    EXPECT_FAILS(gpu->submit(1, std::nullopt, {}), ErrorCode::kInvalidContext);
    EXPECT_FALSE(gpu->create_fence({1, 1, 0, std::nullopt}));
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_TRUE(nothing_is_charged());
}

}  // namespace
}  // namespace swede::rutabaga
