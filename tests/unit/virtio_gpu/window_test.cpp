// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>

#include "base/checked.h"
#include "base/mapping.h"
#include "virtio_gpu/no_window.h"
#include "virtio_gpu/static_window.h"
#include "virtio_gpu/window_ranges.h"

namespace swede::virtio_gpu {
namespace {

constexpr uint64_t kWindow = 16 * kPageSize;

ErrorCode code(const Result<void>& result) {
    return result.error().code;
}

TEST(WindowRanges, TakesNeighboursAndGivesThemBack) {
    WindowRanges ranges(kWindow, 100);
    EXPECT_TRUE(ranges.take(0, kPageSize));
    EXPECT_TRUE(ranges.take(kPageSize, 2 * kPageSize));
    EXPECT_TRUE(ranges.take(15 * kPageSize, kPageSize));
    EXPECT_EQ(ranges.count(), 3u);
    ranges.give_back(kPageSize);
    EXPECT_TRUE(ranges.take(kPageSize, kPageSize));
    EXPECT_TRUE(ranges.take(2 * kPageSize, kPageSize));
}

TEST(WindowRanges, RefusesAnyOverlap) {
    WindowRanges ranges(kWindow, 100);
    ASSERT_TRUE(ranges.take(4 * kPageSize, 4 * kPageSize));
    for (const auto& [offset, size] :
         {std::pair{4u, 4u}, {4, 1}, {7, 1}, {5, 2}, {3, 2}, {0, 16}, {7, 9}, {3, 6}, {0, 5}})
        EXPECT_EQ(code(ranges.take(offset * kPageSize, size * kPageSize)),
                  ErrorCode::kInvalidParameter)
            << offset << " " << size;
    EXPECT_EQ(ranges.count(), 1u);
}

TEST(WindowRanges, RefusesWhatIsNotInsideOrNotPages) {
    WindowRanges ranges(kWindow, 100);
    for (const auto& [offset, size] : {std::pair<uint64_t, uint64_t>{0, 0},
                                       {0, kWindow + kPageSize},
                                       {kWindow, kPageSize},
                                       {kWindow - kPageSize, 2 * kPageSize},
                                       {~uint64_t{0} - kPageSize + 1, kPageSize},
                                       {~uint64_t{0} - kPageSize + 1, 2 * kPageSize},
                                       {kPageSize, ~uint64_t{0} - kPageSize + 1},
                                       {1, kPageSize},
                                       {kPageSize, 1},
                                       {kPageSize / 2, kPageSize}})
        EXPECT_EQ(code(ranges.take(offset, size)), ErrorCode::kInvalidParameter)
            << offset << " " << size;
    EXPECT_EQ(ranges.count(), 0u);
}

TEST(WindowRanges, RunsOutAtItsLimitOnly) {
    WindowRanges ranges(kWindow, 2);
    EXPECT_TRUE(ranges.take(0, kPageSize));
    EXPECT_TRUE(ranges.take(kPageSize, kPageSize));
    EXPECT_EQ(code(ranges.take(2 * kPageSize, kPageSize)), ErrorCode::kOutOfMemory);
    ranges.give_back(0);
    EXPECT_TRUE(ranges.take(2 * kPageSize, kPageSize));
}

TEST(WindowRanges, AgreesWithABitmap) {
    std::mt19937 random(3);
    WindowRanges ranges(kWindow, 100);
    std::vector<int> owner(16, -1);
    std::vector<std::pair<uint64_t, uint64_t>> taken;
    for (int step = 0; step < 20000; ++step) {
        if (random() % 2 == 0 || taken.empty()) {
            const uint64_t offset = random() % 18;
            const uint64_t size = random() % 5;
            bool free = size != 0 && offset + size <= 16;
            for (uint64_t page = offset; free && page < offset + size; ++page)
                free = owner[page] < 0;
            ASSERT_EQ(ranges.take(offset * kPageSize, size * kPageSize).has_value(), free);
            if (!free) continue;
            taken.emplace_back(offset, size);
            for (uint64_t page = offset; page < offset + size; ++page) owner[page] = 1;
        } else {
            const size_t which = random() % taken.size();
            const auto [offset, size] = taken[which];
            taken.erase(taken.begin() + static_cast<ptrdiff_t>(which));
            ranges.give_back(offset * kPageSize);
            for (uint64_t page = offset; page < offset + size; ++page) owner[page] = -1;
        }
    }
}

/// Runs what is posted at once; enough for windows, which answer inside the call.
class InlineSink final : public rutabaga::CompletionSink {
  public:
    void post(std::move_only_function<void()> task) override { task(); }
    void fence_done(uint64_t) override {}
    void context_lost(rutabaga::ContextId, Error) override {}
};

class Windows : public ::testing::Test {
  protected:
    rutabaga::Completion<> done() {
        return rutabaga::Completion<>(sink_, [this](Result<void> result) { last_ = result; });
    }
    uint64_t blocks(int fd) {
        struct stat status{};
        ::fstat(fd, &status);
        return static_cast<uint64_t>(status.st_blocks);
    }
    std::shared_ptr<InlineSink> sink_ = std::make_shared<InlineSink>();
    std::optional<Result<void>> last_;
};

TEST_F(Windows, Static_IsOneSealedSparseFile) {
    const auto window = StaticWindow::create(uint64_t{8} << 30).value();
    struct stat status{};
    ASSERT_EQ(::fstat(window->fd(), &status), 0);
    EXPECT_EQ(static_cast<uint64_t>(status.st_size), uint64_t{8} << 30);
    EXPECT_EQ(status.st_blocks, 0);
    EXPECT_NE(::ftruncate(window->fd(), 4096), 0);
    EXPECT_NE(::ftruncate(window->fd(), off_t{16} << 30), 0);
}

TEST_F(Windows, Static_RefusesASizeOfNoWholePages) {
    EXPECT_FALSE(StaticWindow::create(0));
    EXPECT_FALSE(StaticWindow::create(kPageSize + 1));
}

TEST_F(Windows, Static_GivesRangesThatReadAsZeroWhateverTheGuestWroteThere) {
    const auto window = StaticWindow::create(kWindow).value();
    const Mapping guest = Mapping::own_file(window->fd(), 0, kWindow, Access::kReadWrite).value();
    std::memset(guest.data(), 0x5a, kWindow);
    const auto range = window->prepare(kPageSize, 2 * kPageSize).value();
    ASSERT_TRUE(range);
    EXPECT_EQ(range->fd, window->fd());
    EXPECT_EQ(range->offset, kPageSize);
    EXPECT_EQ(range->size, 2 * kPageSize);
    for (uint64_t at = 0; at < kWindow; ++at)
        EXPECT_EQ(guest.data()[at],
                  at >= kPageSize && at < 3 * kPageSize ? std::byte{0} : std::byte{0x5a});
}

TEST_F(Windows, Static_UnmapAndResetLeaveNothing) {
    const auto window = StaticWindow::create(kWindow).value();
    const Mapping guest = Mapping::own_file(window->fd(), 0, kWindow, Access::kReadWrite).value();
    std::memset(guest.data(), 0x5a, kWindow);
    window->unmap(0, kPageSize, done());
    ASSERT_TRUE(last_ && *last_);
    EXPECT_EQ(guest.data()[0], std::byte{0});
    EXPECT_EQ(guest.data()[kPageSize], std::byte{0x5a});
    window->reset();
    EXPECT_EQ(guest.data()[kPageSize], std::byte{0});
    EXPECT_EQ(blocks(window->fd()), 8u);  // the page that was just read back
}

TEST_F(Windows, Static_CannotShowAnotherFile) {
    const auto window = StaticWindow::create(kWindow).value();
    window->map(0, {create_memfd("other", kPageSize).value(), 0, kPageSize}, done());
    ASSERT_TRUE(last_);
    EXPECT_FALSE(*last_);
}

TEST_F(Windows, None_RefusesEverything) {
    NoWindow window;
    EXPECT_EQ(window.size(), 0u);
    EXPECT_FALSE(window.prepare(0, kPageSize));
    window.map(0, {}, done());
    EXPECT_FALSE(*last_);
}

}  // namespace
}  // namespace swede::virtio_gpu
