// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/interrupts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "base/event_fd.h"
#include "base/mapping.h"

namespace swede::vfio_user {
namespace {

/// A count that the client reads from its side of an eventfd.
uint64_t taken(const UniqueFd& fd) {
    uint64_t count = 0;
    return ::read(fd.get(), &count, sizeof(count)) == sizeof(count) ? count : 0;
}

class InterruptsTest : public ::testing::Test {
  protected:
    std::unique_ptr<EventLoop> loop = EventLoop::create().value();
    Interrupts interrupts{*loop};
    std::vector<UniqueFd> events;

    static std::vector<UniqueFd> copies(const std::vector<UniqueFd>& fds) {
        std::vector<UniqueFd> result;
        for (const UniqueFd& fd : fds) result.push_back(fd.duplicate());
        return result;
    }

    Result<void> set(uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
                     std::vector<UniqueFd> fds = {}, std::vector<std::byte> data = {}) {
        return interrupts.set(IrqSet{20, flags, index, start, count}, data, fds);
    }

    void assign_all() {
        for (int i = 0; i < kMsixVectors; ++i) events.push_back(create_event_fd().value());
        ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, kMsixVectors,
                        copies(events)));
    }
};

TEST_F(InterruptsTest, VectorSignalsItsOwnEvent) {
    EXPECT_FALSE(interrupts.msix_configured());
    assign_all();
    EXPECT_TRUE(interrupts.msix_configured());
    interrupts.signal(1);
    EXPECT_EQ(taken(events[0]), 0u);
    EXPECT_EQ(taken(events[1]), 1u);
    EXPECT_EQ(taken(events[2]), 0u);
}

TEST_F(InterruptsTest, VectorOutOfRangeIsNone) {
    assign_all();
    interrupts.signal(kMsixVectors);
    interrupts.signal(0xffff);
    EXPECT_EQ(interrupts.pending(), 0u);
    for (const UniqueFd& event : events) EXPECT_EQ(taken(event), 0u);
}

TEST_F(InterruptsTest, MaskedVectorPendsUntilUnmasked) {
    assign_all();
    ASSERT_TRUE(set(kIrqSetDataNone | kIrqSetActionMask, kIrqMsix, 2, 1));
    interrupts.signal(2);
    interrupts.signal(2);
    EXPECT_EQ(taken(events[2]), 0u);
    EXPECT_EQ(interrupts.pending(), 4u);
    ASSERT_TRUE(set(kIrqSetDataNone | kIrqSetActionUnmask, kIrqMsix, 0, 3));
    EXPECT_EQ(taken(events[2]), 1u);
    EXPECT_EQ(interrupts.pending(), 0u);
}

TEST_F(InterruptsTest, VectorWithoutAnEventPendsUntilItHasOne) {
    interrupts.signal(0);
    EXPECT_EQ(interrupts.pending(), 1u);
    assign_all();
    EXPECT_EQ(taken(events[0]), 1u);
    EXPECT_EQ(interrupts.pending(), 0u);
}

TEST_F(InterruptsTest, BooleansChooseWhatIsTriggered) {
    assign_all();
    ASSERT_TRUE(set(kIrqSetDataBool | kIrqSetActionTrigger, kIrqMsix, 0, 3, {},
                    {std::byte{1}, std::byte{0}, std::byte{255}}));
    EXPECT_EQ(taken(events[0]), 1u);
    EXPECT_EQ(taken(events[1]), 0u);
    EXPECT_EQ(taken(events[2]), 1u);
}

TEST_F(InterruptsTest, NoFdsTakeTheEventsAway) {
    assign_all();
    ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 1, 1));
    interrupts.signal(1);
    EXPECT_EQ(taken(events[1]), 0u);
    interrupts.signal(0);
    EXPECT_EQ(taken(events[0]), 1u);
    ASSERT_TRUE(set(kIrqSetDataNone | kIrqSetActionTrigger, kIrqMsix, 0, 0));
    EXPECT_FALSE(interrupts.msix_configured());
    EXPECT_EQ(interrupts.pending(), 0u);
    interrupts.signal(0);
    EXPECT_EQ(taken(events[0]), 0u);
}

TEST_F(InterruptsTest, IntxIsALevelThatMasksItself) {
    const UniqueFd event = create_event_fd().value();
    std::vector<UniqueFd> fds;
    fds.push_back(event.duplicate());
    ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqIntx, 0, 1, std::move(fds)));
    interrupts.set_intx(true);
    interrupts.set_intx(true);
    EXPECT_EQ(taken(event), 1u);
    ASSERT_TRUE(set(kIrqSetDataNone | kIrqSetActionUnmask, kIrqIntx, 0, 1));
    EXPECT_EQ(taken(event), 1u);  // the level is still up
    interrupts.set_intx(false);
    ASSERT_TRUE(set(kIrqSetDataNone | kIrqSetActionUnmask, kIrqIntx, 0, 1));
    EXPECT_EQ(taken(event), 0u);
    interrupts.set_intx(true);
    EXPECT_EQ(taken(event), 1u);
}

TEST_F(InterruptsTest, IntxIsUnmaskedByItsResampleEvent) {
    const UniqueFd event = create_event_fd().value();
    const UniqueFd resample = create_event_fd().value();
    std::vector<UniqueFd> fds;
    fds.push_back(event.duplicate());
    ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqIntx, 0, 1, std::move(fds)));
    fds.clear();
    fds.push_back(resample.duplicate());
    ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionUnmask, kIrqIntx, 0, 1, std::move(fds)));
    interrupts.set_intx(true);
    EXPECT_EQ(taken(event), 1u);
    signal_event(resample.get());
    loop->run_once(std::chrono::seconds(10));
    EXPECT_EQ(taken(event), 1u);
    EXPECT_EQ(taken(resample), 0u);
    // Taken away, it is watched no more.
    ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionUnmask, kIrqIntx, 0, 1));
    signal_event(resample.get());
    loop->run_once(std::chrono::milliseconds(0));
    EXPECT_EQ(taken(event), 0u);
}

TEST_F(InterruptsTest, ResetForgetsWhatIsPendingAndKeepsTheEvents) {
    assign_all();
    ASSERT_TRUE(set(kIrqSetDataNone | kIrqSetActionMask, kIrqMsix, 0, 3));
    interrupts.signal(0);
    interrupts.reset();
    EXPECT_EQ(interrupts.pending(), 0u);
    interrupts.signal(0);
    EXPECT_EQ(taken(events[0]), 1u);
}

TEST_F(InterruptsTest, FlagsAreOneOfDataAndOneOfAction) {
    for (uint32_t flags = 0; flags < 128; ++flags) {
        const bool good = std::popcount(flags & kIrqSetDataMask) == 1 &&
                          std::popcount(flags & kIrqSetActions) == 1 && (flags & 64) == 0;
        if (good) continue;
        EXPECT_FALSE(set(flags, kIrqMsix, 0, 1)) << flags;
        EXPECT_FALSE(set(flags, kIrqMsix, 0, 0)) << flags;
    }
    EXPECT_FALSE(set(~0u, kIrqMsix, 0, 1));
}

TEST_F(InterruptsTest, RangesOutsideTheIndexAreRefused) {
    constexpr uint32_t kTrigger = kIrqSetDataNone | kIrqSetActionTrigger;
    EXPECT_FALSE(set(kTrigger, kIrqMsix, 0, 4));
    EXPECT_FALSE(set(kTrigger, kIrqMsix, 3, 1));
    EXPECT_FALSE(set(kTrigger, kIrqMsix, ~0u, 2));
    EXPECT_FALSE(set(kTrigger, kIrqMsix, 2, ~0u));
    EXPECT_FALSE(set(kTrigger, kIrqMsix, 1, 0));
    EXPECT_FALSE(set(kTrigger, kIrqIntx, 0, 2));
    EXPECT_FALSE(set(kTrigger, 1, 0, 1));
    EXPECT_FALSE(set(kTrigger, 3, 0, 1));
    EXPECT_FALSE(set(kTrigger, kIrqCount, 0, 0));
    EXPECT_FALSE(set(kTrigger, ~0u, 0, 1));
    EXPECT_FALSE(set(kIrqSetDataNone | kIrqSetActionMask, kIrqMsix, 0, 0));
    EXPECT_FALSE(set(kIrqSetDataBool | kIrqSetActionTrigger, kIrqMsix, 0, 0));
    EXPECT_FALSE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, 0));
}

TEST_F(InterruptsTest, WrongCountsOfDataAndFdsAreRefused) {
    assign_all();
    std::vector<UniqueFd> two;
    two.push_back(create_event_fd().value());
    two.push_back(create_event_fd().value());
    EXPECT_FALSE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, 3, copies(two)));
    EXPECT_FALSE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, 1, copies(two)));
    EXPECT_FALSE(set(kIrqSetDataNone | kIrqSetActionTrigger, kIrqMsix, 0, 2, copies(two)));
    EXPECT_FALSE(
        set(kIrqSetDataBool | kIrqSetActionTrigger, kIrqMsix, 0, 2, {}, std::vector<std::byte>(1)));
    EXPECT_FALSE(
        set(kIrqSetDataBool | kIrqSetActionTrigger, kIrqMsix, 0, 2, {}, std::vector<std::byte>(3)));
    EXPECT_FALSE(
        set(kIrqSetDataNone | kIrqSetActionTrigger, kIrqMsix, 0, 2, {}, std::vector<std::byte>(2)));
    // What was assigned before is as it was.
    interrupts.signal(0);
    EXPECT_EQ(taken(events[0]), 1u);
}

TEST_F(InterruptsTest, EventsOnMaskingAreNotOffered) {
    for (const uint32_t action : {kIrqSetActionMask, kIrqSetActionUnmask}) {
        std::vector<UniqueFd> fds;
        fds.push_back(create_event_fd().value());
        const auto refused = set(kIrqSetDataEventFd | action, kIrqMsix, 0, 1, std::move(fds));
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported);
    }
}

TEST_F(InterruptsTest, OnlyEventFdsAreTaken) {
    constexpr uint32_t kTrigger = kIrqSetDataEventFd | kIrqSetActionTrigger;
    constexpr uint32_t kUnmask = kIrqSetDataEventFd | kIrqSetActionUnmask;
    int pipe_ends[2];
    ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
    const UniqueFd read_end(pipe_ends[0]);
    const UniqueFd write_end(pipe_ends[1]);
    const UniqueFd memory = create_memfd("not-an-event", 4096).value();
    for (const UniqueFd* const fd : {&read_end, &write_end, &memory}) {
        std::vector<UniqueFd> fds;
        fds.push_back(fd->duplicate());
        EXPECT_FALSE(set(kTrigger, kIrqMsix, 0, 1, std::move(fds)));
        fds.clear();
        fds.push_back(fd->duplicate());
        EXPECT_FALSE(set(kUnmask, kIrqIntx, 0, 1, std::move(fds)));
    }
    EXPECT_FALSE(interrupts.msix_configured());
    // An epoll instance is anonymous too, and could be readable for ever.
    std::vector<UniqueFd> fds;
    fds.emplace_back(::epoll_create1(EPOLL_CLOEXEC));
    EXPECT_FALSE(set(kUnmask, kIrqIntx, 0, 1, std::move(fds)));
}

TEST_F(InterruptsTest, BlockingEventCannotBlockUs) {
    const UniqueFd event(::eventfd(0, EFD_CLOEXEC));
    std::vector<UniqueFd> fds;
    fds.push_back(event.duplicate());
    ASSERT_TRUE(set(kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, 1, std::move(fds)));
    const uint64_t full = ~uint64_t{0} - 1;
    ASSERT_EQ(::write(event.get(), &full, sizeof(full)), static_cast<ssize_t>(sizeof(full)));
    interrupts.signal(0);  // would wait for a reader
    EXPECT_EQ(taken(event), full);
}

}  // namespace
}  // namespace swede::vfio_user
