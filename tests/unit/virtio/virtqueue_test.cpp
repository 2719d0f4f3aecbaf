// SPDX-License-Identifier: Apache-2.0
#include "virtio/virtqueue.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "unit/virtio/driver.h"

namespace swede::virtio {
namespace {

using testing::DriverQueue;
using testing::read_request;
using testing::TestGuest;
using testing::to_bytes;

/// Both ways to notify, both kinds of chain.
class QueueKinds : public ::testing::TestWithParam<std::tuple<bool, bool>> {
  protected:
    TestGuest guest;
    Virtqueue queue{guest.memory};
    DriverQueue driver{
        guest,
        queue,
        {.size = 64, .event_idx = std::get<0>(GetParam()), .indirect = std::get<1>(GetParam())}};
    Chain chain;
};

INSTANTIATE_TEST_SUITE_P(Virtqueue, QueueKinds,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool()),
                         [](const auto& kind) {
                             return std::string(std::get<0>(kind.param) ? "EventIdx" : "Flags") +
                                    (std::get<1>(kind.param) ? "Indirect" : "Direct");
                         });

TEST_P(QueueKinds, Request_IsReadAndAnswered) {
    const auto head = driver.add_request(to_bytes("what is the time"), 32);
    ASSERT_TRUE(head);
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(chain.head, *head);
    EXPECT_EQ(chain.readable_size, 16u);
    EXPECT_EQ(chain.writable_size, 32u);
    EXPECT_EQ(read_request(queue, chain).value(), to_bytes("what is the time"));
    const auto written = queue.write(chain.writable, to_bytes("late"));
    EXPECT_EQ(written.value(), 4u);
    ASSERT_TRUE(queue.push(chain.head, *written));
    const auto used = driver.take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->head, *head);
    EXPECT_EQ(used->response, to_bytes("late"));
    EXPECT_FALSE(queue.pop(chain).value());
}

}  // namespace
}  // namespace swede::virtio
