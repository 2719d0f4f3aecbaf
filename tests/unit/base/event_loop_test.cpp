// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "base/event_fd.h"
#include "process_state.h"

namespace swede {
namespace {

using namespace std::chrono_literals;

class EventLoopTest : public ::testing::Test {
  protected:
    std::unique_ptr<EventLoop> loop = EventLoop::create().value();

    /// An eventfd that is readable now.
    static UniqueFd ready() {
        UniqueFd fd = create_event_fd().value();
        signal_event(fd.get());
        return fd;
    }
    void turns(int count) {
        for (int i = 0; i < count; ++i) EXPECT_TRUE(loop->run_once(0ms));
    }
    /// Runs until `done` holds; the test's own time limit is the only limit.
    template <typename Done>
    void run_until(Done done) {
        while (!done()) EXPECT_TRUE(loop->run_once(100ms));
    }
};

TEST_F(EventLoopTest, Watch_IsToldWhileReady) {
    const UniqueFd fd = ready();
    int calls = 0;
    const auto watch = loop->watch(fd.get(), EPOLLIN, [&](uint32_t events) {
        EXPECT_EQ(events, static_cast<uint32_t>(EPOLLIN));
        ++calls;
    });
    ASSERT_TRUE(watch);
    turns(2);
    EXPECT_EQ(calls, 2) << "level-triggered";
    drain_event(fd.get());
    turns(2);
    EXPECT_EQ(calls, 2);
}

TEST_F(EventLoopTest, Watch_EndsWhenItDies) {
    const UniqueFd fd = ready();
    int calls = 0;
    {
        auto watch = loop->watch(fd.get(), EPOLLIN, [&](uint32_t) { ++calls; }).value();
        auto moved = std::move(watch);
        EXPECT_FALSE(watch);
        turns(1);
        EXPECT_EQ(calls, 1);
    }
    turns(2);
    EXPECT_EQ(calls, 1);
    EXPECT_TRUE(loop->watch(fd.get(), EPOLLIN, [](uint32_t) {})) << "the fd is free again";
}

TEST_F(EventLoopTest, Watch_MayDieInItsOwnCallback) {
    const UniqueFd fd = ready();
    int calls = 0;
    auto canary = std::make_shared<int>(1);
    EventLoop::Watch watch;
    watch = loop->watch(fd.get(), EPOLLIN,
                        [&, canary](uint32_t) {
                            watch.reset();
                            calls += *canary;  // what was captured lives on until the callback ends
                        })
                .value();
    turns(3);
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(canary.use_count(), 1);
}

TEST_F(EventLoopTest, WatchThatDiedInThisTurn_IsNotCalled) {
    const UniqueFd first = ready();
    const UniqueFd second = ready();
    int calls = 0;
    EventLoop::Watch watches[2];
    for (int i = 0; i < 2; ++i)
        watches[i] = loop->watch((i == 0 ? first : second).get(), EPOLLIN,
                                 [&, i](uint32_t) {
                                     ++calls;
                                     watches[1 - i].reset();
                                 })
                         .value();
    turns(1);
    EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, WatchOfAReusedFdNumber_GetsNoOldEvent) {
    UniqueFd first = ready();
    UniqueFd second = ready();
    int old_calls = 0;
    int new_calls = 0;
    EventLoop::Watch watches[2];
    EventLoop::Watch fresh;
    UniqueFd replacement;
    const auto replace = [&](EventLoop::Watch& other, UniqueFd& fd) {
        ++old_calls;
        if (old_calls > 1) return;
        const int number = fd.get();
        other.reset();
        fd.reset();
        replacement = create_event_fd().value();  // not ready
        ASSERT_EQ(replacement.get(), number);
        fresh = loop->watch(number, EPOLLIN, [&](uint32_t) { ++new_calls; }).value();
    };
    watches[0] =
        loop->watch(first.get(), EPOLLIN, [&](uint32_t) { replace(watches[1], second); }).value();
    watches[1] =
        loop->watch(second.get(), EPOLLIN, [&](uint32_t) { replace(watches[0], first); }).value();
    turns(1);
    EXPECT_EQ(old_calls, 1);
    EXPECT_EQ(new_calls, 0);
}

TEST_F(EventLoopTest, SetEvents_PausesAndResumes) {
    const UniqueFd fd = ready();
    int calls = 0;
    auto watch = loop->watch(fd.get(), EPOLLIN, [&](uint32_t) { ++calls; }).value();
    watch.set_events(0);
    turns(2);
    EXPECT_EQ(calls, 0);
    watch.set_events(EPOLLIN);
    turns(1);
    EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, Watch_RefusesABadFd) {
    EXPECT_FALSE(loop->watch(-1, EPOLLIN, [](uint32_t) {}));
    const UniqueFd fd = ready();
    const auto watch = loop->watch(fd.get(), EPOLLIN, [](uint32_t) {});
    EXPECT_FALSE(loop->watch(fd.get(), EPOLLIN, [](uint32_t) {})) << "twice the same";
}

TEST_F(EventLoopTest, Post_RunsInOrderAndNotWithinTheCaller) {
    std::vector<int> order;
    loop->post([&] {
        order.push_back(1);
        loop->post([&] { order.push_back(3); });
    });
    loop->post([&] { order.push_back(2); });
    EXPECT_TRUE(order.empty());
    turns(1);
    EXPECT_EQ(order, (std::vector{1, 2}));
    turns(1);
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
}

TEST_F(EventLoopTest, PostFromManyThreads_LosesNothingAndKeepsEachOrder) {
    constexpr int kThreads = 4;
    constexpr int kPosts = 2000;
    std::vector<std::vector<int>> seen(kThreads);
    int count = 0;
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
        threads.emplace_back([&, thread] {
            for (int i = 0; i < kPosts; ++i)
                loop->post([&, thread, i] {
                    seen[static_cast<size_t>(thread)].push_back(i);
                    ++count;
                });
        });
    run_until([&] { return count == kThreads * kPosts; });
    for (const auto& one : seen) EXPECT_TRUE(std::ranges::is_sorted(one));
}

TEST_F(EventLoopTest, Stop_FromAnotherThreadEndsRun) {
    std::jthread thread([&] { loop->stop(); });
    loop->run();
    EXPECT_FALSE(loop->run_once(0ms));
}

TEST_F(EventLoopTest, Stop_StillRunsWhatWasPostedBefore) {
    bool ran = false;
    loop->post([&] { ran = true; });
    loop->stop();
    loop->run();
    EXPECT_TRUE(ran);
}

TEST_F(EventLoopTest, Timer_RunsOnce) {
    int calls = 0;
    EventLoop::Timer timer(*loop, [&] { ++calls; });
    ASSERT_TRUE(timer.arm(0ns)) << "0 means at once, not never";
    run_until([&] { return calls == 1; });
    turns(3);
    EXPECT_EQ(calls, 1);
    ASSERT_TRUE(timer.arm(1ns));
    run_until([&] { return calls == 2; });
}

TEST_F(EventLoopTest, Timers_RunByTheirTime) {
    std::vector<int> order;
    EventLoop::Timer late(*loop, [&] { order.push_back(2); });
    EventLoop::Timer early(*loop, [&] { order.push_back(1); });
    ASSERT_TRUE(late.arm(60ms));
    ASSERT_TRUE(early.arm(1ms));
    run_until([&] { return order.size() == 2; });
    EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST_F(EventLoopTest, ArmAgain_TakesThePlaceOfTheEarlierTime) {
    int calls = 0;
    EventLoop::Timer timer(*loop, [&] { ++calls; });
    ASSERT_TRUE(timer.arm(1h));
    ASSERT_TRUE(timer.arm(1ms));
    run_until([&] { return calls == 1; });
}

TEST_F(EventLoopTest, Disarm_AlsoStopsATimeThatHasPassed) {
    int calls = 0;
    EventLoop::Timer timer(*loop, [&] { ++calls; });
    timer.disarm();
    ASSERT_TRUE(timer.arm(1ns));
    std::this_thread::sleep_for(2ms);
    timer.disarm();
    turns(2);
    EXPECT_EQ(calls, 0);
}

TEST_F(EventLoopTest, Timer_MayRearmItself) {
    int calls = 0;
    EventLoop::Timer* self = nullptr;
    EventLoop::Timer timer(*loop, [&] {
        if (++calls == 3) return;
        EXPECT_TRUE(self->arm(1ns));
    });
    self = &timer;
    ASSERT_TRUE(timer.arm(1ns));
    run_until([&] { return calls == 3; });
}

TEST_F(EventLoopTest, Timer_MayDieInItsOwnTask) {
    auto canary = std::make_shared<int>(0);
    std::optional<EventLoop::Timer> timer;
    timer.emplace(*loop, [&, canary] {
        timer.reset();
        ++*canary;
    });
    ASSERT_TRUE(timer->arm(1ns));
    run_until([&] { return *canary == 1; });
    turns(2);
    EXPECT_EQ(canary.use_count(), 1);
}

TEST_F(EventLoopTest, Timer_UsesNoFdBeforeItIsArmed) {
    const size_t before = testing::open_fds();
    {
        EventLoop::Timer timer(*loop, [] {});
        EXPECT_EQ(testing::open_fds(), before);
        ASSERT_TRUE(timer.arm(1h));
        EXPECT_EQ(testing::open_fds(), before + 1);
    }
    EXPECT_EQ(testing::open_fds(), before);
}

TEST(EventLoop, GivesBackItsFds) {
    const size_t before = testing::open_fds();
    {
        const auto loop = EventLoop::create().value();
    }
    EXPECT_EQ(testing::open_fds(), before);
}

}  // namespace
}  // namespace swede
