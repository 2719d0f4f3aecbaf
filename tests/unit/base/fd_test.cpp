// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <thread>

#include "base/event_fd.h"
#include "base/mapping.h"
#include "process_state.h"

namespace swede {
namespace {

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

bool is_readable(int fd) {
    pollfd poll{fd, POLLIN, 0};
    return ::poll(&poll, 1, 0) == 1;
}

TEST(UniqueFd, ClosesOnce) {
    int number;
    {
        const UniqueFd fd = create_event_fd().value();
        number = fd.get();
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST(UniqueFd, Move_LeavesTheSourceEmpty) {
    UniqueFd first = create_event_fd().value();
    const int number = first.get();
    UniqueFd second = std::move(first);
    EXPECT_FALSE(first);
    EXPECT_EQ(second.get(), number);
    UniqueFd third = create_event_fd().value();
    const int replaced = third.get();
    third = std::move(second);
    EXPECT_FALSE(is_open(replaced));
    EXPECT_EQ(third.get(), number);
    UniqueFd& same = third;
    third = std::move(same);
    EXPECT_TRUE(is_open(number));
}

TEST(UniqueFd, Release_GivesUpOwnership) {
    UniqueFd fd = create_event_fd().value();
    const int number = fd.release();
    EXPECT_FALSE(fd);
    fd.reset();
    EXPECT_TRUE(is_open(number));
    ::close(number);
}

TEST(UniqueFd, Duplicate_IsCloseOnExecAndItsOwn) {
    UniqueFd fd = create_event_fd().value();
    const UniqueFd copy = fd.duplicate();
    EXPECT_NE(copy.get(), fd.get());
    EXPECT_EQ(::fcntl(copy.get(), F_GETFD), FD_CLOEXEC);
    signal_event(fd.get());
    fd.reset();
    EXPECT_TRUE(is_readable(copy.get()));
    EXPECT_FALSE(UniqueFd().duplicate());
}

TEST(EventFd, Drain_TakesAllSignals) {
    const UniqueFd fd = create_event_fd().value();
    EXPECT_FALSE(is_readable(fd.get()));
    signal_event(fd.get());
    signal_event(fd.get());
    EXPECT_TRUE(is_readable(fd.get()));
    drain_event(fd.get());
    EXPECT_FALSE(is_readable(fd.get()));
    drain_event(fd.get());  // nothing there: does not block
}

TEST(EventFd, FullCounter_DoesNotBlock) {
    const UniqueFd fd = create_event_fd().value();
    const uint64_t most = UINT64_MAX - 1;
    ASSERT_EQ(::write(fd.get(), &most, sizeof(most)), static_cast<ssize_t>(sizeof(most)));
    signal_event(fd.get());
    EXPECT_TRUE(is_readable(fd.get()));
}

}  // namespace
}  // namespace swede
