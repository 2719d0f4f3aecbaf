// SPDX-License-Identifier: Apache-2.0
#include "virtio/guest_memory.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "unit/base/process_state.h"

namespace swede::virtio {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kPage = 4096;

/// A file as a VMM makes it: it can still be truncated.
UniqueFd ram_file(uint64_t size) {
    UniqueFd fd(::memfd_create("ram", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    return fd;
}

std::vector<std::byte> pattern(uint64_t size, uint32_t seed = 1) {
    std::mt19937 random(seed);
    std::vector<std::byte> bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
}

wire::MemEntry entry(uint64_t address, uint32_t length) {
    return {address, length, 0};
}

class GuestMemoryTest : public ::testing::Test {
  protected:
    Result<void> add(uint64_t address, uint64_t size, Access access = Access::kReadWrite) {
        return memory.add(address, size, ram_file(size), 0, access);
    }
    Result<std::shared_ptr<Backing>> backing(std::vector<wire::MemEntry> entries) {
        return memory.make_backing(entries);
    }

    GuestMemory memory;
};

TEST_F(GuestMemoryTest, Region_IsReadAndWritten) {
    ASSERT_TRUE(add(0x10000, 4 * kPage));
    const auto bytes = pattern(5000);
    ASSERT_TRUE(memory.write(0x10100, bytes));
    std::vector<std::byte> back(5000);
    ASSERT_TRUE(memory.read(0x10100, back));
    EXPECT_EQ(back, bytes);
    EXPECT_EQ(*memory.host_address(0x10100, 1, Access::kRead).value(), bytes[0]);
}

// vfio-user's DMA_MAP names any offset of the file: 0xc0000 and the like, and less round ones.
TEST_F(GuestMemoryTest, FdOffsetOfAnyAlignment_IsMapped) {
    const auto bytes = pattern(4 * kPage);
    for (const uint64_t offset :
         {uint64_t{0}, uint64_t{1}, kPage - 1, kPage, kPage + 16, 2 * kPage + 7}) {
        UniqueFd fd = ram_file(4 * kPage);
        ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0),
                  static_cast<ssize_t>(bytes.size()));
        const uint64_t size = 4 * kPage - offset;
        ASSERT_TRUE(memory.add(0x1000, size, std::move(fd), offset, Access::kReadWrite)) << offset;
        std::vector<std::byte> got(size);
        ASSERT_TRUE(memory.read(0x1000, got));
        EXPECT_TRUE(
            std::equal(got.begin(), got.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset)))
            << offset;
        EXPECT_EQ(memory.regions()[0]->fd_offset, offset);
        ASSERT_TRUE(memory.remove(0x1000, size));
    }
}

TEST_F(GuestMemoryTest, ImpossibleRegions_AreErrors) {
    EXPECT_FALSE(memory.add(0, 0, ram_file(kPage), 0, Access::kRead)) << "empty";
    EXPECT_FALSE(memory.add(UINT64_MAX, 2, {}, 0, Access::kRead)) << "wraps";
    EXPECT_FALSE(memory.add(1, UINT64_MAX, {}, 0, Access::kRead)) << "wraps";
    EXPECT_FALSE(memory.add(0, kPage + 1, ram_file(kPage), 0, Access::kRead)) << "past the end";
    EXPECT_FALSE(memory.add(0, kPage, ram_file(kPage), 1, Access::kRead)) << "past the end";
    EXPECT_FALSE(memory.add(0, 1, ram_file(kPage), kPage, Access::kRead)) << "past the end";
    EXPECT_FALSE(memory.add(0, kPage, ram_file(kPage), UINT64_MAX - 10, Access::kRead));
    EXPECT_FALSE(memory.add(0, UINT64_MAX - kPage, ram_file(kPage), 4095, Access::kRead));
    EXPECT_TRUE(memory.regions().empty());
}

TEST_F(GuestMemoryTest, OverlappingRegions_AreErrors) {
    ASSERT_TRUE(add(0x10000, 0x1000));
    ASSERT_TRUE(add(0x12000, 0x1000));
    EXPECT_FALSE(add(0x10000, 0x1000));
    EXPECT_FALSE(add(0x10fff, 1));
    EXPECT_FALSE(add(0xf000, 0x1001));
    EXPECT_FALSE(add(0xf000, 0x8000)) << "around both";
    EXPECT_FALSE(add(0x11000, 0x1001));
    const auto inside = add(0x10800, 0x10);
    ASSERT_FALSE(inside);
    EXPECT_EQ(inside.error().message,
              "The memory region of 0x10 bytes at 0x10800 overlaps that of 0x1000 at 0x10000.");
    EXPECT_TRUE(add(0x11000, 0x1000)) << "fits between";
    EXPECT_EQ(memory.regions().size(), 3u);
}

TEST_F(GuestMemoryTest, TooManyRegions_AreAnError) {
    for (uint64_t i = 0; i < GuestMemory::kMaxRegions; ++i)
        ASSERT_TRUE(memory.add(i * kPage, kPage, {}, 0, Access::kRead));
    const auto more = memory.add(1ull << 40, kPage, {}, 0, Access::kRead);
    EXPECT_EQ(more.error().code, ErrorCode::kOutOfMemory);
}

TEST_F(GuestMemoryTest, OwnFile_IsReadAndWritten) {
    UniqueFd file = create_memfd("own", 2 * kPage).value();
    const UniqueFd copy = file.duplicate();
    ASSERT_TRUE(memory.add_own(0x10000, 2 * kPage, std::move(file)));
    const auto bytes = pattern(64);
    ASSERT_TRUE(memory.write(0x10000 + kPage, bytes));
    std::vector<std::byte> read(64);
    ASSERT_EQ(::pread(copy.get(), read.data(), 64, kPage), 64);
    EXPECT_EQ(read, bytes);
    EXPECT_FALSE(memory.truncated());
}

/// The guard's places are for all of a process, so those who need none must take none.
TEST_F(GuestMemoryTest, OwnFiles_TakeNoPlaceOfPeers) {
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    const rlimit more{std::min<rlim_t>(files.rlim_max, 20000), files.rlim_max};
    ASSERT_GE(more.rlim_cur, 9000u) << "the limit of open files is too low for this test";
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &more), 0);
    const UniqueFd file = create_memfd("own", kPage).value();
    GuestMemory second;
    for (uint64_t i = 0; i < GuestMemory::kMaxRegions; ++i) {
        ASSERT_TRUE(memory.add_own(i * kPage, kPage, file.duplicate()));
        ASSERT_TRUE(second.add_own(i * kPage, kPage, file.duplicate()));
    }
    GuestMemory third;
    EXPECT_TRUE(third.add(0, kPage, ram_file(kPage), 0, Access::kReadWrite));
    EXPECT_TRUE(third.add_own(kPage, kPage, file.duplicate()));
    memory.clear();
    second.clear();
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
}

TEST_F(GuestMemoryTest, RefusedRegion_ClosesItsFd) {
    ASSERT_TRUE(add(0, kPage));
    const size_t before = swede::testing::open_fds();
    EXPECT_FALSE(add(0, kPage));
    EXPECT_FALSE(memory.add(kPage, 2 * kPage, ram_file(kPage), 0, Access::kRead));
    EXPECT_EQ(swede::testing::open_fds(), before);
}

TEST_F(GuestMemoryTest, Clear_GivesBackFdsAndMappings) {
    const size_t before = swede::testing::open_fds();
    ASSERT_TRUE(add(0, kPage));
    ASSERT_TRUE(add(kPage, kPage));
    const std::weak_ptr<const MemoryRegion> region = memory.regions()[0];
    memory.clear();
    EXPECT_EQ(swede::testing::open_fds(), before);
    EXPECT_TRUE(region.expired());
    EXPECT_FALSE(memory.host_address(0, 1, Access::kRead));
    ASSERT_TRUE(add(0, kPage));
}

TEST_F(GuestMemoryTest, AccessOutside_IsAnError) {
    ASSERT_TRUE(add(0x10000, kPage));
    std::array<std::byte, 16> bytes{};
    EXPECT_FALSE(memory.read(0xffff, bytes));
    EXPECT_FALSE(memory.read(0x11000, bytes));
    EXPECT_FALSE(memory.read(0x10ff8, bytes)) << "half outside";
    EXPECT_FALSE(memory.write(0x10ff8, bytes));
    EXPECT_FALSE(memory.read(UINT64_MAX - 3, bytes)) << "wraps";
    EXPECT_FALSE(memory.host_address(0x10000, kPage + 1, Access::kRead));
    EXPECT_FALSE(memory.host_address(0x10000, UINT64_MAX, Access::kRead));
    EXPECT_FALSE(memory.host_address(0x10fff, UINT64_MAX, Access::kRead));
    EXPECT_TRUE(memory.host_address(0x10000, kPage, Access::kRead));
    EXPECT_TRUE(memory.read(UINT64_MAX, {}));
}

TEST_F(GuestMemoryTest, ReadAndWrite_CrossIntoANeighbour) {
    ASSERT_TRUE(add(0x10000, kPage));
    ASSERT_TRUE(add(0x11000, kPage));
    ASSERT_TRUE(add(0x13000, kPage));
    const auto bytes = pattern(kPage);
    ASSERT_TRUE(memory.write(0x10800, bytes));
    std::vector<std::byte> got(kPage);
    ASSERT_TRUE(memory.read(0x10800, got));
    EXPECT_EQ(got, bytes);
    EXPECT_FALSE(memory.host_address(0x10800, kPage, Access::kRead)) << "not in one region";
    EXPECT_FALSE(memory.read(0x11800, got)) << "a hole is no neighbour";
}

TEST_F(GuestMemoryTest, ReadOnlyRegion_CannotBeWritten) {
    ASSERT_TRUE(add(0x10000, kPage, Access::kRead));
    std::array<std::byte, 4> bytes{};
    EXPECT_TRUE(memory.read(0x10000, bytes));
    const auto written = memory.write(0x10000, bytes);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().message, "The memory at 0x10000 is read-only.");
    EXPECT_FALSE(memory.host_address(0x10000, 4, Access::kReadWrite));
    const auto made = backing({entry(0x10000, 100)}).value();
    EXPECT_TRUE(made->read(0, bytes));
    EXPECT_FALSE(made->write(0, bytes));
}

TEST_F(GuestMemoryTest, RegionWithoutAFile_IsKnownAndSaysWhatIsMissing) {
    ASSERT_TRUE(memory.add(0x10000, kPage, {}, 0, Access::kReadWrite));
    EXPECT_EQ(memory.regions()[0]->host, nullptr);
    std::array<std::byte, 4> bytes{};
    for (const auto& result : {memory.read(0x10000, bytes), memory.write(0x10000, bytes)}) {
        ASSERT_FALSE(result);
        EXPECT_THAT(result.error().message,
                    HasSubstr("memory-backend-memfd with share=on is missing"));
    }
    EXPECT_FALSE(backing({entry(0x10000, 1)}));
    EXPECT_TRUE(memory.remove(0x10000, kPage));
}

TEST_F(GuestMemoryTest, Remove_TakesExactRangesOnly) {
    ASSERT_TRUE(add(0x10000, 2 * kPage));
    EXPECT_FALSE(memory.remove(0x10000, kPage));
    EXPECT_FALSE(memory.remove(0x11000, kPage));
    EXPECT_FALSE(memory.remove(0x10000, 3 * kPage));
    EXPECT_FALSE(memory.remove(0, 2 * kPage));
    EXPECT_FALSE(memory.remove(0x10000, 0));
    EXPECT_TRUE(memory.remove(0x10000, 2 * kPage));
    EXPECT_FALSE(memory.remove(0x10000, 2 * kPage));
}

TEST_F(GuestMemoryTest, Generation_ChangesWithTheMap) {
    const uint64_t first = memory.generation();
    ASSERT_TRUE(add(0, kPage));
    const uint64_t second = memory.generation();
    EXPECT_NE(first, second);
    EXPECT_FALSE(add(0, kPage));
    EXPECT_EQ(memory.generation(), second);
    ASSERT_TRUE(memory.remove(0, kPage));
    EXPECT_NE(memory.generation(), second);
}

// Backings.

TEST_F(GuestMemoryTest, Backing_ListsPagesInTheGuestsOrder) {
    ASSERT_TRUE(add(0x10000, 8 * kPage));
    const auto bytes = pattern(8 * kPage);
    ASSERT_TRUE(memory.write(0x10000, bytes));
    const auto made =
        backing({entry(0x13000, 4096), entry(0x10010, 16), entry(0x12000, 10)}).value();
    EXPECT_EQ(made->size(), 4096u + 16 + 10);
    std::vector<std::byte> got(made->size());
    ASSERT_TRUE(made->read(0, got));
    std::vector<std::byte> expected(bytes.begin() + 0x3000, bytes.begin() + 0x4000);
    expected.insert(expected.end(), bytes.begin() + 0x10, bytes.begin() + 0x20);
    expected.insert(expected.end(), bytes.begin() + 0x2000, bytes.begin() + 0x200a);
    EXPECT_EQ(got, expected);
}

TEST_F(GuestMemoryTest, NeighbouringEntries_BecomeOneSegment) {
    ASSERT_TRUE(add(0x10000, 8 * kPage));
    const auto made = backing({entry(0x10000, 4096), entry(0x11000, 4096), entry(0x12000, 100),
                               entry(0x14000, 4096), entry(0x13000, 4096)})
                          .value();
    const auto lease = made->lease();
    ASSERT_EQ(lease.segments().size(), 3u);
    EXPECT_EQ(lease.segments()[0].size, 8292u);
    EXPECT_EQ(lease.segments()[0].region, memory.regions()[0].get());
    EXPECT_EQ(lease.segments()[1].region_offset, 0x4000u);
    EXPECT_EQ(lease.segments()[2].host, memory.regions()[0]->host + 0x3000);
}

TEST_F(GuestMemoryTest, EntryAcrossRegions_IsCut) {
    ASSERT_TRUE(add(0x10000, kPage));
    ASSERT_TRUE(add(0x11000, kPage));
    const auto made = backing({entry(0x10800, 4096)}).value();
    const auto lease = made->lease();
    ASSERT_EQ(lease.segments().size(), 2u) << "also if the mappings happen to touch";
    EXPECT_EQ(lease.segments()[0].size, 0x800u);
    EXPECT_EQ(lease.segments()[1].region, memory.regions()[1].get());
}

TEST_F(GuestMemoryTest, ImpossibleBackings_AreErrors) {
    ASSERT_TRUE(add(0x10000, kPage));
    for (const auto& entries : std::vector<std::vector<wire::MemEntry>>{
             {},
             {entry(0x10000, 0)},
             {entry(0x10000, 4096), entry(0x10000, 0)},
             {entry(0x10000, 4097)},
             {entry(0x11000, 1)},
             {entry(0xffff, 2)},
             {entry(UINT64_MAX, UINT32_MAX)},
             {entry(UINT64_MAX, 1)},
         }) {
        const auto made = memory.make_backing(entries);
        ASSERT_FALSE(made);
        EXPECT_EQ(made.error().code, ErrorCode::kInvalidParameter);
    }
}

TEST_F(GuestMemoryTest, SamePageManyTimes_IsAllowedAndBounded) {
    ASSERT_TRUE(add(0x10000, kPage));
    const std::vector<wire::MemEntry> entries(10000, entry(0x10000, 4096));
    EXPECT_EQ(memory.make_backing(entries).value()->size(), 10000 * kPage);
}

// Entries of 4 GiB over a VMM's many regions must not multiply to millions of segments.
TEST_F(GuestMemoryTest, SegmentsOfABacking_AreBounded) {
    constexpr uint64_t kRegions = 2048;
    const UniqueFd fd = ram_file(kPage);
    for (uint64_t i = 0; i < kRegions; ++i)
        ASSERT_TRUE(memory.add(i * kPage, kPage, fd.duplicate(), 0, Access::kRead));
    std::vector<wire::MemEntry> entries(2, entry(0, kRegions * kPage));
    EXPECT_TRUE(memory.make_backing(entries)) << "twice over all";
    entries.resize(4000, entries[0]);
    EXPECT_EQ(memory.make_backing(entries).error().code, ErrorCode::kOutOfMemory);
}

// Invariant I7.
TEST_F(GuestMemoryTest, Remove_RevokesTheBackingsOfThatRegion) {
    ASSERT_TRUE(add(0x10000, kPage));
    ASSERT_TRUE(add(0x20000, kPage));
    const auto first = backing({entry(0x10000, 10)}).value();
    const auto both = backing({entry(0x20000, 10), entry(0x10000, 10)}).value();
    const auto second = backing({entry(0x20000, 10)}).value();
    const std::weak_ptr<const MemoryRegion> region = memory.regions()[0];
    ASSERT_TRUE(memory.remove(0x10000, kPage));
    EXPECT_FALSE(first->lease());
    EXPECT_FALSE(both->lease());
    EXPECT_TRUE(second->lease());
    EXPECT_TRUE(region.expired()) << "nothing keeps the memory mapped";
    memory.clear();
    EXPECT_FALSE(second->lease());
}

TEST_F(GuestMemoryTest, Backing_SurvivesTheMapAsAnEmptyLease) {
    std::shared_ptr<Backing> made;
    {
        GuestMemory other;
        ASSERT_TRUE(other.add(0, kPage, ram_file(kPage), 0, Access::kReadWrite));
        const std::vector entries{entry(0, 100)};
        made = other.make_backing(entries).value();
    }
    EXPECT_FALSE(made->lease());
}

TEST_F(GuestMemoryTest, RegionThatComesBack_DoesNotReviveItsBackings) {
    ASSERT_TRUE(add(0x10000, kPage));
    const uint64_t id = memory.regions()[0]->id;
    const auto made = backing({entry(0x10000, 10)}).value();
    ASSERT_TRUE(memory.remove(0x10000, kPage));
    ASSERT_TRUE(add(0x10000, kPage));
    EXPECT_NE(memory.regions()[0]->id, id);
    EXPECT_FALSE(made->lease());
}

TEST_F(GuestMemoryTest, ManyShortLivedBackings_LeaveTheLivingOnesRevocable) {
    ASSERT_TRUE(add(0x10000, kPage));
    std::vector<std::shared_ptr<Backing>> living;
    for (int i = 0; i < 20000; ++i) {
        auto made = backing({entry(0x10000, 16)}).value();
        if (i % 100 == 0) living.push_back(std::move(made));
    }
    ASSERT_TRUE(memory.remove(0x10000, kPage));
    EXPECT_TRUE(std::ranges::none_of(living, [](const auto& b) { return bool(b->lease()); }));
}

// Observers.

struct Recorder : GuestMemory::Observer {
    explicit Recorder(GuestMemory& of) : memory(of) {}
    void region_added(const std::shared_ptr<const MemoryRegion>& region) override {
        log.push_back(fmt::format("+{}", region->address / kPage));
        EXPECT_TRUE(memory.host_address(region->address, 1, Access::kRead)) << "usable by now";
    }
    void region_removed(const MemoryRegion& region) override {
        log.push_back(fmt::format("-{}", region.address / kPage));
        EXPECT_TRUE(memory.host_address(region.address, 1, Access::kRead)) << "still there";
        EXPECT_TRUE(!watched || watched->lease()) << "told before backings are revoked";
    }
    GuestMemory& memory;
    std::vector<std::string> log;
    std::shared_ptr<Backing> watched;
};

TEST_F(GuestMemoryTest, Observers_AreToldAfterAddAndBeforeRemove) {
    Recorder recorder(memory);
    memory.add_observer(&recorder);
    ASSERT_TRUE(add(kPage, kPage));
    ASSERT_TRUE(add(2 * kPage, kPage));
    ASSERT_TRUE(add(4 * kPage, kPage));
    EXPECT_FALSE(add(2 * kPage, kPage));
    recorder.watched = backing({entry(2 * kPage, 1)}).value();
    ASSERT_TRUE(memory.remove(2 * kPage, kPage));
    recorder.watched = nullptr;
    EXPECT_FALSE(memory.remove(2 * kPage, kPage));
    memory.clear();
    EXPECT_EQ(recorder.log, (std::vector<std::string>{"+1", "+2", "+4", "-2", "-1", "-4"}));
    memory.remove_observer(&recorder);
    ASSERT_TRUE(add(kPage, kPage));
    EXPECT_EQ(recorder.log.size(), 6u);
}

// Decision 14: guest RAM that the VMM truncates.

TEST_F(GuestMemoryTest, TruncatedFile_ReadsAsZeroAndIsReported) {
    const UniqueFd fd = ram_file(4 * kPage);
    ASSERT_TRUE(memory.add(0, 4 * kPage, fd.duplicate(), 0, Access::kReadWrite));
    const auto bytes = pattern(4 * kPage);
    ASSERT_TRUE(memory.write(0, bytes));
    EXPECT_FALSE(memory.truncated());
    ASSERT_EQ(::ftruncate(fd.get(), kPage), 0);
    std::vector<std::byte> got(kPage, std::byte{1});
    ASSERT_TRUE(memory.read(2 * kPage, got));
    EXPECT_EQ(got, std::vector<std::byte>(kPage));
    EXPECT_TRUE(memory.truncated());
    EXPECT_TRUE(memory.truncated()) << "and stays so";
}

TEST_F(GuestMemoryTest, TruncatedFileOfAnother_IsNotReportedHere) {
    GuestMemory other;
    const UniqueFd fd = ram_file(kPage);
    ASSERT_TRUE(other.add(0, kPage, fd.duplicate(), 0, Access::kReadWrite));
    ASSERT_TRUE(add(0, kPage));
    ASSERT_EQ(::ftruncate(fd.get(), 0), 0);
    std::array<std::byte, 4> bytes{};
    ASSERT_TRUE(other.read(0, bytes));
    EXPECT_FALSE(memory.truncated());
    EXPECT_TRUE(other.truncated());
}

// Against a map of single bytes.
TEST_F(GuestMemoryTest, RandomMaps_AgreeWithAByteMap) {
    std::mt19937 random(7);
    const auto number = [&](uint64_t from, uint64_t to) {
        return std::uniform_int_distribution<uint64_t>(from, to)(random);
    };
    std::vector<std::pair<uint64_t, uint64_t>> regions;
    std::map<uint64_t, std::byte> model;
    for (int step = 0; step < 4000; ++step) {
        const uint64_t address = number(0, 600);
        const uint64_t size = number(1, 120);
        switch (number(0, 4)) {
            case 0: {
                bool free = true;
                for (uint64_t a = address; a < address + size; ++a) free &= !model.contains(a);
                const uint64_t offset = number(0, 5000);
                ASSERT_EQ(
                    memory.add(address, size, ram_file(offset + size), offset, Access::kReadWrite)
                        .has_value(),
                    free);
                if (!free) break;
                for (uint64_t a = address; a < address + size; ++a) model[a] = std::byte{0};
                regions.emplace_back(address, size);
                break;
            }
            case 1: {
                if (regions.empty() || number(0, 2) != 0) break;
                const size_t index = number(0, regions.size() - 1);
                const auto [start, length] = regions[index];
                ASSERT_TRUE(memory.remove(start, length));
                for (uint64_t a = start; a < start + length; ++a) model.erase(a);
                regions.erase(regions.begin() + static_cast<std::ptrdiff_t>(index));
                break;
            }
            case 2: {
                const auto bytes = pattern(size, static_cast<uint32_t>(step));
                bool inside = true;
                for (uint64_t a = address; a < address + size; ++a) inside &= model.contains(a);
                ASSERT_EQ(memory.write(address, bytes).has_value(), inside);
                // A refused write may have written a first part: the model follows.
                for (uint64_t i = 0; i < size && model.contains(address + i); ++i)
                    model[address + i] = bytes[i];
                break;
            }
            default: {
                std::vector<std::byte> got(size);
                bool inside = true;
                for (uint64_t a = address; a < address + size; ++a) inside &= model.contains(a);
                ASSERT_EQ(memory.read(address, got).has_value(), inside);
                if (!inside) break;
                for (uint64_t i = 0; i < size; ++i) ASSERT_EQ(got[i], model[address + i]);
                const std::vector entries{entry(address, static_cast<uint32_t>(size))};
                std::vector<std::byte> again(size);
                ASSERT_TRUE(memory.make_backing(entries).value()->read(0, again));
                ASSERT_EQ(again, got);
            }
        }
    }
}

}  // namespace
}  // namespace swede::virtio
