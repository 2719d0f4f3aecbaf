// SPDX-License-Identifier: Apache-2.0
#include "base/bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace swede {
namespace {

struct Pair {
    uint32_t first;
    uint32_t second;
};

std::vector<std::byte> counting(size_t size) {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i + 1);
    return bytes;
}

TEST(ByteReader, Read_ConsumesInOrder) {
    const auto bytes = counting(14);
    ByteReader reader(bytes);
    EXPECT_EQ(reader.read<uint16_t>().value(), 0x0201);
    const Pair pair = reader.read<Pair>().value();
    EXPECT_EQ(pair.first, 0x06050403u);
    EXPECT_EQ(pair.second, 0x0a090807u);
    EXPECT_EQ(reader.remaining(), 4u);
    EXPECT_EQ(reader.rest().data(), bytes.data() + 10);
    EXPECT_EQ(reader.read_bytes(4).value().data(), bytes.data() + 10);
    EXPECT_EQ(reader.remaining(), 0u);
}

TEST(ByteReader, ReadPastTheEnd_FailsAndConsumesNothing) {
    const auto bytes = counting(7);
    ByteReader reader(bytes);
    const auto pair = reader.read<Pair>();
    ASSERT_FALSE(pair);
    EXPECT_EQ(pair.error().code, ErrorCode::kInvalidParameter);
    EXPECT_EQ(pair.error().message, "The message has 7 bytes left where 8 are needed.");
    EXPECT_FALSE(reader.read_bytes(8));
    EXPECT_FALSE(reader.read_bytes(SIZE_MAX));
    EXPECT_EQ(reader.remaining(), 7u);
    EXPECT_TRUE(reader.read_bytes(7));
    EXPECT_FALSE(reader.read<uint8_t>());
    EXPECT_TRUE(reader.read_bytes(0));
}

TEST(ByteReader, Empty_HasNothing) {
    ByteReader reader({});
    EXPECT_FALSE(reader.read<uint8_t>());
    EXPECT_TRUE(reader.read_bytes(0).value().empty());
}

struct Padded {
    uint8_t first;
    uint32_t second;
};

// Invariant I4: padding holds whatever was in memory before, and must not reach a peer.
static_assert(PackedWireStruct<Pair>);
static_assert(!PackedWireStruct<Padded>);
static_assert(WireStruct<Padded>, "it may be read");

TEST(ByteWriter, Write_FillsInOrder) {
    std::array<std::byte, 12> buffer{};
    ByteWriter writer(buffer);
    EXPECT_TRUE(writer.write(uint32_t{0x04030201}));
    EXPECT_TRUE(writer.write(Pair{0x08070605, 0x0c0b0a09}));
    EXPECT_EQ(writer.written(), 12u);
    EXPECT_TRUE(std::ranges::equal(buffer, counting(12)));
}

TEST(ByteWriter, WritePastTheEnd_WritesNothing) {
    std::array<std::byte, 8> buffer{};
    const std::span first_six(buffer.data(), 6);
    ByteWriter writer{first_six};
    EXPECT_TRUE(writer.write(uint32_t{0x01010101}));
    EXPECT_FALSE(writer.write(uint32_t{0x02020202}));
    EXPECT_FALSE(writer.write_bytes(counting(3)));
    EXPECT_EQ(writer.written(), 4u);
    EXPECT_EQ(buffer[4], std::byte{0});
    EXPECT_TRUE(writer.write(uint16_t{0x0303}));
    EXPECT_FALSE(writer.write(uint8_t{4}));
    EXPECT_EQ(buffer[6], std::byte{0});
    EXPECT_TRUE(writer.write_bytes({}));
}

}  // namespace
}  // namespace swede
