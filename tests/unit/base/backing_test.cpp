// SPDX-License-Identifier: Apache-2.0
#include "base/backing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

namespace swede {
namespace {

std::shared_ptr<MemoryRegion> make_region(uint64_t id, uint64_t size,
                                          Access access = Access::kReadWrite) {
    auto region = std::make_shared<MemoryRegion>();
    region->id = id;
    region->size = size;
    region->access = access;
    region->mapping = Mapping::anonymous(size).value();
    region->host = region->mapping.data();
    return region;
}

Backing::Segment segment(const MemoryRegion& region, uint64_t offset, uint64_t size) {
    return {region.host + offset, size, &region, offset};
}

/// Two regions, cut into segments in an order of their own, and the same bytes in one piece.
class RandomBacking {
  public:
    explicit RandomBacking(uint32_t seed) : random_(seed) {
        const std::vector regions{make_region(1, 1 << 16), make_region(2, 1 << 16)};
        std::vector<Backing::Segment> segments;
        for (const auto& region : regions)
            for (uint64_t offset = 0; offset < region->size;) {
                const uint64_t size = std::min(region->size - offset, number(1, 5000));
                segments.push_back(segment(*region, offset, size));
                offset += size + number(0, 1) * number(1, 300);
            }
        std::ranges::shuffle(segments, random_);
        segments.resize(number(1, segments.size()));
        for (const auto& s : segments) {
            for (uint64_t i = 0; i < s.size; ++i) s.host[i] = static_cast<std::byte>(random_());
            model.insert(model.end(), s.host, s.host + s.size);
        }
        backing = std::make_unique<Backing>(
            segments,
            std::vector<std::shared_ptr<const MemoryRegion>>(regions.begin(), regions.end()));
    }

    uint64_t number(uint64_t from, uint64_t to) {
        return std::uniform_int_distribution<uint64_t>(from, to)(random_);
    }
    std::vector<std::byte> bytes(uint64_t size) {
        std::vector<std::byte> out(size);
        for (auto& byte : out) byte = static_cast<std::byte>(random_());
        return out;
    }

    std::unique_ptr<Backing> backing;
    std::vector<std::byte> model;

  private:
    std::mt19937 random_;
};

TEST(Backing, ReadAndWrite_AgreeWithOnePiece) {
    for (uint32_t seed = 0; seed < 30; ++seed) {
        RandomBacking b(seed);
        ASSERT_EQ(b.backing->size(), b.model.size());
        for (int i = 0; i < 50; ++i) {
            const uint64_t offset = b.number(0, b.model.size());
            const uint64_t size = b.number(0, b.model.size() - offset);
            if (b.number(0, 1) == 0) {
                std::vector<std::byte> got(size);
                ASSERT_TRUE(b.backing->read(offset, got));
                ASSERT_TRUE(std::equal(got.begin(), got.end(),
                                       b.model.begin() + static_cast<std::ptrdiff_t>(offset)));
            } else {
                const auto bytes = b.bytes(size);
                ASSERT_TRUE(b.backing->write(offset, bytes));
                std::ranges::copy(bytes, b.model.begin() + static_cast<std::ptrdiff_t>(offset));
            }
        }
        std::vector<std::byte> all(b.model.size());
        ASSERT_TRUE(b.backing->read(0, all));
        ASSERT_EQ(all, b.model);
    }
}

TEST(Backing, Rows_AgreeWithOnePiece) {
    for (uint32_t seed = 0; seed < 60; ++seed) {
        RandomBacking b(seed);
        for (int i = 0; i < 30; ++i) {
            const uint64_t row_size = b.number(1, std::min<uint64_t>(b.model.size(), 700));
            const uint64_t stride = row_size + b.number(0, 1) * b.number(0, 900);
            const uint64_t rows = b.number(1, (b.model.size() - row_size) / stride + 1);
            const uint64_t span = stride * (rows - 1) + row_size;
            const uint64_t offset = b.number(0, b.model.size() - span);
            const uint64_t other_stride = row_size + b.number(0, 1) * b.number(0, 100);
            auto other = b.bytes(other_stride * rows);
            const auto before = other;
            if (b.number(0, 1) == 0) {
                ASSERT_TRUE(b.backing->read_rows(offset, stride, row_size, rows, other.data(),
                                                 other_stride));
                for (uint64_t row = 0; row < rows; ++row)
                    for (uint64_t x = 0; x < other_stride; ++x) {
                        const std::byte expected = x < row_size ? b.model[offset + row * stride + x]
                                                                : before[row * other_stride + x];
                        ASSERT_EQ(other[row * other_stride + x], expected);
                    }
            } else {
                ASSERT_TRUE(b.backing->write_rows(offset, stride, row_size, rows, other.data(),
                                                  other_stride));
                for (uint64_t row = 0; row < rows; ++row)
                    std::memcpy(&b.model[offset + row * stride], &other[row * other_stride],
                                row_size);
            }
        }
        std::vector<std::byte> all(b.model.size());
        ASSERT_TRUE(b.backing->read(0, all));
        ASSERT_EQ(all, b.model);
    }
}

class SmallBacking : public ::testing::Test {
  protected:
    std::shared_ptr<MemoryRegion> region = make_region(7, 4096);
    Backing backing{{segment(*region, 100, 50), segment(*region, 0, 50)}, {region}};
    std::array<std::byte, 256> bytes{};
};

TEST_F(SmallBacking, RangeOutside_IsAnErrorAndCopiesNothing) {
    const std::span to(bytes);
    EXPECT_TRUE(backing.write(0, to.first(100)));
    bytes.fill(std::byte{1});
    for (const auto& result :
         {backing.write(0, to.first(101)), backing.write(100, to.first(1)),
          backing.write(UINT64_MAX, to.first(1)), backing.write(UINT64_MAX, to.first(2)),
          backing.write_rows(0, 60, 50, 2, bytes.data(), 50),
          backing.write_rows(0, UINT64_MAX, 1, 2, bytes.data(), 1),
          backing.write_rows(0, uint64_t{1} << 63, 1, 3, bytes.data(), 1),
          backing.write_rows(99, 50, 2, 1, bytes.data(), 2),
          backing.write_rows(0, 1, 1, UINT64_MAX, bytes.data(), 1)}) {
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, ErrorCode::kInvalidParameter);
    }
    EXPECT_TRUE(std::all_of(region->host, region->host + 4096,
                            [](std::byte b) { return b == std::byte{0}; }));
}

// As many rows as a peer likes over the same bytes would be endless work.
TEST_F(SmallBacking, OverlappingRows_AreRefused) {
    EXPECT_FALSE(backing.read_rows(0, 0, 1, UINT64_MAX, bytes.data(), 0));
    EXPECT_FALSE(backing.read_rows(0, 9, 10, 3, bytes.data(), 10));
    EXPECT_TRUE(backing.read_rows(0, 0, 10, 1, bytes.data(), 0)) << "one row has no stride";
}

TEST_F(SmallBacking, NothingToCopy_IsNoError) {
    EXPECT_TRUE(backing.read(0, {}));
    EXPECT_TRUE(backing.read_rows(0, 10, 10, 0, nullptr, 0));
    EXPECT_TRUE(backing.read_rows(0, 10, 0, 10, nullptr, 0));
}

TEST_F(SmallBacking, Revoked_HasNoLeaseAndCannotBeCopied) {
    EXPECT_TRUE(backing.lease());
    EXPECT_EQ(backing.lease().segments().size(), 2u);
    EXPECT_TRUE(backing.uses(7));
    EXPECT_FALSE(backing.uses(8));
    backing.revoke();
    const auto lease = backing.lease();
    EXPECT_FALSE(lease);
    EXPECT_TRUE(lease.segments().empty());
    EXPECT_FALSE(backing.uses(7));
    EXPECT_EQ(backing.size(), 100u);
    EXPECT_FALSE(backing.read(0, std::span(bytes).first(1)));
    EXPECT_FALSE(backing.write(0, std::span(bytes).first(1)));
    EXPECT_EQ(region.use_count(), 1) << "the region is let go";
    backing.revoke();
}

TEST_F(SmallBacking, LeaseThatDied_DoesNotHinderRevoke) {
    {
        auto lease = backing.lease();
        auto moved = std::move(lease);
        EXPECT_TRUE(moved);
    }
    backing.revoke();
    EXPECT_FALSE(backing.lease());
}

TEST(Backing, ReadOnlyMemory_CannotBeWritten) {
    const auto region = make_region(1, 4096);
    const auto rom = make_region(2, 4096, Access::kRead);
    Backing backing({segment(*region, 0, 64), segment(*rom, 0, 64)}, {region, rom});
    std::array<std::byte, 8> bytes{};
    EXPECT_FALSE(backing.writable());
    EXPECT_TRUE(backing.read(60, bytes));
    EXPECT_FALSE(backing.write(0, bytes));
    EXPECT_TRUE(Backing({segment(*region, 0, 64)}, {region}).writable());
}

// Invariant I7: memory goes only when no copy uses it. Here it goes at once after revoke(), so a
// copy that is still under way would fault.
TEST(Backing, Revoke_WaitsForLeases) {
    for (int round = 0; round < 50; ++round) {
        constexpr uint64_t kSize = 256 << 10;
        auto region = make_region(1, kSize);
        Backing backing({segment(*region, 0, kSize)}, {region});
        std::atomic<int> copies = 0;
        std::vector<std::jthread> readers;
        for (int i = 0; i < 2; ++i)
            readers.emplace_back([&] {
                std::vector<std::byte> bytes(kSize);
                while (backing.read(0, bytes)) ++copies;
            });
        while (copies < 2) std::this_thread::yield();
        backing.revoke();
        ASSERT_EQ(region.use_count(), 1);
        region.reset();  // unmaps
    }
}

TEST(Backing, Revoke_DoesNotReturnWhileALeaseIsOut) {
    const auto region = make_region(1, 4096);
    Backing backing({segment(*region, 0, 4096)}, {region});
    std::atomic<bool> starts = false;
    std::atomic<bool> revoked = false;
    std::jthread thread;
    {
        const auto lease = backing.lease();
        thread = std::jthread([&] {
            starts = true;
            backing.revoke();
            revoked = true;
        });
        while (!starts) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        EXPECT_FALSE(revoked);
        EXPECT_EQ(lease.segments()[0].host, region->host);
    }
    thread.join();
    EXPECT_TRUE(revoked);
}

}  // namespace
}  // namespace swede
