// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace swede::gfxstream {
namespace {

TEST(Arena, GivesZeroedAlignedMemory) {
    Arena arena;
    for (int round = 0; round < 3; ++round) {
        for (const size_t size : {1U, 7U, 8U, 100U, 70000U, 3U, 200000U, 16U}) {
            auto* const bytes = static_cast<std::byte*>(arena.allocate(size, 16));
            ASSERT_NE(bytes, nullptr);
            EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes) % 16, 0U);
            EXPECT_TRUE(std::ranges::all_of(std::span(bytes, size),
                                            [](std::byte byte) { return byte == std::byte{}; }));
            std::memset(bytes, 0xff, size);
        }
        arena.reset();
    }
}

TEST(Arena, KeepsItsBound) {
    Arena arena;
    EXPECT_EQ(arena.allocate(Arena::kBound + 1, 1), nullptr);
    EXPECT_EQ(arena.allocate_array<uint64_t>(SIZE_MAX / 4), nullptr);
    size_t total = 0;
    while (arena.allocate(1 << 20, 8) != nullptr) total += 1 << 20;
    EXPECT_LE(total, Arena::kBound);
    EXPECT_GE(total, Arena::kBound / 2);
    EXPECT_EQ(arena.allocate(Arena::kBound, 1), nullptr);
    arena.reset();
    EXPECT_NE(arena.allocate(Arena::kBound, 1), nullptr);
}

TEST(Arena, NoElementsAreNotNull) {
    Arena arena;
    EXPECT_NE(arena.allocate_array<uint64_t>(0), nullptr);
}

TEST(Arena, ReturnsToAMark) {
    Arena arena;
    ASSERT_NE(arena.allocate(100, 8), nullptr);
    const Arena::Mark mark = arena.mark();
    void* const first = arena.allocate(64, 8);
    ASSERT_NE(arena.allocate(size_t{1} << 20, 8), nullptr);
    for (int i = 0; i < 1000; ++i) {
        arena.rewind(mark);
        EXPECT_EQ(arena.allocate(64, 8), first);
        ASSERT_NE(arena.allocate(size_t{1} << 20, 8), nullptr);
    }
}

}  // namespace
}  // namespace swede::gfxstream
