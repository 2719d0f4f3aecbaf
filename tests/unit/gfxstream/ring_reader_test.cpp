// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/ring_reader.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "gfxstream/reply_writer.h"
#include "gfxstream/ring_layout.h"
#include "ring_guest.h"

namespace swede::gfxstream {
namespace {

using namespace ring_layout;
using testing::packet;
using testing::RingGuest;
using Step = RingReader::Step;
using Packets = std::vector<std::vector<std::byte>>;

struct RingReaderTest : ::testing::Test {
    std::vector<uint64_t> words = std::vector<uint64_t>(kSize / sizeof(uint64_t));
    std::byte* memory = reinterpret_cast<std::byte*>(words.data());
    std::shared_ptr<Budget> budget = Budget::create();
    RingReader reader{memory, budget};
    RingGuest guest{memory, [] {}};

    /// All packets that are whole by now.
    std::vector<std::vector<std::byte>> take_packets() {
        std::vector<std::vector<std::byte>> packets;
        for (;;) {
            const auto step = reader.step();
            EXPECT_TRUE(step) << step.error().message;
            if (!step || *step == Step::kIdle) return packets;
            if (*step == Step::kProgress) continue;
            const Packet& found = reader.packet();
            const auto size = static_cast<uint32_t>(found.body.size() + 8);
            std::vector<std::byte> bytes(size);
            std::memcpy(bytes.data(), &found.opcode, 4);
            std::memcpy(bytes.data() + 4, &size, 4);
            if (!found.body.empty())
                std::memcpy(bytes.data() + 8, found.body.data(), found.body.size());
            packets.push_back(std::move(bytes));
        }
    }
    /// Steps until the protocol is found broken.
    bool breaks() {
        for (int i = 0; i < 100'000; ++i) {
            const auto step = reader.step();
            if (!step) return true;
            if (*step == Step::kIdle) return false;
        }
        return false;
    }
    void put_descriptor(uint32_t offset, uint32_t size) {
        const Descriptor descriptor{offset, size};
        const uint32_t at = load(memory, kToHost + kWritePosition);
        std::memcpy(memory + kToHost + kDescriptors + (at & (kDescriptorsSize - 1)), &descriptor,
                    sizeof(descriptor));
        store(memory, kToHost + kWritePosition, at + sizeof(descriptor));
    }
};

TEST_F(RingReaderTest, FreshMemoryIsIdle) {
    EXPECT_FALSE(reader.has_input());
    EXPECT_EQ(reader.step(), Step::kIdle);
    EXPECT_EQ(reader.capacity(), 0u);
}

TEST_F(RingReaderTest, FlagsThenPackets) {
    guest.set_up();
    guest.write(packet(1, {11}));
    guest.write(packet(2, {}));
    EXPECT_TRUE(reader.has_input());
    const auto packets = take_packets();
    ASSERT_EQ(packets.size(), 2u);
    EXPECT_EQ(packets[0], packet(1, {11}));
    EXPECT_EQ(packets[1], packet(2, {}));
    EXPECT_FALSE(reader.has_input());
    guest.wait_until_drained();
}

TEST_F(RingReaderTest, ManyPacketsInOneDescriptor) {
    guest.set_up();
    std::vector<std::byte> all;
    std::vector<std::vector<std::byte>> wanted;
    for (uint32_t i = 0; i < 500; ++i) {
        wanted.push_back(packet(i, {i, i}, i % 97));
        all.insert(all.end(), wanted.back().begin(), wanted.back().end());
    }
    guest.write(all);
    EXPECT_EQ(take_packets(), wanted);
}

TEST_F(RingReaderTest, APacketInPiecesOfOneByte) {
    guest.set_up();
    const auto wanted = packet(5, {1, 2, 3});
    for (size_t i = 0; i + 1 < wanted.size(); ++i) {
        guest.write(std::span(wanted).subspan(i, 1));
        EXPECT_TRUE(take_packets().empty()) << i;
    }
    guest.write(std::span(wanted).last(1));
    EXPECT_EQ(take_packets(), Packets{wanted});
}

TEST_F(RingReaderTest, AHeaderByType1AndItsPayloadByType3) {
    // So comes each vkQueueFlushCommandsGOOGLE.
    guest.set_up();
    const auto wanted = packet(20340, {1, 2, 3, 4, 5, 6, 7}, 156);
    guest.write(std::span(wanted).first(36));
    EXPECT_TRUE(take_packets().empty());
    guest.write_large(std::span(wanted).subspan(36));
    EXPECT_EQ(take_packets(), Packets{wanted});
    EXPECT_EQ(load(memory, kConfigTransferSize), 0u);
}

TEST_F(RingReaderTest, Type1AfterAnUndrainedType3ComesSecond) {
    guest.set_up();
    EXPECT_TRUE(take_packets().empty());
    const auto first = packet(1, {}, 4000);
    const auto second = packet(2, {}, 40);
    guest.write_large(first);
    guest.write(second);
    EXPECT_EQ(take_packets(), (Packets{first, second}));
}

TEST_F(RingReaderTest, TheLargeRingWraps) {
    guest.set_up();
    EXPECT_TRUE(take_packets().empty());
    std::mt19937 random(1);
    for (uint32_t i = 0; i < 40; ++i) {
        auto wanted = packet(i, {}, 8 + random() % 200'000);
        for (size_t at = 8; at < wanted.size(); ++at) wanted[at] = static_cast<std::byte>(random());
        guest.write_large(wanted, 300'000);
        ASSERT_EQ(take_packets(), Packets{wanted}) << i;
    }
}

TEST_F(RingReaderTest, PositionsWrap) {
    guest.set_up();
    for (uint32_t i = 0; i < 2000; ++i) {
        guest.write(packet(i, {i}));
        ASSERT_EQ(take_packets(), Packets{packet(i, {i})}) << i;
    }
    EXPECT_GT(load(memory, kToHost + kReadPosition), kDescriptorsSize);
}

TEST_F(RingReaderTest, TransferSizeBoundsWhatIsTaken) {
    guest.set_up();
    EXPECT_TRUE(take_packets().empty());
    // Bytes without a size are none of a request.
    store(memory, kToHostLarge + kWritePosition, 64);
    EXPECT_FALSE(reader.has_input());
    EXPECT_EQ(reader.step(), Step::kIdle);
    store(memory, kConfigTransferSize, 16);
    const auto wanted = packet(9, {1, 2});
    std::memcpy(memory + kBuffer, wanted.data(), wanted.size());
    EXPECT_EQ(take_packets(), Packets{wanted});
    EXPECT_EQ(load(memory, kToHostLarge + kReadPosition), 16u);
    EXPECT_EQ(load(memory, kConfigTransferSize), 0u);
    EXPECT_FALSE(reader.has_input());
}

TEST_F(RingReaderTest, TheModeIsNotLookedAt) {
    guest.set_up();
    for (const uint32_t mode : {0u, 1u, 2u, 3u, UINT32_MAX}) {
        store(memory, kConfigTransferMode, mode);
        guest.write(packet(mode, {mode}));
        EXPECT_EQ(take_packets(), Packets{packet(mode, {mode})});
    }
}

TEST_F(RingReaderTest, ReadPositionsOfTheGuestChangeNothing) {
    guest.set_up();
    EXPECT_TRUE(take_packets().empty());
    put_descriptor(0, 8);
    const auto wanted = packet(3, {});
    std::memcpy(memory + kBuffer, wanted.data(), wanted.size());
    store(memory, kToHost + kReadPosition, 0x12345);
    store(memory, kToHostLarge + kReadPosition, 77);
    EXPECT_EQ(take_packets(), Packets{wanted});
}

TEST_F(RingReaderTest, AnnouncedBytesCostNothingBeforeTheyArrive) {
    guest.set_up();
    std::vector<std::byte> header(8);
    const uint32_t size = RingReader::kMaxPacket;
    std::memcpy(header.data() + 4, &size, sizeof(size));
    guest.write(header);
    EXPECT_TRUE(take_packets().empty());
    EXPECT_LE(reader.capacity(), size_t{64} << 10);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), reader.capacity());
    const std::vector<std::byte> part(100'000);
    for (int i = 0; i < 50; ++i) {
        guest.write(part);
        EXPECT_TRUE(take_packets().empty());
    }
    EXPECT_LE(reader.capacity(), size_t{12} << 20);
}

TEST_F(RingReaderTest, MemoryOfALargePacketIsGivenBack) {
    guest.set_up();
    EXPECT_TRUE(take_packets().empty());
    const auto large = packet(1, {}, 5'000'000);
    for (size_t done = 0; done < large.size(); done += 200'000) {
        guest.write_large(
            std::span(large).subspan(done, std::min<size_t>(200'000, large.size() - done)));
        EXPECT_EQ(take_packets().size(), done + 200'000 >= large.size() ? 1u : 0u);
    }
    EXPECT_EQ(reader.step(), Step::kIdle);
    EXPECT_LE(reader.capacity(), RingReader::kKept);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), reader.capacity());
    guest.write(packet(2, {4}));
    EXPECT_EQ(take_packets(), Packets{packet(2, {4})});
}

TEST_F(RingReaderTest, PacketsOverTheBudgetBreak) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 100'000;
    RingReader poor(memory, Budget::create(limits));
    guest.set_up();
    guest.write(packet(1, {}, 250'000));
    bool broke = false;
    for (int i = 0; i < 10 && !broke; ++i) broke = !poor.step();
    EXPECT_TRUE(broke);
}

TEST_F(RingReaderTest, ImpossibleSizesBreak) {
    for (const uint32_t size : {0u, 1u, 7u, uint32_t{RingReader::kMaxPacket} + 1, UINT32_MAX}) {
        std::ranges::fill(words, 0);
        reader = RingReader(memory, budget);
        guest = RingGuest(memory, [] {});
        guest.set_up();
        std::vector<std::byte> header(8);
        std::memcpy(header.data() + 4, &size, sizeof(size));
        guest.write(header);
        EXPECT_TRUE(breaks()) << size;
    }
}

TEST_F(RingReaderTest, DescriptorsOutsideTheBufferBreak) {
    struct Bad {
        uint32_t offset;
        uint32_t size;
    };
    for (const Bad bad :
         {Bad{0, kBufferSize + 1}, Bad{kBufferSize, 1}, Bad{kBufferSize - 1, 2}, Bad{UINT32_MAX, 1},
          Bad{1, UINT32_MAX}, Bad{UINT32_MAX, UINT32_MAX}, Bad{0x80000000, 0x80000000}}) {
        std::ranges::fill(words, 0);
        reader = RingReader(memory, budget);
        put_descriptor(bad.offset, bad.size);
        EXPECT_TRUE(breaks()) << bad.offset << " " << bad.size;
    }
}

TEST_F(RingReaderTest, EmptyDescriptorsAndTheWholeBufferAreTaken) {
    put_descriptor(kBufferSize, 0);
    put_descriptor(0, 0);
    EXPECT_TRUE(take_packets().empty());
    auto wanted = packet(1, {}, kBufferSize - 4);
    std::memcpy(memory + kBuffer + 4, wanted.data(), wanted.size());
    put_descriptor(0, kBufferSize);
    EXPECT_EQ(take_packets(), Packets{wanted});
}

TEST_F(RingReaderTest, AnyPositionsAreSafe) {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        std::ranges::fill(words, 0);
        reader = RingReader(memory, budget);
        for (int i = 0; i < 20; ++i) {
            store(memory, kToHost + kWritePosition, static_cast<uint32_t>(random()));
            store(memory, kToHostLarge + kWritePosition, static_cast<uint32_t>(random()));
            store(memory, kConfigTransferSize, static_cast<uint32_t>(random() % 3 * random()));
            store(memory, kToHost + kReadPosition, static_cast<uint32_t>(random()));
            memory[kToHost + kDescriptors + random() % kDescriptorsSize] =
                static_cast<std::byte>(random());
            const auto step = reader.step();
            if (!step) break;
            EXPECT_LE(reader.capacity(), size_t{4} << 20);
        }
    }
}

TEST_F(RingReaderTest, DiscardedInputIsGone) {
    guest.set_up();
    guest.write(packet(1, {1}));
    guest.write(std::vector<std::byte>(20'000));
    store(memory, kConfigTransferSize, 500);
    store(memory, kToHostLarge + kWritePosition, 400);
    reader.discard_input();
    EXPECT_FALSE(reader.has_input());
    EXPECT_EQ(reader.step(), Step::kIdle);
    guest.wait_until_drained();
}

struct ReplyWriterTest : RingReaderTest {
    ReplyWriter replies{memory};
};

TEST_F(ReplyWriterTest, TheGuestReadsWhatWasWritten) {
    guest.set_up();
    std::mt19937 random(3);
    for (int i = 0; i < 200; ++i) {
        std::vector<std::byte> reply(random() % 60'000 + 1);
        for (std::byte& byte : reply) byte = static_cast<std::byte>(random());
        ASSERT_EQ(replies.write(reply), reply.size());
        ASSERT_EQ(guest.read(reply.size()), reply) << i;
    }
}

TEST_F(ReplyWriterTest, OneByteStaysFree) {
    guest.set_up();
    const std::vector<std::byte> reply(2 * kBufferSize, std::byte{1});
    EXPECT_EQ(replies.write(reply), kBufferSize - 1);
    EXPECT_EQ(replies.write(reply), 0u);
    static_cast<void>(guest.read(10));
    EXPECT_EQ(replies.write(reply), 10u);
    EXPECT_EQ(guest.readable(), kBufferSize - 1);
}

TEST_F(ReplyWriterTest, AnyPositionOfTheReaderIsSafe) {
    std::mt19937 random(9);
    const std::vector<std::byte> reply(3000, std::byte{1});
    for (int i = 0; i < 2000; ++i) {
        store(memory, kFromHostLarge + kReadPosition, static_cast<uint32_t>(random()));
        store(memory, kFromHostLarge + kWritePosition, static_cast<uint32_t>(random()));
        EXPECT_LE(replies.write(reply), reply.size());
    }
}

TEST_F(ReplyWriterTest, ALostDeviceIsSaidInEachWord) {
    guest.set_up();
    const std::vector<std::byte> reply(1001, std::byte{1});
    ASSERT_EQ(replies.write(reply), reply.size());
    replies.fill_with_device_lost();
    static_cast<void>(guest.read(reply.size()));
    for (int i = 0; i < 1000; ++i) {
        const auto word = guest.read(4);
        int32_t result = 0;
        std::memcpy(&result, word.data(), sizeof(result));
        ASSERT_EQ(result, -4) << i;
    }
    replies.fill_with_device_lost();
    EXPECT_GT(guest.readable(), kBufferSize - 5);
}

TEST_F(ReplyWriterTest, AGuestThatSetsUpItsSideLateIsToldToo) {
    replies.fill_with_device_lost();
    guest.set_up();
    EXPECT_EQ(guest.readable(), 0u);
    replies.fill_with_device_lost();
    EXPECT_GT(guest.readable(), 1000u);
}

}  // namespace
}  // namespace swede::gfxstream
