// SPDX-License-Identifier: Apache-2.0
#include "base/file_closer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "base/event_fd.h"
#include "lingering_socket.h"
#include "peer_socket.h"
#include "process_state.h"

namespace swede {
namespace {

using testing::LingeringSocket;
using testing::send_raw;
using testing::socket_pair;

constexpr size_t kMaxThreads = 8;

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) >= 0;
}

/// True once `condition` is; false after some seconds.
bool comes_true(auto condition) {
    for (int i = 0; i < 2000; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

bool all_closed() {
    return comes_true([] { return files_to_close() == 0; });
}

/// Once those of the test before have ended.
size_t settled_threads() {
    size_t count = testing::threads();
    for (int unchanged = 0; unchanged < 20; ++unchanged) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        if (testing::threads() == count) continue;
        count = testing::threads();
        unchanged = 0;
    }
    return count;
}

/// Of a kind that is not known to be closed without a wait.
UniqueFd some_file() {
    return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC));
}

std::shared_ptr<Budget> budget() {
    return Budget::create();
}

TEST(FileCloser, ClosesAndGivesTheChargeBack) {
    const auto held = budget();
    UniqueFd fd = some_file();
    const int number = fd.get();
    close_elsewhere(std::move(fd), held->charge(BudgetKind::kFiles, 1).value());
    EXPECT_TRUE(comes_true([&] { return held->used(BudgetKind::kFiles) == 0; }));
    EXPECT_FALSE(is_open(number));
    EXPECT_TRUE(all_closed());
}

TEST(FileCloser, NothingToClose_StartsNoThread) {
    ASSERT_TRUE(all_closed());
    close_elsewhere(UniqueFd());
    std::vector<UniqueFd> none(3);
    close_elsewhere(none);
    EXPECT_TRUE(none.empty());
    hang_up(UniqueFd());
    {
        const PeerFile empty;
    }
    EXPECT_EQ(files_to_close(), 0U);
}

TEST(FileCloser, WhatCannotWait_IsClosedAtOnceWithoutAThread) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    const size_t threads = testing::threads();
    const int memory = ::memfd_create("memory", MFD_CLOEXEC);
    const int event = create_event_fd().value().release();
    for (const int number : {pipe[0], pipe[1], memory, event}) {
        ASSERT_GE(number, 0);
        close_elsewhere(UniqueFd(number));
        EXPECT_FALSE(is_open(number));
    }
    EXPECT_EQ(files_to_close(), 0U);
    EXPECT_LE(testing::threads(), threads);
}

TEST(FileCloser, HangUpOfAnEmptyUnixSocket_ClosesAtOnceWithoutAThread) {
    auto [ours, theirs] = socket_pair();
    const int number = ours.get();
    const size_t threads = testing::threads();
    hang_up(std::move(ours));
    EXPECT_FALSE(is_open(number));
    EXPECT_EQ(files_to_close(), 0u);
    EXPECT_LE(testing::threads(), threads);
    char byte = 0;
    EXPECT_EQ(::recv(theirs.get(), &byte, 1, MSG_DONTWAIT), 0);
}

TEST(FileCloser, ThreadsEndWhenAllIsClosed) {
    const size_t before = testing::threads();
    std::vector<UniqueFd> fds;
    for (int i = 0; i < 50; ++i) fds.push_back(some_file());
    close_elsewhere(fds);
    EXPECT_TRUE(all_closed());
    EXPECT_TRUE(testing::threads_come_down_to(before));
}

TEST(FileCloser, LingeringSocket_KeepsItsChargeAndNobodyElse) {
    const auto held = budget();
    LingeringSocket made;
    const int number = made.socket.get();
    close_elsewhere(std::move(made.socket), held->charge(BudgetKind::kFiles, 1).value());
    // close() takes the number away first, then it waits.
    ASSERT_TRUE(comes_true([&] { return !is_open(number); }));
    EXPECT_EQ(held->used(BudgetKind::kFiles), 1U);
    EXPECT_EQ(files_to_close(), 1U);
    const auto other = budget();
    close_elsewhere(some_file(), other->charge(BudgetKind::kFiles, 1).value());
    EXPECT_TRUE(comes_true([&] { return other->used(BudgetKind::kFiles) == 0; }));
    EXPECT_EQ(held->used(BudgetKind::kFiles), 1U);
    made.peer.reset();
    EXPECT_TRUE(comes_true([&] { return held->used(BudgetKind::kFiles) == 0; }));
    EXPECT_TRUE(all_closed());
}

TEST(FileCloser, LingeringSocketInAQueue_IsClosedToo) {
    LingeringSocket made;
    auto [end, other] = socket_pair();
    const int fd = made.socket.get();
    ASSERT_EQ(send_raw(other.get(), std::array<std::byte, 1>{}, {&fd, 1}), 1);
    made.socket.reset();  // the queue's is the last
    const int number = end.get();
    {
        const PeerFile file(std::move(end));
    }
    ASSERT_TRUE(comes_true([&] { return !is_open(number); }));
    EXPECT_EQ(files_to_close(), 1U);
    made.peer.reset();
    EXPECT_TRUE(all_closed());
}

TEST(FileCloser, ManyThatWait_TakeFewThreadsAndDelayNoHangUp) {
    const size_t before = settled_threads();
    std::vector<UniqueFd> peers;
    std::vector<UniqueFd> sockets;
    for (size_t i = 0; i < kMaxThreads + 4; ++i) {
        LingeringSocket made;
        peers.push_back(std::move(made.peer));
        sockets.push_back(std::move(made.socket));
    }
    close_elsewhere(sockets);
    ASSERT_TRUE(comes_true([&] { return testing::threads() == before + kMaxThreads; }));
    auto [end, other] = socket_pair();
    ASSERT_EQ(::send(other.get(), "?", 1, 0), 1);  // unread, so it is not closed at once
    hang_up(std::move(end));
    pollfd heard{other.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&heard, 1, 0), 1);
    EXPECT_EQ(heard.revents, POLLIN | POLLHUP);
    EXPECT_EQ(files_to_close(), kMaxThreads + 5);
    EXPECT_EQ(testing::threads(), before + kMaxThreads);
    peers.clear();
    EXPECT_TRUE(all_closed());
    EXPECT_TRUE(testing::threads_come_down_to(before));
}

TEST(FileCloser, ChildOfFork_ClosesByItself) {
    std::vector<UniqueFd> peers;
    std::vector<UniqueFd> sockets;
    for (size_t i = 0; i < kMaxThreads; ++i) {
        LingeringSocket made;
        peers.push_back(std::move(made.peer));
        sockets.push_back(std::move(made.socket));
    }
    std::vector<int> numbers;
    for (const UniqueFd& socket : sockets) numbers.push_back(socket.get());
    close_elsewhere(sockets);
    // All threads of the parent wait, and the child holds none of these sockets.
    ASSERT_TRUE(comes_true([&] { return std::ranges::none_of(numbers, is_open); }));
    const pid_t child = ::fork();
    if (child == 0) {
        close_elsewhere(some_file());
        ::_exit(all_closed() ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(files_to_close(), kMaxThreads);
    peers.clear();
    EXPECT_TRUE(all_closed());
}

}  // namespace
}  // namespace swede
