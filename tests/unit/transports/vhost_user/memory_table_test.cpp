// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/memory_table.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "base/mapping.h"

namespace swede::vhost_user {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kUser = 0x7f00'0000'0000;

class MemoryTableTest : public ::testing::Test {
  protected:
    static UniqueFd file(uint64_t size = 4 * kMiB) { return create_memfd("ram", size).value(); }

    Result<void> replace(std::vector<MemoryRegionDescription> regions,
                         const std::vector<int>& files) {
        std::vector<UniqueFd> fds;
        for (const int fd : files) fds.emplace_back(::dup(fd));
        return table_.replace(regions, fds);
    }
    std::shared_ptr<Backing> backing(uint64_t address) {
        const wire::MemEntry entry{address, 4096, 0};
        return memory_.make_backing(std::span(&entry, 1)).value();
    }

    virtio::GuestMemory memory_;
    MemoryTable table_{memory_};
};

TEST_F(MemoryTableTest, UserAddressesAreFoundInTheirRegion) {
    const UniqueFd low = file();
    const UniqueFd high = file();
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}, {4 * kMiB, 2 * kMiB, kUser + 8 * kMiB, kMiB}},
                        {low.get(), high.get()}));
    EXPECT_EQ(table_.guest_address(kUser + 16, 16).value(), 16u);
    EXPECT_EQ(table_.guest_address(kUser + 8 * kMiB + 5, 1).value(), 4 * kMiB + 5);
    EXPECT_EQ(table_.guest_address(kUser + kMiB - 1, 1).value(), kMiB - 1);
}

TEST_F(MemoryTableTest, UserAddressesOutsideAreRefused) {
    const UniqueFd ram = file();
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}}, {ram.get()}));
    EXPECT_FALSE(table_.guest_address(kUser - 1, 1));
    EXPECT_FALSE(table_.guest_address(kUser + kMiB - 1, 2));
    EXPECT_FALSE(table_.guest_address(kUser + kMiB, 1));
    EXPECT_FALSE(table_.guest_address(kUser, UINT64_MAX));
    EXPECT_FALSE(table_.guest_address(UINT64_MAX, 16));
    EXPECT_FALSE(table_.guest_address(0, 16));
}

TEST_F(MemoryTableTest, Replace_KeepsWhatStaysTheSame) {
    const UniqueFd low = file();
    const UniqueFd high = file();
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}, {2 * kMiB, kMiB, kUser + 2 * kMiB, 0}},
                        {low.get(), high.get()}));
    const auto kept = backing(4096);
    const auto lost = backing(2 * kMiB);
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}, {2 * kMiB, 2 * kMiB, kUser + 2 * kMiB, 0}},
                        {low.get(), high.get()}));
    EXPECT_TRUE(kept->lease());
    EXPECT_FALSE(lost->lease());
    EXPECT_TRUE(table_.guest_address(kUser + 4 * kMiB - 1, 1));
    EXPECT_EQ(memory_.regions().size(), 2u);
}

TEST_F(MemoryTableTest, Replace_ANewFileInAnOldPlaceIsNotTheSame) {
    const UniqueFd first = file();
    const UniqueFd second = file();
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}}, {first.get()}));
    const auto old = backing(0);
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}}, {second.get()}));
    EXPECT_FALSE(old->lease());
    const std::array<std::byte, 1> written{std::byte{42}};
    ASSERT_TRUE(memory_.write(0, written));
    std::byte read{};
    ASSERT_EQ(::pread(second.get(), &read, 1, 0), 1);
    EXPECT_EQ(read, std::byte{42});
}

TEST_F(MemoryTableTest, Replace_WithNothingLeavesNothing) {
    const UniqueFd ram = file();
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}}, {ram.get()}));
    ASSERT_TRUE(replace({}, {}));
    EXPECT_EQ(table_.size(), 0u);
    EXPECT_TRUE(memory_.regions().empty());
}

TEST_F(MemoryTableTest, Replace_ABadListChangesNothing) {
    const UniqueFd ram = file();
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}}, {ram.get()}));
    const std::vector<std::vector<MemoryRegionDescription>> bad{
        {{0, kMiB, kUser, 0}, {kMiB - 1, kMiB, kUser + kMiB, 0}},   // guest addresses overlap
        {{0, kMiB, kUser, 0}, {kMiB, kMiB, kUser + kMiB - 1, 0}},   // user addresses overlap
        {{0, kMiB, kUser, 0}, {0, kMiB, kUser, 0}},                 // twice
        {{kMiB, kMiB, kUser, 0}, {4 * kMiB, 0, kUser + kMiB, 0}},   // empty
        {{kMiB, kMiB, kUser, 0}, {UINT64_MAX - 4095, kMiB, 0, 0}},  // wraps around
        {{kMiB, kMiB, kUser, 0}, {0, kMiB, UINT64_MAX - 4095, 0}},
        {{kMiB, kMiB, kUser, 0}, {0, kMiB, 0, UINT64_MAX - 4095}},
    };
    for (const auto& list : bad) {
        EXPECT_FALSE(replace(list, {ram.get(), ram.get()}));
        EXPECT_EQ(table_.guest_address(kUser, 1).value(), 0u);
        EXPECT_EQ(table_.size(), 1u);
    }
}

TEST_F(MemoryTableTest, Replace_AFileThatIsTooShortIsRefusedAndTheRestStands) {
    const UniqueFd ram = file();
    const UniqueFd small = file(4096);
    EXPECT_FALSE(
        replace({{0, kMiB, kUser, 0}, {kMiB, kMiB, kUser + kMiB, 0}}, {ram.get(), small.get()}));
    EXPECT_EQ(table_.size(), memory_.regions().size());
    ASSERT_TRUE(replace({{0, kMiB, kUser, 0}}, {ram.get()}));
    EXPECT_EQ(memory_.regions().size(), 1u);
}

TEST_F(MemoryTableTest, Add_RefusesOverlapInEitherSpace) {
    const UniqueFd ram = file();
    ASSERT_TRUE(table_.add({kMiB, kMiB, kUser, 0}, ram.duplicate()));
    EXPECT_FALSE(table_.add({kMiB, kMiB, kUser, 0}, ram.duplicate()));
    EXPECT_FALSE(table_.add({0, kMiB + 1, kUser + kMiB, 0}, ram.duplicate()));
    EXPECT_FALSE(table_.add({2 * kMiB, kMiB, kUser + kMiB - 1, 0}, ram.duplicate()));
    EXPECT_FALSE(table_.add({2 * kMiB, 0, kUser + kMiB, 0}, ram.duplicate()));
    EXPECT_EQ(table_.size(), 1u);
    EXPECT_TRUE(table_.add({2 * kMiB, kMiB, kUser + kMiB, 0}, ram.duplicate()));
}

TEST_F(MemoryTableTest, Add_MoreThanTheSlotsAreRefused) {
    const UniqueFd ram = file();
    for (uint64_t i = 0; i < kMaxMemorySlots; ++i)
        ASSERT_TRUE(table_.add({i * 8192, 4096, kUser + i * 8192, 0}, ram.duplicate())) << i;
    const auto more = table_.add({kMiB * kMiB, 4096, kUser - 4096, 0}, ram.duplicate());
    ASSERT_FALSE(more);
    EXPECT_EQ(more.error().code, ErrorCode::kOutOfMemory);
}

TEST_F(MemoryTableTest, Remove_WantsTheExactRegion) {
    const UniqueFd ram = file();
    ASSERT_TRUE(table_.add({kMiB, kMiB, kUser, 0}, ram.duplicate()));
    EXPECT_FALSE(table_.remove({0, kMiB, kUser, 0}));
    EXPECT_FALSE(table_.remove({kMiB, kMiB - 4096, kUser, 0}));
    EXPECT_FALSE(table_.remove({kMiB, kMiB, kUser + 4096, 0}));
    EXPECT_TRUE(table_.remove({kMiB, kMiB, kUser, 4096})) << "the mmap offset is ignored";
    EXPECT_FALSE(table_.remove({kMiB, kMiB, kUser, 0}));
    EXPECT_TRUE(memory_.regions().empty());
}

}  // namespace
}  // namespace swede::vhost_user
