// SPDX-License-Identifier: Apache-2.0
// The queue allocates nothing in steady state: this program counts every operator new.
#include <gtest/gtest.h>

#include "unit/base/allocation_counter.h"
#include "unit/virtio/driver.h"
#include "virtio/virtqueue.h"

namespace swede::virtio {
namespace {

using testing::DriverQueue;
using testing::TestGuest;

class Allocations : public ::testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(Virtqueue, Allocations, ::testing::Bool(), [](const auto& indirect) {
    return indirect.param ? "Indirect" : "Direct";
});

TEST_P(Allocations, SteadyState_AllocatesNothing) {
    TestGuest guest;
    Virtqueue queue(guest.memory);
    DriverQueue driver(guest, queue, {.size = 64, .indirect = GetParam()});
    Chain chain;
    std::array<std::byte, 256> buffer{};
    const std::array<GuestRange, 3> readable{
        {{guest.allocate(64), 64}, {guest.allocate(64), 64}, {guest.allocate(64), 64}}};
    const std::array<GuestRange, 2> writable{{{guest.allocate(64), 64}, {guest.allocate(64), 64}}};
    size_t counted = 0;
    for (int round = 0; round < 100; ++round) {
        ASSERT_TRUE(driver.add_buffer(readable, writable));
        if (round == 50) {  // the map changes: places are looked up again
            guest.unplug();
            guest.plug();
        }
        const uint64_t before = swede::testing::allocations.load();
        const bool served = queue.pop(chain).value_or(false) &&
                            queue.read(chain, 0, std::span(buffer).first(192)) &&
                            queue.push(chain, buffer) && queue.take_interrupt();
        const bool more = queue.pop(chain).value_or(true);
        queue.set_notifications(false);
        queue.set_notifications(true);
        if (round > 0) counted += swede::testing::allocations.load() - before;
        ASSERT_TRUE(served);
        ASSERT_FALSE(more);
        ASSERT_TRUE(driver.take_used());
    }
    EXPECT_EQ(counted, 0u);
    const uint64_t before = swede::testing::allocations.load();
    ::operator delete(::operator new(1));
    EXPECT_EQ(swede::testing::allocations.load(), before + 1) << "the counter does not count";
}

}  // namespace
}  // namespace swede::virtio
