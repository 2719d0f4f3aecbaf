// SPDX-License-Identifier: Apache-2.0
// The shim's Ring against a ring as Mesa lays it out: three pages of rings, then the buffer.
#include "ring.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/mapping.h"

namespace swede::shim {
namespace {

constexpr uint64_t kBuffer = 1 << 20;  ///< bytes
constexpr uint64_t kSize = 12288 + kBuffer;

class RingTest : public ::testing::Test {
  protected:
    void SetUp() override { set(2180, kBuffer); }
    void set(size_t at, uint32_t value) { std::memcpy(memory_.data() + at, &value, sizeof(value)); }
    [[nodiscard]] uint32_t get(size_t at) const {
        uint32_t value = 0;
        std::memcpy(&value, memory_.data() + at, sizeof(value));
        return value;
    }

    UniqueFd file_ = create_memfd("ring", kSize).value();
    Mapping memory_ = Mapping::own_file(file_.get(), 0, kSize, Access::kReadWrite).value();
};

TEST_F(RingTest, Abort_TellsWhoeverWaits) {
    set(8, 24);  // requests that nobody will read
    set(64, 16);
    set(4096 + 8, 500);  // of the large ring
    set(8192 + 8, 96);   // replies that were read
    set(8192 + 64, 96);
    set(2200, 1000);  // bytes to come
    set(2204, 1);     // in_error, as a renderer leaves it that refused a packet
    Ring ring(file_.get(), 0, kSize);
    ASSERT_TRUE(ring);
    ring.abort();
    EXPECT_EQ(get(2204), 0u) << "with in_error, Mesa 25.0.7 reads on for ever";
    EXPECT_EQ(get(64), 24u) << "all requests count as read";
    EXPECT_EQ(get(4096 + 64), 500u);
    EXPECT_EQ(get(2200), 0u);
    EXPECT_EQ(get(8192 + 8), 96 + kBuffer - 1) << "there is as much to read as fits";
    for (const uint64_t at : {uint64_t{0}, kBuffer / 2, kBuffer - 4})
        EXPECT_EQ(get(12288 + at), 0xfffffffc) << "VK_ERROR_DEVICE_LOST";
}

TEST_F(RingTest, Abort_GoesOnAsTheReaderDoes) {
    Ring ring(file_.get(), 0, kSize);
    ring.abort();
    set(8192 + 64, 4096);
    ring.abort();
    EXPECT_EQ(get(8192 + 8), 4096 + kBuffer - 1);
    set(8192 + 64, 0xfffffff0);
    ring.abort();
    EXPECT_EQ(get(8192 + 8), static_cast<uint32_t>(0xfffffff0 + kBuffer - 1)) << "positions wrap";
}

TEST_F(RingTest, Abort_LeavesWhatIsNoRing) {
    for (const uint32_t size : {0u, 1u, 3u, 5000u, 2u << 20, 0xffffffffu}) {
        set(2180, size);
        Ring ring(file_.get(), 0, kSize);
        ring.abort();
        EXPECT_EQ(get(2204), 0u) << "a buffer of " << size << " bytes is not in there";
    }
}

TEST_F(RingTest, MemoryThatCannotBeMappedIsNone) {
    EXPECT_FALSE(Ring(-1, 0, kSize));
    EXPECT_FALSE(Ring(file_.get(), 0, 12288));
    EXPECT_FALSE(Ring(file_.get(), 0, 0));
    EXPECT_FALSE(Ring(file_.get(), 1, kSize));
}

}  // namespace
}  // namespace swede::shim
