// SPDX-License-Identifier: Apache-2.0
// Fences: each once, in order, on any thread, never under a lock of ours.
#include <atomic>
#include <barrier>
#include <cerrno>
#include <thread>

#include "unit/base/process_state.h"
#include "unit/transports/c_abi/instance_fixture.h"

namespace swede::c_abi {
namespace {

using testing::Heard;
using testing::InstanceFixture;
using Ids = std::vector<uint64_t>;

class Fences : public InstanceFixture {};

TEST_F(Fences, Of2dAreReachedInsideTheCall) {
    make_2d();
    EXPECT_EQ(fence(7, 0, {}), 0);
    EXPECT_EQ(heard.fence_ids(), Ids{7});
    EXPECT_EQ(instance->pending_fences(), 0u);
}

TEST_F(Fences, QemuPassesFlagsOnAndGetsThemBack) {
    make_with_renderer();
    ASSERT_EQ(create_context(3), 0);
    const rutabaga_fence given{
        RUTABAGA_FLAG_FENCE | RUTABAGA_FLAG_INFO_RING_IDX | RUTABAGA_FLAG_FENCE_SHAREABLE | 0x80u,
        0x1122334455667788, 3, 1};
    ASSERT_EQ(call([&](Instance& i) { return i.create_fence(given); }), 0);
    EXPECT_TRUE(heard.fences().empty());
    request_of_factory.sink->fence_done(last_ticket());
    heard.wait_for_fences(1);
    const rutabaga_fence got = heard.fences().front();
    EXPECT_EQ(got.flags, given.flags);
    EXPECT_EQ(got.fence_id, given.fence_id);
    EXPECT_EQ(got.ctx_id, given.ctx_id);
    EXPECT_EQ(got.ring_idx, given.ring_idx);
}

// rutabaga_gfx keeps 8 bits of the ring: 257 came back as 1.
TEST_F(Fences, RingIndexComesBackWhole) {
    make_with_renderer();
    ASSERT_EQ(create_context(3), 0);
    for (const uint32_t ring : {256u, 257u, 0xffffffffu}) EXPECT_EQ(fence(ring, 3, ring), 0);
    const auto got = heard.fences();
    ASSERT_EQ(got.size(), 3u);
    EXPECT_EQ(got[0].ring_idx, 256u);
    EXPECT_EQ(got[1].ring_idx, 257u);
    EXPECT_EQ(got[2].ring_idx, 0xffffffffu);
    EXPECT_TRUE(renderer->fences.empty());
}

TEST_F(Fences, OfUnknownContextsAreReachedAtOnce) {
    make_with_renderer();
    EXPECT_EQ(fence(1, 0, 0), 0);
    EXPECT_EQ(fence(2, 99, 1), 0);
    EXPECT_EQ(fence(3, 99, {}), 0);
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3}));
    EXPECT_TRUE(heard.heard("there is no context 99"));
}

// QEMU never answers the command of a fence that was refused.
TEST_F(Fences, QemuStrandsWhatIsRefusedSoNoneIs) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kPendingFences)] = 2;
    make_with_renderer(limits);
    ASSERT_EQ(create_context(1), 0);
    for (uint64_t id = 1; id <= 4; ++id) EXPECT_EQ(fence(id, 1, 0), 0);
    EXPECT_EQ(heard.fence_ids(), (Ids{3, 4}));
    EXPECT_TRUE(heard.heard("Fence 3 is reached at once"));
    EXPECT_EQ(destroy_context(1), 0);
    EXPECT_EQ(heard.fence_ids(), (Ids{3, 4, 1, 2}));
    EXPECT_EQ(fence(5, 0, {}), 0);  // what was charged is given back
    EXPECT_EQ(instance->pending_fences(), 0u);
}

TEST_F(Fences, OfOneTimelineKeepTheirOrder) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    std::vector<uint64_t> tickets;
    for (uint64_t id = 1; id <= 3; ++id) {
        ASSERT_EQ(fence(id, 1, 2), 0);
        tickets.push_back(last_ticket());
    }
    request_of_factory.sink->fence_done(tickets[2]);
    request_of_factory.sink->fence_done(tickets[1]);
    ASSERT_EQ(call([](Instance&) {}), 0);
    EXPECT_TRUE(heard.fence_ids().empty());
    request_of_factory.sink->fence_done(tickets[0]);
    heard.wait_for_fences(3);
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3}));
}

// QEMU's own matching mixes contexts up (contrib/qemu); delaying one for the other would stop a
// guest whose Wayland socket is silent.
TEST_F(Fences, QemuMixesContextsUpAndNoneWaits) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(create_context(2), 0);
    ASSERT_EQ(fence(10, 1, 1), 0);
    ASSERT_EQ(fence(11, 2, 1), 0);
    request_of_factory.sink->fence_done(last_ticket());
    heard.wait_for_fences(1);
    EXPECT_EQ(heard.fence_ids(), Ids{11});
}

TEST_F(Fences, ReportedTwiceOrUnknownAreReachedOnce) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(fence(1, 1, 0), 0);
    request_of_factory.sink->fence_done(last_ticket() + 5);
    request_of_factory.sink->fence_done(last_ticket());
    request_of_factory.sink->fence_done(last_ticket());
    heard.wait_for_fences(1);
    EXPECT_EQ(destroy_context(1), 0);
    EXPECT_EQ(heard.fence_ids(), Ids{1});
}

TEST_F(Fences, OfADestroyedContextAreReached) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(create_context(2), 0);
    ASSERT_EQ(fence(1, 1, 0), 0);
    ASSERT_EQ(fence(2, 1, 7), 0);
    ASSERT_EQ(fence(3, 1, {}), 0);
    ASSERT_EQ(fence(4, 2, 0), 0);
    EXPECT_EQ(destroy_context(1), 0);
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3}));
    EXPECT_EQ(instance->pending_fences(), 1u);
}

TEST_F(Fences, OutAtFinishAreReachedBeforeItReturns) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    for (uint64_t id = 1; id <= 5; ++id) ASSERT_EQ(fence(id, 1, 0), 0);
    const auto sink = request_of_factory.sink;
    const uint64_t ticket = last_ticket();
    EXPECT_TRUE(instance->finish());
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3, 4, 5}));
    sink->fence_done(ticket);  // a renderer that comes late
    sink->context_lost(1, {ErrorCode::kDeviceLost, "late"});
    EXPECT_EQ(heard.fence_ids().size(), 5u);
    EXPECT_FALSE(heard.heard("late"));
    EXPECT_FALSE(instance->finish());
}

TEST_F(Fences, OfALostContextAreReachedWithoutACall) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(fence(1, 1, 0), 0);
    std::thread([&] {
        request_of_factory.sink->context_lost(1, {ErrorCode::kDeviceLost, "It fell over."});
    }).join();
    heard.wait_for_fences(1);
    heard.wait_for_messages(1);
    EXPECT_TRUE(heard.heard("Context 1 is lost: It fell over."));
    EXPECT_EQ(fence(2, 1, 0), 0);
    heard.wait_for_fences(2);  // the thread of the message may be at it still
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2}));
    const uint8_t command = 0;
    EXPECT_EQ(call([&](Instance& i) { return i.submit(1, std::span(&command, 1)); }), -ENODEV);
    EXPECT_EQ(destroy_context(1), 0);
    EXPECT_EQ(create_context(1), 0);  // the id is good again
    EXPECT_EQ(fence(3, 1, 0), 0);
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2}));
}

TEST_F(Fences, CallbackMayCallEveryFunction) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    std::atomic<int> calls = 0;
    heard.on_fence = [&](const rutabaga_fence& reached) {
        if (reached.fence_id >= 3) return;
        EXPECT_EQ(fence(reached.fence_id + 1, 99, 0), 0);
        EXPECT_EQ(create_2d(static_cast<uint32_t>(reached.fence_id), 4, 4), 0);
        EXPECT_EQ(unref(77), -ENOENT);  // whose message is a callback as well
        ++calls;
    };
    EXPECT_EQ(fence(1, 99, 0), 0);
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3}));
    EXPECT_EQ(calls, 2);
}

TEST_F(Fences, CallbackOfARendererThreadMayCall) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(fence(1, 1, 0), 0);
    heard.on_fence = [&](const rutabaga_fence& reached) {
        if (reached.fence_id == 1) {
            EXPECT_EQ(fence(2, 99, 0), 0);
        }
    };
    std::thread([&] { request_of_factory.sink->fence_done(last_ticket()); }).join();
    heard.wait_for_fences(2);
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2}));
}

TEST_F(Fences, CallbackMayFinish) {
    const size_t before = swede::testing::threads();
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(fence(1, 1, 0), 0);
    ASSERT_EQ(fence(2, 1, 1), 0);
    ASSERT_EQ(fence(3, 1, 2), 0);
    heard.on_fence = [&](const rutabaga_fence& reached) {
        if (reached.fence_id != 1) return;
        EXPECT_TRUE(instance->finish());
        EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3}));
        EXPECT_EQ(fence(4, 1, 0), -EINVAL);
    };
    request_of_factory.sink->fence_done(renderer->fences.front().ticket);
    heard.wait_for_fences(3);
    EXPECT_TRUE(swede::testing::threads_come_down_to(before));  // the one that called back
    EXPECT_EQ(heard.fence_ids(), (Ids{1, 2, 3}));
}

TEST_F(Fences, MessageMayCall) {
    make_2d();
    int messages = 0;
    heard.on_message = [&] {
        if (++messages == 1) {
            EXPECT_EQ(unref(2), -ENOENT);
        }
    };
    EXPECT_EQ(unref(1), -ENOENT);
    EXPECT_EQ(messages, 2);
}

TEST_F(Fences, AreReachedOnceWithManyThreads) {
    constexpr uint64_t kEach = 200;
    constexpr uint32_t kThreads = 4;
    make_with_renderer();
    for (uint32_t context = 1; context <= kThreads; ++context)
        ASSERT_EQ(create_context(context), 0);
    std::barrier start(kThreads);
    std::vector<std::thread> threads;
    for (uint32_t context = 1; context <= kThreads; ++context)
        threads.emplace_back([&, context] {
            start.arrive_and_wait();
            for (uint64_t id = 1; id <= kEach; ++id) {
                uint64_t ticket = 0;
                EXPECT_EQ(call([&](Instance& i) -> Result<void> {
                              auto created =
                                  i.create_fence({RUTABAGA_FLAG_FENCE | RUTABAGA_FLAG_INFO_RING_IDX,
                                                  uint64_t{context} << 32 | id, context, 0});
                              ticket = last_ticket();
                              return created;
                          }),
                          0);
                request_of_factory.sink->fence_done(ticket);  // this is a renderer's thread now
            }
        });
    for (std::thread& thread : threads) thread.join();
    heard.wait_for_fences(kEach * kThreads);
    std::vector<uint64_t> next(kThreads + 1, 1);
    for (const uint64_t id : heard.fence_ids()) EXPECT_EQ(id & 0xffffffff, next[id >> 32]++);
    EXPECT_EQ(instance->pending_fences(), 0u);
}

TEST_F(Fences, FinishWaitsForACallbackOfAnotherThread) {
    const size_t before = swede::testing::threads();
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(fence(1, 1, 0), 0);
    std::atomic<bool> inside = false;
    std::atomic<bool> done = false;
    heard.on_fence = [&](const rutabaga_fence&) {
        inside = true;
        // Until the other thread is in finish(), where the instance's lock is free for us.
        while (call([](Instance&) {}) != -EINVAL) std::this_thread::yield();
        for (int i = 0; i < 100; ++i) std::this_thread::yield();
        done = true;
    };
    request_of_factory.sink->fence_done(last_ticket());
    while (!inside) std::this_thread::yield();
    EXPECT_TRUE(instance->finish());
    EXPECT_TRUE(done);
    EXPECT_TRUE(swede::testing::threads_come_down_to(before));
}

TEST_F(Fences, FinishWaitsForACallbackOfAnotherCall) {
    make_2d();
    std::atomic<bool> inside = false;
    std::atomic<bool> done = false;
    heard.on_fence = [&](const rutabaga_fence&) {
        inside = true;
        while (call([](Instance&) {}) != -EINVAL) std::this_thread::yield();
        for (int i = 0; i < 100; ++i) std::this_thread::yield();
        done = true;
    };
    std::thread calling([&] { EXPECT_EQ(fence(1, 0, {}), 0); });
    while (!inside) std::this_thread::yield();
    EXPECT_TRUE(instance->finish());
    EXPECT_TRUE(done);
    calling.join();
}

TEST_F(Fences, MessagesOfAGuestAreLimited) {
    make_2d();
    for (int i = 0; i < 10000; ++i) EXPECT_EQ(unref(1), -ENOENT);
    EXPECT_LT(heard.messages().size(), 5000u);
    EXPECT_GE(heard.messages().size(), 1u);
}

}  // namespace
}  // namespace swede::c_abi
