// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/pixel_storage.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "unit/rutabaga/gpu_fixture.h"
#include "unit/rutabaga/guest_pages.h"

namespace swede::rutabaga {
namespace {

using testing::GuestPages;

class PixelStorageTest : public ::testing::Test {
  protected:
    [[nodiscard]] std::shared_ptr<PixelStorage> make(uint32_t width, uint32_t height) {
        auto made = PixelStorage::create(width, height, *budget);
        EXPECT_TRUE(made);
        return std::move(*made);
    }
    [[nodiscard]] static std::vector<std::byte> all_of(const PixelStorage& storage) {
        std::vector<std::byte> out(storage.stride() * storage.height(), std::byte{0xee});
        storage.read({0, 0, storage.width(), storage.height()}, out.data(), storage.stride());
        return out;
    }
    std::shared_ptr<Budget> budget = Budget::create();
};

TEST_F(PixelStorageTest, CVE_2022_0175_NewPixelsAreZeroThoughMemoryIsUsedAgain) {
    for (const uint32_t side : {1u, 7u, 64u, 200u, 1000u}) {  // of the heap and of the kernel
        for (int round = 0; round < 3; ++round) {
            const auto storage = make(side, side);
            for (const std::byte byte : all_of(*storage)) ASSERT_EQ(byte, std::byte{0});
            GuestPages pages(uint64_t{side} * side * 4);
            pages.fill(std::byte{0x5a});
            ASSERT_TRUE(storage->copy_from(*pages.backing(), 0, side * 4, {0, 0, side, side}));
        }
    }
}

TEST_F(PixelStorageTest, Bytes_AreChargedAsLongAsSomeoneHoldsThem) {
    auto storage = make(100, 30);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 100u * 30 * 4);
    auto frame = make_pixel_frame(storage, {0, 0, 10, 10}, PixelFormat::kB8G8R8X8);
    storage.reset();
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 100u * 30 * 4);
    frame.reset();
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
}

TEST_F(PixelStorageTest, Read_TakesTheRectangleOnly) {
    GuestPages pages(64 * 64 * 4, 100);
    pages.number();
    const auto storage = make(64, 64);
    ASSERT_TRUE(storage->copy_from(*pages.backing(), 0, 256, {0, 0, 64, 64}));
    std::vector<std::byte> out(3 * 50, std::byte{0xee});
    storage->read({60, 61, 4, 3}, out.data(), 50);
    for (uint64_t y = 0; y < 3; ++y) {
        for (uint64_t i = 0; i < 16; ++i)
            EXPECT_EQ(out[y * 50 + i], GuestPages::value_at((61 + y) * 256 + 240 + i));
        for (uint64_t i = 16; i < 50; ++i) EXPECT_EQ(out[y * 50 + i], std::byte{0xee});
    }
}

TEST_F(PixelStorageTest, CopyTo_WritesTheGuestsRowsOnly) {
    GuestPages from(32 * 32 * 4, 64);
    from.number();
    const auto storage = make(32, 32);
    ASSERT_TRUE(storage->copy_from(*from.backing(), 0, 128, {0, 0, 32, 32}));
    GuestPages to(4096, 64);
    ASSERT_TRUE(storage->copy_to(*to.backing(), 10, 100, {8, 2, 4, 3}));
    for (uint64_t offset = 0; offset < 4096; ++offset) {
        const uint64_t y = (offset - 10) / 100;
        const uint64_t i = (offset - 10) % 100;
        const bool written = offset >= 10 && y < 3 && i < 16;
        EXPECT_EQ(to[offset], written ? GuestPages::value_at((2 + y) * 128 + 32 + i) : std::byte{0})
            << offset;
    }
}

TEST_F(PixelStorageTest, CopyTo_ReadOnlyMemoryIsRefused) {
    GuestPages rom(4096, 64, Access::kRead);
    const auto storage = make(4, 4);
    EXPECT_FAILS(storage->copy_to(*rom.backing(), 0, 16, {0, 0, 4, 4}),
                 ErrorCode::kInvalidParameter);
    EXPECT_TRUE(storage->copy_from(*rom.backing(), 0, 16, {0, 0, 4, 4}));
}

// Each transfer paints all in one value, so a row that a reader sees has one value.
TEST_F(PixelStorageTest, ReadWhileTheDeviceWrites_SeesWholeRows) {
    constexpr uint32_t kWidth = 640;
    constexpr uint32_t kHeight = 300;  // three pieces
    const auto storage = make(kWidth, kHeight);
    const auto frame = make_pixel_frame(storage, {0, 0, kWidth, kHeight}, PixelFormat::kB8G8R8X8);
    GuestPages pages(kWidth * kHeight * 4);
    const auto backing = pages.backing();
    std::atomic<bool> stop{false};
    std::atomic<int> reads{0};
    std::atomic<int> torn{0};
    std::vector<std::jthread> readers;
    for (int i = 0; i < 2; ++i)
        readers.emplace_back([&] {
            std::vector<std::byte> out(kWidth * kHeight * 4);
            while (!stop.load()) {
                if (!frame->read({0, 0, kWidth, kHeight}, out.data(), kWidth * 4)) break;
                for (uint32_t y = 0; y < kHeight; ++y) {
                    const std::byte* const row = out.data() + y * kWidth * 4;
                    if (std::memcmp(row, row + 1, kWidth * 4 - 1) != 0) torn.fetch_add(1);
                }
                reads.fetch_add(1);
            }
        });
    for (int value = 0; value < 100 || reads.load() < 10; ++value) {
        pages.fill(static_cast<std::byte>(value));
        ASSERT_TRUE(storage->copy_from(*backing, 0, kWidth * 4, {0, 0, kWidth, kHeight}));
    }
    stop.store(true);
    readers.clear();
    EXPECT_EQ(torn.load(), 0);
}

TEST_F(PixelStorageTest, FrameOutlivesTheStoragesOwner) {
    auto storage = make(16, 16);
    GuestPages pages(16 * 16 * 4);
    pages.number();
    ASSERT_TRUE(storage->copy_from(*pages.backing(), 0, 64, {0, 0, 16, 16}));
    const auto frame = make_pixel_frame(storage, {4, 5, 8, 8}, PixelFormat::kR8G8B8A8);
    storage.reset();
    EXPECT_EQ(frame->width(), 8u);
    EXPECT_EQ(frame->height(), 8u);
    EXPECT_EQ(frame->format(), PixelFormat::kR8G8B8A8);
    std::byte out[4];
    ASSERT_TRUE(frame->read({7, 7, 1, 1}, out, 4));
    for (uint64_t i = 0; i < 4; ++i)
        EXPECT_EQ(out[i], GuestPages::value_at((5 + 7) * 64 + (4 + 7) * 4 + i));
    EXPECT_FAILS(frame->read({7, 7, 2, 1}, out, 8), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(frame->read({8, 0, 1, 1}, out, 4), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(frame->read({0, 0, 1, 0}, out, 4), ErrorCode::kInvalidParameter);
}

}  // namespace
}  // namespace swede::rutabaga
