// SPDX-License-Identifier: Apache-2.0
#include "base/mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/checked.h"
#include "base/event_fd.h"
#include "base/sigbus_guard.h"

namespace swede {
namespace {

/// A file that its maker can still truncate, as a VMM's guest RAM.
UniqueFd peer_memfd(uint64_t size) {
    UniqueFd fd(::memfd_create("peer", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    return fd;
}

bool all_zero(std::span<const std::byte> bytes) {
    return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

TEST(Mapping, Anonymous_IsZeroAndWritable) {
    const Mapping mapping = Mapping::anonymous(10000).value();
    EXPECT_EQ(mapping.size(), 10000u);
    EXPECT_TRUE(all_zero(mapping.bytes()));
    std::ranges::fill(mapping.bytes(), std::byte{1});
}

TEST(Mapping, Anonymous_RefusesImpossibleSizes) {
    EXPECT_FALSE(Mapping::anonymous(0));
    EXPECT_FALSE(Mapping::anonymous(UINT64_MAX));
    EXPECT_FALSE(Mapping::anonymous(uint64_t{1} << 60));
}

TEST(Mapping, OwnFile_IsShared) {
    const UniqueFd fd = create_memfd("own", 8192).value();
    const Mapping first = Mapping::own_file(fd.get(), 0, 8192, Access::kReadWrite).value();
    const Mapping second = Mapping::own_file(fd.get(), 4096, 4096, Access::kRead).value();
    first.data()[4096] = std::byte{42};
    EXPECT_EQ(second.data()[0], std::byte{42});
}

TEST(Mapping, PrivateFile_ShowsTheFileAndKeepsWritesToItself) {
    const UniqueFd fd(::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(fd.get(), 8192), 0);
    ASSERT_EQ(::pwrite(fd.get(), "abc", 3, 4096), 3);
    ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
    const Mapping mapping = Mapping::private_file(fd.get(), 4096, 4096).value();
    EXPECT_EQ(mapping.data()[1], std::byte{'b'});
    mapping.data()[1] = std::byte{'x'};
    char byte = 0;
    ASSERT_EQ(::pread(fd.get(), &byte, 1, 4097), 1);
    EXPECT_EQ(byte, 'b');
    EXPECT_FALSE(Mapping::private_file(fd.get(), 1, 4096));
}

TEST(Mapping, Move_LeavesTheSourceEmpty) {
    Mapping first = Mapping::anonymous(4096).value();
    std::byte* const data = first.data();
    Mapping second(std::move(first));
    EXPECT_FALSE(first);
    EXPECT_EQ(first.size(), 0u);
    EXPECT_EQ(second.data(), data);
    Mapping third = Mapping::anonymous(8192).value();
    third = std::move(second);
    EXPECT_FALSE(second);
    EXPECT_EQ(third.data(), data);
    EXPECT_EQ(third.size(), 4096u);
    third.data()[4095] = std::byte{1};
}

TEST(Mapping, PeerFile_RefusesWhatIsNotInTheFile) {
    const UniqueFd fd = peer_memfd(8192);
    EXPECT_TRUE(Mapping::peer_file(fd.get(), 0, 8192, Access::kRead));
    EXPECT_TRUE(Mapping::peer_file(fd.get(), 4096, 100, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(fd.get(), 0, 8193, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(fd.get(), 8192, 1, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(fd.get(), 4096, UINT64_MAX, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(fd.get(), UINT64_MAX - 4095, 4096, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(fd.get(), 0, 0, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(fd.get(), 1, 4096, Access::kRead));
}

TEST(Mapping, PeerFile_RefusesWhatIsNoFile) {
    EXPECT_FALSE(Mapping::peer_file(-1, 0, 4096, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(create_event_fd().value().get(), 0, 4096, Access::kRead));
    const UniqueFd folder(::open("/", O_RDONLY | O_CLOEXEC));
    EXPECT_FALSE(Mapping::peer_file(folder.get(), 0, 4096, Access::kRead));
}

TEST(Mapping, PeerFile_ReadOnlyFdCannotBeMappedForWriting) {
    const UniqueFd fd = peer_memfd(4096);
    const UniqueFd read_only(
        ::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(read_only);
    EXPECT_TRUE(Mapping::peer_file(read_only.get(), 0, 4096, Access::kRead));
    EXPECT_FALSE(Mapping::peer_file(read_only.get(), 0, 4096, Access::kReadWrite));
}

TEST(Mapping, PageSize_IsAPageForOrdinaryFiles) {
    EXPECT_EQ(Mapping::page_size_of(peer_memfd(4096).get()), 4096u);
    EXPECT_EQ(Mapping::page_size_of(-1), 4096u);
}

// RAM from hugetlbfs (memory-backend-memfd with hugetlb=on): offsets and lengths count in huge
// pages.
TEST(Mapping, PageSize_IsAHugePageForHugetlbfs) {
    UniqueFd fd(::memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | (21u << MAP_HUGE_SHIFT)));
    constexpr uint64_t kHuge = 2 << 20;
    if (!fd || ::ftruncate(fd.get(), 2 * kHuge) != 0)
        GTEST_SKIP() << "this kernel has no huge pages of 2 MiB";
    EXPECT_EQ(Mapping::page_size_of(fd.get()), kHuge);
    EXPECT_FALSE(Mapping::peer_file(fd.get(), 4096, kHuge, Access::kReadWrite));
    const uint64_t hits = sigbus_guard::hits();
    {
        const auto mapping = Mapping::peer_file(fd.get(), kHuge, kHuge - 4096, Access::kReadWrite);
        ASSERT_TRUE(mapping) << mapping.error().message;
        // Without a huge page in the pool the access faults, and is answered like a truncation.
        EXPECT_EQ(mapping->data()[kHuge - 8192], std::byte{0});
        mapping->data()[0] = std::byte{1};
        EXPECT_EQ(mapping->data()[0], std::byte{1});
    }
    EXPECT_LE(sigbus_guard::hits() - hits, 1u);
}

TEST(Memfd, IsSealedAgainstAllChangesOfSize) {
    const UniqueFd fd = create_memfd("sealed", 8192).value();
    struct stat status{};
    ASSERT_EQ(::fstat(fd.get(), &status), 0);
    EXPECT_EQ(status.st_size, 8192);
    EXPECT_EQ(::ftruncate(fd.get(), 4096), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::ftruncate(fd.get(), 16384), -1);
    EXPECT_EQ(::fcntl(fd.get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
    EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

TEST(Memfd, ImpossibleSize_IsAnError) {
    EXPECT_FALSE(create_memfd("big", UINT64_MAX));
}

TEST(SigbusGuard, TruncatedFile_ReadsAsZeroAndIsReported) {
    const UniqueFd fd = peer_memfd(16 * kPageSize);
    const Mapping mapping =
        Mapping::peer_file(fd.get(), 0, 16 * kPageSize, Access::kReadWrite).value();
    std::ranges::fill(mapping.bytes(), std::byte{0xaa});
    ASSERT_EQ(::ftruncate(fd.get(), 4 * kPageSize), 0);
    EXPECT_FALSE(sigbus_guard::was_hit(mapping.data()));
    const uint64_t hits = sigbus_guard::hits();

    EXPECT_TRUE(all_zero(mapping.bytes().subspan(7 * kPageSize)));
    EXPECT_TRUE(sigbus_guard::was_hit(mapping.data()));
    EXPECT_EQ(sigbus_guard::hits(), hits + 1) << "one fault answers for the whole tail";
    EXPECT_EQ(mapping.data()[0], std::byte{0xaa}) << "what is in the file stays";

    mapping.data()[4 * kPageSize] = std::byte{1};  // a write, before the first fault
    EXPECT_EQ(sigbus_guard::hits(), hits + 2);
    EXPECT_EQ(mapping.data()[4 * kPageSize], std::byte{1});
}

TEST(SigbusGuard, ReadOnlyMapping_IsAnsweredToo) {
    const UniqueFd fd = peer_memfd(kPageSize);
    const Mapping mapping = Mapping::peer_file(fd.get(), 0, kPageSize, Access::kRead).value();
    ASSERT_EQ(::ftruncate(fd.get(), 0), 0);
    EXPECT_TRUE(all_zero(mapping.bytes()));
    EXPECT_TRUE(sigbus_guard::was_hit(mapping.data()));
}

TEST(SigbusGuard, OnlyTheMappingThatFaulted_IsReported) {
    const UniqueFd first = peer_memfd(kPageSize);
    const UniqueFd second = peer_memfd(kPageSize);
    const Mapping bad = Mapping::peer_file(first.get(), 0, kPageSize, Access::kRead).value();
    const Mapping good = Mapping::peer_file(second.get(), 0, kPageSize, Access::kRead).value();
    ASSERT_EQ(::ftruncate(first.get(), 0), 0);
    EXPECT_EQ(bad.data()[0], std::byte{0});
    EXPECT_TRUE(sigbus_guard::was_hit(bad.data()));
    EXPECT_FALSE(sigbus_guard::was_hit(good.data()));
}

TEST(SigbusGuard, NewMappingAtAnOldPlace_StartsClean) {
    const UniqueFd fd = peer_memfd(kPageSize);
    const UniqueFd bad = peer_memfd(kPageSize);
    std::byte* place;
    {
        const Mapping mapping = Mapping::peer_file(bad.get(), 0, kPageSize, Access::kRead).value();
        place = mapping.data();
        ASSERT_EQ(::ftruncate(bad.get(), 0), 0);
        EXPECT_EQ(mapping.data()[0], std::byte{0});
        EXPECT_TRUE(sigbus_guard::was_hit(place));
    }
    EXPECT_FALSE(sigbus_guard::was_hit(place));
    const Mapping next = Mapping::peer_file(fd.get(), 0, kPageSize, Access::kRead).value();
    EXPECT_FALSE(sigbus_guard::was_hit(next.data()));
}

TEST(SigbusGuard, TableIsFull_IsAnErrorAndNoMoreThanThat) {
    const UniqueFd fd = peer_memfd(kPageSize);
    std::vector<Mapping> mappings;
    Error error;
    for (;;) {
        auto mapping = Mapping::peer_file(fd.get(), 0, kPageSize, Access::kRead);
        if (!mapping) {
            error = mapping.error();
            break;
        }
        mappings.push_back(std::move(*mapping));
        ASSERT_LT(mappings.size(), 100000u);
    }
    EXPECT_EQ(error.code, ErrorCode::kOutOfMemory);
    EXPECT_GE(mappings.size(), 4096u) << "a guest's RAM slots must fit";
    mappings.pop_back();
    EXPECT_TRUE(Mapping::peer_file(fd.get(), 0, kPageSize, Access::kRead));
}

using SigbusGuardDeathTest = ::testing::Test;

TEST(SigbusGuardDeathTest, FaultOutsideTheGuard_StillKills) {
    const UniqueFd guarded = peer_memfd(kPageSize);
    const Mapping mapping = Mapping::peer_file(guarded.get(), 0, kPageSize, Access::kRead).value();
    const UniqueFd fd = peer_memfd(kPageSize);
    const Mapping unguarded = Mapping::own_file(fd.get(), 0, kPageSize, Access::kRead).value();
    ASSERT_EQ(::ftruncate(fd.get(), 0), 0);
    EXPECT_DEATH(
        {
            volatile const std::byte* const byte = unguarded.data();
            (void)*byte;
        },
        "");
}

TEST(SigbusGuardDeathTest, SentSignal_StillKills) {
    const UniqueFd fd = peer_memfd(kPageSize);
    const Mapping mapping = Mapping::peer_file(fd.get(), 0, kPageSize, Access::kRead).value();
    EXPECT_DEATH(
        {
            ::raise(SIGBUS);
            _exit(0);
        },
        "");
}

}  // namespace
}  // namespace swede
