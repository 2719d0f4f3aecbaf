// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/fence_book.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <vector>

#include "transports/local_socket/local_socket.h"
#include "unit/base/closed_files.h"
#include "unit/base/process_state.h"

namespace swede::local_socket {
namespace {

class FenceBookTest : public ::testing::Test {
  protected:
    /// Files, and the other ends of them, which end when the book closes its own.
    UniqueFd signal() {
        int ends[2];
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        watched_.emplace_back(ends[0]);
        return UniqueFd(ends[1]);
    }
    [[nodiscard]] bool is_closed(size_t index) const {
        pollfd look{watched_[index].get(), POLLIN, 0};
        return ::poll(&look, 1, 0) == 1;
    }
    uint64_t fence(std::optional<uint8_t> ring, std::vector<uint32_t> resources = {},
                   UniqueFd file = UniqueFd()) {
        auto reserved = book_->reserve(resources.size(), static_cast<bool>(file)).value();
        return book_->accept(std::move(reserved), {1, ring}, resources,
                             {.file = PeerFile(std::move(file))});
    }
    void make(const Budget::Limits& limits) {
        budget_ = Budget::create(limits);
        book_ = std::make_unique<FenceBook>(budget_,
                                            [this](uint64_t request) { done_.push_back(request); });
    }
    void SetUp() override { make(Budget::default_limits()); }

    std::shared_ptr<Budget> budget_;
    std::vector<uint64_t> done_;  ///< requests of waits that were answered, in order
    std::unique_ptr<FenceBook> book_;
    std::vector<UniqueFd> watched_;
};

TEST_F(FenceBookTest, ReachedFence_ClosesItsFile) {
    const uint64_t first = fence(1, {}, signal());
    const uint64_t second = fence(1, {}, signal());
    const uint64_t other = fence(2, {}, signal());
    book_->complete(second);
    EXPECT_FALSE(is_closed(1)) << "the one before it is not reached";
    book_->complete(other);
    EXPECT_TRUE(is_closed(2));
    book_->complete(first);
    EXPECT_TRUE(is_closed(0) && is_closed(1));
    EXPECT_EQ(book_->pending(), 0u);
}

TEST_F(FenceBookTest, ReachedFence_TellsItsEventInOrder) {
    const auto loop = EventLoop::create().value();
    const UniqueFd connection = signal();
    const auto events = EventFile::create(*loop, signal(), connection.get(), budget_).value();
    const auto told = [&] {
        char bytes[64];
        const ssize_t size = ::recv(watched_[1].get(), bytes, sizeof(bytes), MSG_DONTWAIT);
        return size < 0 ? 0 : size / 8;
    };
    const auto accept = [&](uint8_t ring, UniqueFd file, EventFile* to) {
        auto reserved = book_->reserve(0, static_cast<bool>(file)).value();
        return book_->accept(std::move(reserved), {1, ring}, {}, {PeerFile(std::move(file)), to});
    };
    const uint64_t first = accept(1, UniqueFd(), events.get());
    const uint64_t second = accept(1, signal(), events.get());
    const uint64_t quiet = accept(2, UniqueFd(), nullptr);
    book_->complete(second);
    book_->complete(quiet);
    EXPECT_EQ(told(), 0);
    book_->complete(first);
    EXPECT_EQ(told(), 2);
    EXPECT_TRUE(is_closed(2));
    EXPECT_EQ(budget_->used(BudgetKind::kPendingFences), 0u);
}

TEST_F(FenceBookTest, DeathOfTheBook_ClosesEveryFile) {
    static_cast<void>(fence(1, {}, signal()));
    book_.reset();
    EXPECT_TRUE(is_closed(0));
}

TEST_F(FenceBookTest, Wait_IsForAllTimelinesOfTheResource) {
    EXPECT_FALSE(book_->busy(7));
    const uint64_t a = fence(1, {7});
    const uint64_t b = fence(2, {7, 8});
    const uint64_t global = fence(std::nullopt, {7});
    EXPECT_TRUE(book_->busy(7) && book_->busy(8));
    ASSERT_TRUE(book_->wait(7, 100));
    ASSERT_TRUE(book_->wait(8, 101));
    book_->complete(b);
    EXPECT_EQ(done_, (std::vector<uint64_t>{101}));
    book_->complete(global);
    EXPECT_TRUE(book_->busy(7));
    book_->complete(a);
    EXPECT_EQ(done_, (std::vector<uint64_t>{101, 100}));
    EXPECT_FALSE(book_->busy(7) || book_->busy(8));
    EXPECT_EQ(book_->waits(), 0u);
}

TEST_F(FenceBookTest, Wait_IsNotForWhatComesAfterIt) {
    const uint64_t first = fence(1, {7});
    ASSERT_TRUE(book_->wait(7, 100));
    const uint64_t second = fence(1, {7});
    book_->complete(first);
    EXPECT_EQ(done_, (std::vector<uint64_t>{100}));
    EXPECT_TRUE(book_->busy(7));
    ASSERT_TRUE(book_->wait(7, 101));
    book_->complete(second);
    EXPECT_EQ(done_, (std::vector<uint64_t>{100, 101}));
}

TEST_F(FenceBookTest, ResourceNamedTwice_CountsOnce) {
    const uint64_t only = fence(1, {7, 7, 7});
    ASSERT_TRUE(book_->wait(7, 100));
    book_->complete(only);
    EXPECT_EQ(done_, (std::vector<uint64_t>{100}));
    EXPECT_FALSE(book_->busy(7));
}

TEST_F(FenceBookTest, UnknownTicket_IsIgnored) {
    const uint64_t only = fence(1, {7}, signal());
    book_->complete(only + 1);
    book_->complete(0);
    EXPECT_FALSE(is_closed(0));
    book_->complete(only);
    book_->complete(only);
    EXPECT_TRUE(is_closed(0));
}

TEST_F(FenceBookTest, CompleteAll_AnswersEveryWaitOnce) {
    for (uint8_t ring = 0; ring < 10; ++ring) static_cast<void>(fence(ring, {7}, signal()));
    for (uint64_t request = 0; request < 5; ++request) ASSERT_TRUE(book_->wait(7, request));
    book_->complete_all();
    EXPECT_EQ(done_.size(), 5u);
    for (size_t i = 0; i < 10; ++i) EXPECT_TRUE(is_closed(i));
}

TEST_F(FenceBookTest, Limits_HoldAndChargesComeBack) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kPendingFences)] = 2;
    limits[static_cast<size_t>(BudgetKind::kPendingCommands)] = 1;
    limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 1024;
    make(limits);
    EXPECT_FALSE(book_->reserve(4096, false)) << "a list of resources is memory";
    const uint64_t first = fence(1, {7});
    static_cast<void>(fence(1, {7}));
    EXPECT_FALSE(book_->reserve(0, false));
    ASSERT_TRUE(book_->wait(7, 100));
    EXPECT_FALSE(book_->wait(7, 101));
    book_->complete(first);
    EXPECT_TRUE(book_->reserve(0, false));
    book_->complete_all();
    for (size_t kind = 0; kind < Budget::kKinds; ++kind)
        EXPECT_EQ(budget_->used(static_cast<BudgetKind>(kind)), 0u);
    EXPECT_EQ(done_, (std::vector<uint64_t>{100}));
}

TEST_F(FenceBookTest, FileIsCountedUntilItIsClosed) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 2;
    make(limits);
    const uint64_t first = fence(1, {}, signal());
    static_cast<void>(fence(1, {}, signal()));
    EXPECT_FALSE(book_->reserve(0, true));
    EXPECT_TRUE(book_->reserve(0, false));
    book_->complete(first);
    ASSERT_TRUE(swede::testing::all_files_are_closed());
    EXPECT_TRUE(book_->reserve(0, true));
    book_.reset();
    ASSERT_TRUE(swede::testing::all_files_are_closed());
    EXPECT_EQ(budget_->used(BudgetKind::kFiles), 0u);
}

TEST(FilesForEach, AllTogetherLeaveAQuarter) {
    EXPECT_EQ(files_for_each(524288, 64), 6144u);
    EXPECT_EQ(files_for_each(65536, 64), 768u);
    EXPECT_EQ(files_for_each(1024, 1), 768u);
    EXPECT_EQ(files_for_each(1024, 4096), 16u) << "what a program needs at least";
    EXPECT_GT(files_for_each(UINT64_MAX, 0), 4096u);
}

}  // namespace
}  // namespace swede::local_socket
