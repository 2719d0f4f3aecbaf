// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/event_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "unit/base/closed_files.h"
#include "unit/base/peer_socket.h"
#include "unit/base/process_state.h"
#include "wire/local_socket.h"

namespace swede::local_socket {
namespace {

using swede::testing::socket_pair;
using wire::local::Event;

class EventFileTest : public ::testing::Test {
  protected:
    void SetUp() override {
        auto [ours, programs] = socket_pair();
        program_ = std::move(programs);
        auto made = EventFile::create(*loop_, std::move(ours), connection_.first.get(), budget_);
        ASSERT_TRUE(made) << made.error().message;
        file_ = *std::move(made);
    }
    void tell() { file_->tell(budget_->charge(BudgetKind::kPendingFences, 1).value()); }
    /// Events that the program reads now; -1 at the end.
    int read_events() {
        int count = 0;
        for (;;) {
            Event event{};
            const ssize_t size = ::read(program_.get(), &event, sizeof(event));
            if (size < 0) return count;
            if (size == 0) return -1;
            EXPECT_EQ(size, 8);
            EXPECT_EQ(event.type, 0x90000000u);
            EXPECT_EQ(event.length, 8u);
            ++count;
        }
    }
    uint64_t used(BudgetKind kind) const { return budget_->used(kind); }
    /// Our end is closed, which is done elsewhere, and its charge given back.
    [[nodiscard]] bool comes_to_an_end() const {
        return swede::testing::all_files_are_closed() && used(BudgetKind::kFiles) == 0;
    }
    ErrorCode refused(UniqueFd fd) {
        const auto made =
            EventFile::create(*loop_, std::move(fd), connection_.first.get(), budget_);
        return made ? ErrorCode::kExists : made.error().code;
    }

    std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
    std::shared_ptr<Budget> budget_ = Budget::create();
    std::pair<UniqueFd, UniqueFd> connection_ = socket_pair();
    UniqueFd program_;
    std::unique_ptr<EventFile> file_;
};

TEST_F(EventFileTest, AnEventIsWhatLinuxGives) {
    tell();
    tell();
    EXPECT_EQ(read_events(), 2);
    EXPECT_EQ(used(BudgetKind::kPendingFences), 0u);
    EXPECT_EQ(used(BudgetKind::kFiles), 1u);
    file_.reset();
    EXPECT_EQ(read_events(), -1);
    EXPECT_TRUE(comes_to_an_end());
}

TEST_F(EventFileTest, EventsWithoutRoomAreCountedAndComeLater) {
    int told = 0;
    for (; file_->untold() < 3; ++told) tell();
    EXPECT_EQ(used(BudgetKind::kPendingFences), 3u);
    int read = 0;
    for (int turn = 0; turn < 10 && file_->untold() != 0; ++turn) {
        read += read_events();
        loop_->run_once(std::chrono::milliseconds(0));
    }
    EXPECT_EQ(read + read_events(), told) << "each once, and whole";
    EXPECT_EQ(used(BudgetKind::kPendingFences), 0u);
    tell();
    EXPECT_EQ(read_events(), 1);
}

TEST_F(EventFileTest, AReaderThatHasGoneCostsNothing) {
    while (file_->untold() < 3) tell();
    program_.reset();
    loop_->run_once(std::chrono::milliseconds(0));
    EXPECT_EQ(file_->untold(), 0u);
    EXPECT_EQ(used(BudgetKind::kPendingFences), 0u);
    EXPECT_TRUE(comes_to_an_end());
    tell();
    EXPECT_EQ(used(BudgetKind::kPendingFences), 0u);
}

TEST_F(EventFileTest, AReaderThatEndsOurWritingCostsNothing) {
    ::shutdown(program_.get(), SHUT_RD);
    tell();
    EXPECT_TRUE(comes_to_an_end());
}

TEST_F(EventFileTest, OtherFilesAreRefused) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQ(refused(UniqueFd(ends[0])), ErrorCode::kProtocol);
    EXPECT_EQ(refused(UniqueFd(ends[1])), ErrorCode::kProtocol);
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    EXPECT_EQ(refused(UniqueFd(ends[0])), ErrorCode::kProtocol);
    EXPECT_EQ(refused(UniqueFd(ends[1])), ErrorCode::kProtocol);
    EXPECT_EQ(refused(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))),
              ErrorCode::kProtocol)
        << "it is connected to nobody";
    EXPECT_EQ(refused(UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))),
              ErrorCode::kProtocol);
}

TEST_F(EventFileTest, TheFileIsCounted) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 1;
    budget_ = Budget::create(limits);
    auto first = EventFile::create(*loop_, socket_pair().first, connection_.first.get(), budget_);
    ASSERT_TRUE(first);
    EXPECT_EQ(refused(socket_pair().first), ErrorCode::kOutOfMemory);
}

}  // namespace
}  // namespace swede::local_socket
