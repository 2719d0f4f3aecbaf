// SPDX-License-Identifier: Apache-2.0
// The hot path allocates nothing in steady state: this program counts every operator new.
#include <gtest/gtest.h>

#include "rutabaga/fence_timelines.h"
#include "rutabaga/gpu.h"
#include "unit/base/allocation_counter.h"
#include "unit/rutabaga/guest_pages.h"
#include "unit/rutabaga/queued_sink.h"

namespace swede::rutabaga {
namespace {

using swede::testing::allocations_of;

TEST(Allocation, CounterCounts) {
    // Seen by more than the compiler, which may leave out an allocation that nobody looks at.
    static std::unique_ptr<std::vector<int>> seen;
    EXPECT_GE(allocations_of([] { seen = std::make_unique<std::vector<int>>(100); }), 2u);
    EXPECT_EQ(seen->size(), 100u);
}

TEST(Allocation, TransferToHost2d_AllocatesNothing) {
    Gpu gpu(Budget::create(), std::make_shared<testing::QueuedSink>(), {});
    testing::GuestPages pages(640 * 480 * 4);
    ASSERT_TRUE(gpu.create_2d({1, wire::kFormatB8G8R8X8, 640, 480}));
    ASSERT_TRUE(gpu.attach_backing(1, pages.backing()));
    const uint64_t count = allocations_of([&] {
        for (uint32_t i = 0; i < 1000; ++i) {
            const uint32_t x = i % 600;
            const uint32_t y = i % 400;
            const uint64_t offset = (uint64_t{y} * 640 + x) * 4;
            if (!gpu.transfer_to_host_2d({{x, y, 40, 80}, offset, 1, 0})) std::abort();
        }
        if (!gpu.transfer_to_host_2d({{0, 0, 640, 480}, 0, 1, 0})) std::abort();
    });
    EXPECT_EQ(count, 0u);
}

TEST(Allocation, FrameRead_AllocatesNothing) {
    Gpu gpu(Budget::create(), std::make_shared<testing::QueuedSink>(), {});
    ASSERT_TRUE(gpu.create_2d({1, wire::kFormatB8G8R8X8, 640, 480}));
    const auto frame = *gpu.frame_2d(1, {0, 0, 640, 480});
    std::vector<std::byte> out(640 * 480 * 4);
    EXPECT_EQ(allocations_of([&] {
                  for (int i = 0; i < 20; ++i)
                      if (!frame->read({0, 0, 640, 480}, out.data(), 640 * 4)) std::abort();
              }),
              0u);
}

TEST(Allocation, Fences_AllocateNothingOnceAsManyWerePendingBefore) {
    uint64_t retired = 0;
    FenceTimelines timelines([&](uint64_t) { ++retired; });
    std::vector<uint64_t> tickets(64);
    const auto round = [&](uint32_t shift) {
        for (uint32_t i = 0; i < tickets.size(); ++i) {
            Timeline timeline{(i + shift) % 5, std::nullopt};
            if (i % 4 != 0) timeline.ring = static_cast<uint8_t>(i + shift);
            tickets[i] = timelines.accept(timeline);
        }
        for (size_t i = 0; i < tickets.size(); ++i)
            timelines.complete(tickets[(i * 29) % tickets.size()]);  // in another order
    };
    round(0);
    EXPECT_EQ(allocations_of([&] {
                  for (uint32_t i = 1; i < 1000; ++i) round(i);
              }),
              0u);
    EXPECT_EQ(retired, 64'000u);
    EXPECT_EQ(timelines.pending(), 0u);
}

}  // namespace
}  // namespace swede::rutabaga
