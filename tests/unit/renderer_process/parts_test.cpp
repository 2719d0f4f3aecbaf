// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/kd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "base/checked.h"
#include "base/mapping.h"
#include "renderer_process/backing_ids.h"
#include "renderer_process/exported_memory.h"
#include "renderer_process/guest_regions.h"
#include "renderer_process/pending_fences.h"
#include "renderer_process/sandbox.h"
#include "renderer_process/start_limit.h"

namespace swede::renderer_process {
namespace {

using namespace std::chrono_literals;
using TimePoint = PendingFences::TimePoint;

TimePoint at(int seconds) {
    return TimePoint(std::chrono::seconds(seconds));
}

// --- the sandbox ---

TEST(Sandbox, LetsDriversTalkToKfdAndNobodyToTheConsole) {
    const int file = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    const pid_t child = ::fork();
    if (child == 0) {
        if (!enter_sandbox(Sandbox::kGraphics)) ::_exit(1);
        const auto error_of = [file](unsigned long request) {
            return ::ioctl(file, request, nullptr) == 0 ? 0 : errno;
        };
        if (error_of(KDGKBMODE) != EPERM || error_of(KDSKBENT) != EPERM ||
            error_of(KDSETMODE) != EPERM || error_of(TIOCSTI) != EPERM)
            ::_exit(2);
        // As linux/kfd_ioctl.h makes them.
        if (error_of(_IOR('K', 0x01, uint64_t)) != ENOTTY ||
            error_of(_IOW('K', 0x09, uint64_t)) != ENOTTY ||
            error_of(_IOWR('K', 0x20, uint64_t)) != ENOTTY)
            ::_exit(3);
        ::_exit(0);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    ::close(file);
}

// --- StartLimit ---

constexpr StartLimit::Duration kNow{};

TEST(StartLimit, ABurstStartsAtOnceAndNoMore) {
    StartLimit limit(3, 2s);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(limit.take(at(100)), kNow);
    EXPECT_EQ(limit.take(at(100)), 2s);
    EXPECT_EQ(limit.take(at(101)), 1s);
    EXPECT_EQ(limit.take(at(101) + 1ns), 1s - 1ns);
}

TEST(StartLimit, OneMoreStartsForEachInterval) {
    StartLimit limit(3, 2s);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(limit.take(at(100)), kNow);
    EXPECT_EQ(limit.take(at(102)), kNow);
    EXPECT_EQ(limit.take(at(102)), 2s);
    EXPECT_EQ(limit.take(at(105)), kNow);
    EXPECT_EQ(limit.take(at(105)), 1s);
}

TEST(StartLimit, WhatIsRefusedDoesNotCount) {
    StartLimit limit(1, 10s);
    EXPECT_EQ(limit.take(at(100)), kNow);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(limit.take(at(109)), 1s);
    EXPECT_EQ(limit.take(at(110)), kNow);
}

TEST(StartLimit, NoMoreThanABurstIsSaved) {
    StartLimit limit(3, 2s);
    EXPECT_EQ(limit.take(at(1)), kNow);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(limit.take(at(1'000'000)), kNow);
    EXPECT_EQ(limit.take(at(1'000'000)), 2s);
}

TEST(StartLimit, NeverMoreThanTheRateInTheLongRun) {
    StartLimit limit(8, 2s);
    int starts = 0;
    for (int tick = 0; tick < 10'000; ++tick)
        if (limit.take(at(5) + tick * 100ms) == kNow) ++starts;
    EXPECT_EQ(starts, 8 + 499);  // 999.9 seconds
}

TEST(StartLimit, NothingIsPossibleWithoutABurst) {
    StartLimit limit(0, 2s);
    EXPECT_EQ(limit.take(at(100)), 2s);
    EXPECT_EQ(limit.take(at(200)), 2s);
}

// --- PendingFences ---

TEST(PendingFences, AreTakenOnce) {
    PendingFences fences;
    fences.add(1, 5, at(1));
    fences.add(2, 5, at(2));
    EXPECT_TRUE(fences.take(2));
    EXPECT_FALSE(fences.take(2));
    EXPECT_TRUE(fences.take(1));
    EXPECT_TRUE(fences.empty());
}

TEST(PendingFences, UnknownOnesAreNotThere) {
    PendingFences fences;
    EXPECT_FALSE(fences.take(1));
    fences.add(10, 5, at(1));
    EXPECT_FALSE(fences.take(9));
    EXPECT_FALSE(fences.take(11));
    EXPECT_FALSE(fences.take(UINT64_MAX));
    EXPECT_EQ(fences.size(), 1u);
}

TEST(PendingFences, OldestIsOfThoseThatAreOut) {
    PendingFences fences;
    for (int i = 1; i <= 4; ++i) fences.add(static_cast<uint64_t>(i), 5, at(i));
    EXPECT_TRUE(fences.take(1));
    EXPECT_TRUE(fences.take(3));
    EXPECT_EQ(fences.oldest(), at(2));
    EXPECT_TRUE(fences.take(2));
    EXPECT_EQ(fences.oldest(), at(4));
}

TEST(PendingFences, OfAContextAreForgotten) {
    PendingFences fences;
    fences.add(1, 5, at(1));
    fences.add(2, 6, at(2));
    fences.add(3, 5, at(3));
    fences.forget_context(5);
    EXPECT_FALSE(fences.take(1));
    EXPECT_FALSE(fences.take(3));
    EXPECT_EQ(fences.oldest(), at(2));
    EXPECT_TRUE(fences.take(2));
}

TEST(PendingFences, AllAreTakenInOrder) {
    PendingFences fences;
    for (uint64_t i = 1; i <= 5; ++i) fences.add(i, 5, at(1));
    EXPECT_TRUE(fences.take(3));
    std::vector<uint64_t> taken;
    fences.take_all([&](uint64_t ticket) { taken.push_back(ticket); });
    EXPECT_EQ(taken, (std::vector<uint64_t>{1, 2, 4, 5}));
    EXPECT_TRUE(fences.empty());
    EXPECT_FALSE(fences.take(1));
}

TEST(PendingFences, OneThatStaysDoesNotHideThoseBehindIt) {
    PendingFences fences;
    fences.add(1, 5, at(1));
    for (uint64_t i = 2; i < 100'000; ++i) {
        fences.add(i, 6, at(2));
        ASSERT_TRUE(fences.take(i));
    }
    EXPECT_EQ(fences.size(), 1u);
    EXPECT_TRUE(fences.take(1));
}

std::shared_ptr<Backing> some_backing() {
    return std::make_shared<Backing>(std::vector<Backing::Segment>(),
                                     std::vector<std::shared_ptr<const MemoryRegion>>());
}

TEST(BackingIds, TheSameBackingHasOneId) {
    BackingIds ids;
    const auto a = some_backing();
    const auto first = ids.use(a);
    const auto second = ids.use(a);
    EXPECT_TRUE(first.first);
    EXPECT_FALSE(second.first);
    EXPECT_EQ(first.id, second.id);
    EXPECT_NE(ids.use(some_backing()).id, first.id);
}

TEST(BackingIds, LastUseGivesTheIdUpForGood) {
    BackingIds ids;
    const auto a = some_backing();
    const uint64_t id = ids.use(a).id;
    static_cast<void>(ids.use(a));
    EXPECT_FALSE(ids.unuse(id));
    EXPECT_TRUE(ids.unuse(id));
    EXPECT_FALSE(ids.unuse(id));
    const auto again = ids.use(a);
    EXPECT_TRUE(again.first);
    EXPECT_NE(again.id, id);
}

TEST(BackingIds, UnknownIdsAreNoUse) {
    BackingIds ids;
    EXPECT_FALSE(ids.unuse(0));
    EXPECT_FALSE(ids.unuse(77));
}

UniqueFd plain_memfd(uint64_t size, int seals = 0) {
    UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
}

TEST(ExportedMemory, SealedFileIsTakenAndCutToTheBlob) {
    const auto memory = accept_exported(plain_memfd(8 * kPageSize, F_SEAL_SHRINK), kPageSize,
                                        4 * kPageSize, 2 * kPageSize - 5);
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_EQ(memory->offset, kPageSize);
    EXPECT_EQ(memory->size, 2 * kPageSize);
}

TEST(ExportedMemory, FileThatCanShrinkIsRefused) {
    EXPECT_FALSE(accept_exported(plain_memfd(kPageSize), 0, kPageSize, kPageSize));
    EXPECT_FALSE(accept_exported(plain_memfd(kPageSize, F_SEAL_GROW), 0, kPageSize, kPageSize));
}

TEST(ExportedMemory, OfA3dResourceIsAsLongAsItsRendererSays) {
    const auto memory =
        accept_exported(plain_memfd(8 * kPageSize, F_SEAL_SHRINK), kPageSize, 4 * kPageSize, 0);
    ASSERT_TRUE(memory) << memory.error().message;
    EXPECT_EQ(memory->size, 4 * kPageSize);
    EXPECT_FALSE(accept_exported(plain_memfd(kPageSize, F_SEAL_SHRINK), 0, 2 * kPageSize, 0));
    EXPECT_FALSE(accept_exported(plain_memfd(kPageSize, F_SEAL_SHRINK), 0, kPageSize - 1, 0));
    EXPECT_FALSE(accept_exported(plain_memfd(kPageSize, F_SEAL_SHRINK), 0, 0, 0));
}

TEST(ExportedMemory, WhatIsNoMemoryIsRefused) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    EXPECT_FALSE(accept_exported(std::move(read_end), 0, kPageSize, kPageSize));
    EXPECT_FALSE(accept_exported(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC)), 0, kPageSize,
                                 kPageSize));
    EXPECT_FALSE(accept_exported(UniqueFd(), 0, kPageSize, kPageSize));
}

TEST(ExportedMemory, RangeOutsideTheFileIsRefused) {
    const auto refused = [](uint64_t offset, uint64_t size, uint64_t blob) {
        return !accept_exported(plain_memfd(2 * kPageSize, F_SEAL_SHRINK), offset, size, blob);
    };
    EXPECT_TRUE(refused(0, 3 * kPageSize, 3 * kPageSize));
    EXPECT_TRUE(refused(kPageSize, 2 * kPageSize, 2 * kPageSize));
    EXPECT_TRUE(refused(UINT64_MAX - kPageSize + 1, kPageSize, kPageSize));
    EXPECT_TRUE(refused(1, kPageSize, kPageSize));
    EXPECT_TRUE(refused(0, kPageSize, kPageSize + 1)) << "less than the blob";
    EXPECT_TRUE(refused(0, 0, 0));
    EXPECT_TRUE(refused(0, UINT64_MAX, UINT64_MAX));
}

class GuestRegionsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(regions_.add({1, 0, 4 * kPageSize, 0, 1, 0}, plain_memfd(4 * kPageSize)));
    }
    GuestRegions regions_;
};

TEST_F(GuestRegionsTest, RegionIsThereOnce) {
    EXPECT_FALSE(regions_.add({1, 0, kPageSize, 0, 1, 0}, plain_memfd(kPageSize)));
}

TEST_F(GuestRegionsTest, RegionPastTheEndOfItsFileIsRefused) {
    EXPECT_FALSE(regions_.add({2, 0, 2 * kPageSize, 0, 1, 0}, plain_memfd(kPageSize)));
    EXPECT_FALSE(regions_.add({2, 0, kPageSize, 1, 1, 0}, plain_memfd(kPageSize)));
    EXPECT_FALSE(regions_.add({2, 0, UINT64_MAX, 5, 1, 0}, plain_memfd(kPageSize)));
    EXPECT_FALSE(regions_.add({2, 0, 0, 0, 1, 0}, plain_memfd(kPageSize)));
}

TEST_F(GuestRegionsTest, RegionMayStartAtAnyByteOfItsFile) {
    ASSERT_TRUE(regions_.add({2, 0, 100, kPageSize + 50, 1, 0}, plain_memfd(2 * kPageSize)));
    ASSERT_TRUE(regions_.add_backing(1, std::array{Segment{2, 99, 1}}));
    EXPECT_FALSE(regions_.add_backing(2, std::array{Segment{2, 99, 2}}));
}

TEST_F(GuestRegionsTest, BackingOutsideItsRegionIsRefused) {
    EXPECT_FALSE(regions_.add_backing(1, std::array{Segment{7, 0, 1}}));
    EXPECT_FALSE(regions_.add_backing(1, std::array{Segment{1, 4 * kPageSize, 1}}));
    EXPECT_FALSE(regions_.add_backing(1, std::array{Segment{1, 1, UINT64_MAX}}));
    EXPECT_FALSE(regions_.add_backing(1, std::array{Segment{1, UINT64_MAX, 1}}));
    EXPECT_FALSE(regions_.add_backing(1, std::array{Segment{1, 0, 0}}));
    EXPECT_FALSE(regions_.add_backing(0, std::array{Segment{1, 0, 1}}));
    EXPECT_FALSE(regions_.backing(1));
    EXPECT_TRUE(regions_.add_backing(1, std::array{Segment{1, 0, 1}}));
    EXPECT_FALSE(regions_.add_backing(1, std::array{Segment{1, 0, 1}})) << "is there";
}

TEST_F(GuestRegionsTest, BackingIsRevokedWithItsRegion) {
    ASSERT_TRUE(regions_.add_backing(1, std::array{Segment{1, 0, kPageSize}}));
    const auto held = regions_.backing(1).value();
    EXPECT_TRUE(held->lease());
    regions_.remove(1);
    EXPECT_FALSE(held->lease());
    regions_.remove(1);
}

TEST_F(GuestRegionsTest, BackingIsRevokedWhenDropped) {
    ASSERT_TRUE(regions_.add_backing(1, std::array{Segment{1, 0, kPageSize}}));
    const auto held = regions_.backing(1).value();
    regions_.drop_backing(1);
    EXPECT_FALSE(held->lease());
    EXPECT_FALSE(regions_.backing(1));
    regions_.drop_backing(1);
}

TEST_F(GuestRegionsTest, BackingNoneIsNull) {
    EXPECT_EQ(regions_.backing(0).value(), nullptr);
}

TEST_F(GuestRegionsTest, ReadOnlyRegionStaysSo) {
    // Mapped for writing it would need a writable file.
    UniqueFd writable = plain_memfd(kPageSize);
    UniqueFd read_only(
        ::open(fmt::format("/proc/self/fd/{}", writable.get()).c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(regions_.add({2, 0, kPageSize, 0, 1, 0}, read_only.duplicate()));
    EXPECT_TRUE(regions_.add({2, 0, kPageSize, 0, 0, 0}, std::move(read_only)));
}

}  // namespace
}  // namespace swede::renderer_process
