// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/host_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "base/checked.h"

namespace swede::gfxstream {
namespace {

constexpr uint64_t kWindowSize = 64 * kPageSize;

std::shared_ptr<HostMemory> make(uint64_t size) {
    auto memory = HostMemory::create(size, nullptr);
    EXPECT_TRUE(memory) << memory.error().message;
    return *memory;
}

struct Window {
    UniqueFd fd = *create_memfd("window", kWindowSize);
    Mapping mapping = *Mapping::own_file(fd.get(), 0, kWindowSize, Access::kReadWrite);

    [[nodiscard]] rutabaga::WindowRange range(uint64_t page, uint64_t pages) const {
        return {fd.get(), page * kPageSize, pages * kPageSize};
    }
    [[nodiscard]] std::byte* at(uint64_t page) const { return mapping.data() + page * kPageSize; }
};

void fill(std::byte* bytes, uint64_t size, uint32_t seed) {
    for (uint64_t i = 0; i < size; i += 4) {
        const auto word = static_cast<uint32_t>(seed + i * 2654435761u);
        std::memcpy(bytes + i, &word, sizeof(word));
    }
}

bool is_filled(const std::byte* bytes, uint64_t size, uint32_t seed) {
    std::vector<std::byte> wanted(size);
    fill(wanted.data(), size, seed);
    return std::memcmp(bytes, wanted.data(), size) == 0;
}

uint64_t committed_blocks(int fd) {
    struct stat status{};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return static_cast<uint64_t>(status.st_blocks);
}

TEST(HostMemory, IsZeroedWholePagesAndCharged) {
    const auto budget = Budget::create();
    auto memory = HostMemory::create(5000, budget);
    ASSERT_TRUE(memory);
    EXPECT_EQ((*memory)->size(), 2 * kPageSize);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 2 * kPageSize);
    for (uint64_t i = 0; i < (*memory)->size(); ++i)
        ASSERT_EQ((*memory)->data()[i], std::byte{0}) << i;
    memory->reset();
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
}

TEST(HostMemory, IsRefusedOverTheBudgetAndForNoOrTooManyBytes) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 3 * kPageSize;
    const auto budget = Budget::create(limits);
    EXPECT_FALSE(HostMemory::create(3 * kPageSize + 1, budget));
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
    EXPECT_FALSE(HostMemory::create(0, budget));
    EXPECT_FALSE(HostMemory::create(UINT64_MAX, nullptr));
    EXPECT_FALSE(HostMemory::create(UINT64_MAX - kPageSize + 1, nullptr));
    EXPECT_TRUE(HostMemory::create(3 * kPageSize, budget));
}

TEST(HostMemory, IsSharedAsAFileThatCannotShrink) {
    const auto memory = make(2 * kPageSize);
    fill(memory->data(), memory->size(), 1);
    const auto shared = memory->share();
    ASSERT_TRUE(shared);
    EXPECT_EQ(shared->size, memory->size());
    EXPECT_NE(::fcntl(shared->fd.get(), F_GET_SEALS) & F_SEAL_SHRINK, 0);
    EXPECT_LT(::ftruncate(shared->fd.get(), 0), 0);
    const auto mapping =
        Mapping::own_file(shared->fd.get(), shared->offset, shared->size, Access::kReadWrite);
    ASSERT_TRUE(mapping);
    EXPECT_TRUE(is_filled(mapping->data(), memory->size(), 1));
    fill(mapping->data(), memory->size(), 2);
    EXPECT_TRUE(is_filled(memory->data(), memory->size(), 2));
}

TEST(HostMemory, PlacedItKeepsAddressAndContentsAndIsTheWindow) {
    const Window window;
    const auto memory = make(5 * kPageSize);
    std::byte* const address = memory->data();
    fill(address, 2 * kPageSize, 7);  // the rest was never touched
    ASSERT_TRUE(memory->place(window.range(3, 5)));
    EXPECT_TRUE(memory->placed());
    EXPECT_EQ(memory->data(), address);
    EXPECT_TRUE(is_filled(address, 2 * kPageSize, 7));
    EXPECT_TRUE(is_filled(window.at(3), 2 * kPageSize, 7));
    fill(window.at(4), 4 * kPageSize, 8);
    EXPECT_TRUE(is_filled(address + kPageSize, 4 * kPageSize, 8));
    fill(address, kPageSize, 9);
    EXPECT_TRUE(is_filled(window.at(3), kPageSize, 9));
    EXPECT_EQ(window.at(2)[kPageSize - 1], std::byte{0});
    EXPECT_EQ(window.at(8)[0], std::byte{0});
}

TEST(HostMemory, DisplacedItKeepsContentsAndLeavesTheWindow) {
    const Window window;
    const auto memory = make(5 * kPageSize);
    std::byte* const address = memory->data();
    fill(address, 5 * kPageSize, 1);
    ASSERT_TRUE(memory->place(window.range(0, 5)));
    fill(window.at(1), 2 * kPageSize, 2);
    ASSERT_TRUE(memory->displace());
    EXPECT_FALSE(memory->placed());
    EXPECT_TRUE(is_filled(address + kPageSize, 2 * kPageSize, 2));
    fill(address, 5 * kPageSize, 3);
    EXPECT_TRUE(is_filled(window.at(1), 2 * kPageSize, 2));  // not reached any more
    EXPECT_TRUE(memory->displace());                         // no error
    // And again, elsewhere, without anything of the first time.
    ASSERT_TRUE(memory->place(window.range(20, 5)));
    EXPECT_TRUE(is_filled(window.at(20), 5 * kPageSize, 3));
}

TEST(HostMemory, WhatTheGuestZeroedInTheWindowStaysZero) {
    const Window window;
    const auto memory = make(3 * kPageSize);
    fill(memory->data(), memory->size(), 1);
    ASSERT_TRUE(memory->place(window.range(0, 3)));
    std::memset(window.at(0), 0, kPageSize);
    ASSERT_EQ(::fallocate(window.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          static_cast<off_t>(kPageSize), static_cast<off_t>(kPageSize)),
              0);
    ASSERT_TRUE(memory->displace());
    const std::vector<std::byte> zeroes(2 * kPageSize);
    EXPECT_EQ(std::memcmp(memory->data(), zeroes.data(), zeroes.size()), 0);
}

TEST(HostMemory, CostsItsPagesOnce) {
    const Window window;
    const auto memory = make(32 * kPageSize);
    const auto shared = memory->share();
    ASSERT_TRUE(shared);
    fill(memory->data(), memory->size(), 1);
    const uint64_t blocks = committed_blocks(shared->fd.get());
    EXPECT_GT(blocks, 0u);
    ASSERT_TRUE(memory->place(window.range(0, 32)));
    EXPECT_EQ(committed_blocks(shared->fd.get()), 0u);
    EXPECT_EQ(committed_blocks(window.fd.get()), blocks);
}

TEST(HostMemory, UntouchedMemoryCostsNothingInTheWindow) {
    const Window window;
    const auto memory = make(32 * kPageSize);
    memory->data()[3 * kPageSize] = std::byte{1};
    ASSERT_TRUE(memory->place(window.range(0, 32)));
    EXPECT_EQ(window.at(3)[0], std::byte{1});
    const auto other = make(16 * kPageSize);
    const uint64_t before = committed_blocks(window.fd.get());
    ASSERT_TRUE(other->place(window.range(40, 16)));
    EXPECT_EQ(committed_blocks(window.fd.get()), before);
}

TEST(HostMemory, BadPlacesAreRefusedAndChangeNothing) {
    const Window window;
    const auto memory = make(4 * kPageSize);
    fill(memory->data(), memory->size(), 5);
    const UniqueFd shrinkable(::memfd_create("shrinkable", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(shrinkable.get(), kWindowSize), 0);
    EXPECT_FALSE(memory->place(window.range(0, 3)));
    EXPECT_FALSE(memory->place({window.fd.get(), 100, 4 * kPageSize}));
    EXPECT_FALSE(memory->place({window.fd.get(), UINT64_MAX - kPageSize + 1, 4 * kPageSize}));
    EXPECT_FALSE(memory->place({-1, 0, 4 * kPageSize}));
    EXPECT_FALSE(memory->place({shrinkable.get(), 0, 4 * kPageSize}));
    EXPECT_FALSE(memory->placed());
    EXPECT_TRUE(is_filled(memory->data(), memory->size(), 5));
    ASSERT_TRUE(memory->place(window.range(0, 4)));
    EXPECT_FALSE(memory->place(window.range(8, 4)));  // it is somewhere
    const auto shared = memory->share();              // and its file is the window's
    ASSERT_TRUE(shared);
    EXPECT_EQ(shared->offset, window.range(0, 4).offset);
    const auto view =
        Mapping::own_file(shared->fd.get(), shared->offset, shared->size, Access::kRead);
    ASSERT_TRUE(view);
    EXPECT_TRUE(is_filled(view->data(), memory->size(), 5));
    EXPECT_TRUE(is_filled(window.at(0), memory->size(), 5));
}

TEST(HostMemory, AdoptedItIsTheOthersAndCannotBePlaced) {
    const Window window;
    const auto first = make(2 * kPageSize);
    auto second = HostMemory::adopt(*first->share());
    ASSERT_TRUE(second);
    EXPECT_EQ((*second)->size(), first->size());
    fill(first->data(), first->size(), 4);
    EXPECT_TRUE(is_filled((*second)->data(), first->size(), 4));
    EXPECT_FALSE((*second)->place(window.range(0, 2)));
    const auto third = (*second)->share();
    ASSERT_TRUE(third);
    EXPECT_EQ(third->size, first->size());
}

TEST(HostMemory, BadFilesAreNotAdopted) {
    const auto memory = make(2 * kPageSize);
    const auto shared = [&](uint64_t offset, uint64_t size) {
        rutabaga::SharedMemory changed = *memory->share();
        changed.offset = offset;
        changed.size = size;
        return changed;
    };
    EXPECT_FALSE(HostMemory::adopt(shared(0, 0)));
    EXPECT_FALSE(HostMemory::adopt(shared(0, 100)));
    EXPECT_FALSE(HostMemory::adopt(shared(100, kPageSize)));
    EXPECT_FALSE(HostMemory::adopt(shared(0, 3 * kPageSize)));
    EXPECT_FALSE(HostMemory::adopt(shared(2 * kPageSize, kPageSize)));
    EXPECT_FALSE(HostMemory::adopt(shared(UINT64_MAX - kPageSize + 1, 2 * kPageSize)));
    EXPECT_FALSE(HostMemory::adopt({UniqueFd(), 0, kPageSize}));
    EXPECT_TRUE(HostMemory::adopt(shared(kPageSize, kPageSize)));
}

TEST(LateWrites, AreCarriedOverByteByByteUnlessOverwritten) {
    std::vector<std::byte> old_place(16), copied(16), new_place(16);
    old_place[1] = std::byte{1};  // late
    old_place[2] = std::byte{2};  // late, and written in the new place too
    new_place[2] = std::byte{3};
    new_place[3] = std::byte{4};  // only there
    copied[9] = std::byte{5};     // cleared late
    new_place[9] = std::byte{5};
    carry_over_late_writes(old_place, copied, new_place);
    EXPECT_EQ(new_place[1], std::byte{1});
    EXPECT_EQ(new_place[2], std::byte{3});
    EXPECT_EQ(new_place[3], std::byte{4});
    EXPECT_EQ(new_place[9], std::byte{0});
}

TEST(HostMemory, AWriterLosesNothingWhileItMoves) {
    const Window window;
    const auto memory = make(32 * kPageSize);
    auto* const words = reinterpret_cast<uint32_t*>(memory->data());
    const size_t count = memory->size() / sizeof(uint32_t);
    std::atomic<bool> end = false;
    std::vector<uint32_t> written(count);
    std::thread writer([&] {
        uint32_t value = 0;
        while (!end)
            for (size_t i = 0; i < count; i += 61) {
                written[i] = ++value;
                __atomic_store_n(words + i, value, __ATOMIC_RELAXED);
            }
    });
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(memory->place(window.range(0, 32)));
        ASSERT_TRUE(memory->displace());
        ASSERT_EQ(::fallocate(window.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                              static_cast<off_t>(kWindowSize)),
                  0);
    }
    end = true;
    writer.join();
    for (size_t i = 0; i < count; i += 61) ASSERT_EQ(words[i], written[i]) << i;
}

#if defined(__SANITIZE_ADDRESS__)
#define SWEDE_NO_LIMITS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SWEDE_NO_LIMITS 1
#endif
#endif

#ifndef SWEDE_NO_LIMITS  // which take memory of their own all the time
/// In a process of its own: whether the window stays as it is after a displace() that fails.
int displace_without_memory() {
    constexpr uint64_t kSize = uint64_t{64} << 20;
    const UniqueFd window = *create_memfd("window", kSize);
    const auto memory = make(kSize);
    if (!memory->place({window.get(), 0, kSize})) return 1;
    std::memset(memory->data(), 1, 4096);
    std::ifstream numbers("/proc/self/statm");
    uint64_t pages = 0;
    numbers >> pages;
    const rlimit limit{pages * kPageSize + (8 << 20), pages * kPageSize + (8 << 20)};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) return 2;
    if (memory->displace()) return 3;
    if (memory->placed()) return 4;
    std::memset(memory->data(), 2, 4096);
    std::memset(memory->data() + kSize - 4096, 2, 4096);
    std::array<std::byte, 4096> seen{};
    if (::pread(window.get(), seen.data(), seen.size(), 0) != 4096 || seen[0] != std::byte{1})
        return 5;
    if (::pread(window.get(), seen.data(), seen.size(), kSize - 4096) != 4096 ||
        seen[0] != std::byte{0})
        return 6;
    return 0;
}

// The range of the window goes to another program's memory.
TEST(HostMemoryDeathTest, ADisplaceThatFails_LeavesTheWindow) {
    EXPECT_EXIT(std::_Exit(displace_without_memory()), ::testing::ExitedWithCode(0), "");
}
#endif

}  // namespace
}  // namespace swede::gfxstream
