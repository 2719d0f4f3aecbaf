// SPDX-License-Identifier: Apache-2.0
// What a driver or VMM that breaks the rules can do to a queue: nothing but break it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/virtio/driver.h"
#include "virtio/virtqueue.h"

namespace swede::virtio {
namespace {

using testing::DriverQueue;
using ::testing::HasSubstr;
using testing::read_request;
using testing::TestGuest;
using testing::to_bytes;

constexpr uint16_t kSize = 16;

class HostileDriver : public ::testing::Test {
  protected:
    /// The next pop breaks the queue for this reason, and the queue stays broken until reset.
    void expect_broken(const char* why) {
        const auto popped = queue.pop(chain);
        ASSERT_FALSE(popped) << "nothing broke";
        EXPECT_EQ(popped.error().code, ErrorCode::kProtocol);
        EXPECT_THAT(popped.error().message, HasSubstr(why));
        EXPECT_TRUE(queue.broken());
        EXPECT_FALSE(queue.pop(chain).value()) << "served no more";
        EXPECT_FALSE(queue.take_interrupt());
        EXPECT_EQ(driver.used_index(), 0);

        queue.reset();
        driver.attach();
        EXPECT_FALSE(queue.broken());
        ASSERT_TRUE(driver.add_request(to_bytes("good again"), 0));
        ASSERT_TRUE(queue.pop(chain).value());
        EXPECT_EQ(read_request(queue, chain).value(), to_bytes("good again"));
    }
    void offer(const Descriptor& descriptor) {
        driver.set_descriptor(0, descriptor);
        driver.make_available(0);
    }
    /// Offers an indirect table with these entries.
    void offer_table(const std::vector<Descriptor>& entries) {
        const uint64_t table = guest.allocate(entries.size() * sizeof(Descriptor));
        guest.fill(table, std::as_bytes(std::span(entries)));
        offer({table, static_cast<uint32_t>(entries.size() * sizeof(Descriptor)),
               kDescriptorIndirect, 0});
    }

    TestGuest guest;
    Virtqueue queue{guest.memory};
    DriverQueue driver{guest, queue, {.size = kSize}};
    Chain chain;
    uint64_t page = guest.allocate(4096);
};

TEST_F(HostileDriver, HeadPastTheTable_BreaksTheQueue) {
    driver.make_available(kSize);
    expect_broken("names descriptor 16 of 16");
    driver.attach();
    driver.make_available(0xffff);
    queue.set_next_available(0);
    expect_broken("names descriptor 65535 of 16");
}

TEST_F(HostileDriver, NextPastTheTable_BreaksTheQueue) {
    offer({page, 16, kDescriptorNext, kSize});
    expect_broken("goes on at descriptor 16 of 16");
}

TEST_F(HostileDriver, ChainToItself_BreaksTheQueue) {
    offer({page, 16, kDescriptorNext, 0});
    expect_broken("longer than the queue (16), or a loop");
}

TEST_F(HostileDriver, LoopOfEmptyDescriptors_BreaksTheQueue) {
    driver.set_descriptor(1, {page, 0, kDescriptorNext, 0});
    offer({page, 0, kDescriptorNext, 1});
    expect_broken("or a loop");
}

TEST_F(HostileDriver, ReadableAfterWritable_BreaksTheQueue) {
    driver.set_descriptor(1, {page, 16, 0, 0});
    offer({page, 16, kDescriptorWrite | kDescriptorNext, 1});
    expect_broken("readable descriptor after a writable one");
}

TEST_F(HostileDriver, ReadableAfterWritableInATable_BreaksTheQueue) {
    offer_table({{page, 16, kDescriptorWrite | kDescriptorNext, 1}, {page, 16, 0, 0}});
    expect_broken("readable descriptor after a writable one");
}

TEST_F(HostileDriver, IndirectAndChained_BreaksTheQueue) {
    offer({page, 16, kDescriptorIndirect | kDescriptorNext, 1});
    expect_broken("both indirect and chained");
}

TEST_F(HostileDriver, TableInsideATable_BreaksTheQueue) {
    offer_table({{page, 16, kDescriptorIndirect, 0}});
    expect_broken("inside another");
}

TEST_F(HostileDriver, TableOfWrongLength_BreaksTheQueue) {
    for (const uint32_t length : {0u, 1u, 15u, 17u, 40u, 0xffffffffu}) {
        queue.reset();
        driver.attach();
        offer({page, length, kDescriptorIndirect, 0});
        expect_broken("not a multiple of 16");
    }
}

TEST_F(HostileDriver, TableTooLong_BreaksTheQueue) {
    offer({guest.base(), (Virtqueue::kMaxIndirectEntries + 1) * 16, kDescriptorIndirect, 0});
    expect_broken("more than 16400");
    queue.reset();
    driver.attach();
    offer({guest.base(), 0xfffffff0, kDescriptorIndirect, 0});
    expect_broken("more than 16400");
}

TEST_F(HostileDriver, TableOutsideMemory_BreaksTheQueue) {
    for (const uint64_t address :
         {uint64_t{0}, guest.base() + guest.size() - 16, UINT64_MAX - 31, UINT64_MAX - 3}) {
        queue.reset();
        driver.attach();
        offer({address, 32, kDescriptorIndirect, 0});
        expect_broken("outside memory");
    }
}

TEST_F(HostileDriver, NextPastTheIndirectTable_BreaksTheQueue) {
    offer_table({{page, 16, kDescriptorNext, 2}, {page, 16, 0, 0}});
    expect_broken("goes on at entry 2 of an indirect table of 2");
}

TEST_F(HostileDriver, LoopInATable_BreaksTheQueue) {
    offer_table({{page, 0, kDescriptorNext, 1}, {page, 0, kDescriptorNext, 0}});
    expect_broken("loop in its indirect table of 2");
}

TEST_F(HostileDriver, AvailableIndexTooFarAhead_BreaksTheQueue) {
    driver.set_available_index(kSize + 1);
    expect_broken("17 entries ahead of 0, in a queue of 16");
}

TEST_F(HostileDriver, AvailableIndexThatGoesBack_BreaksTheQueue) {
    driver.set_available_index(0xffff);
    expect_broken("65535 entries ahead");
}

// Also when the index jumps while we look a second time, after turning notifications on.
TEST_F(HostileDriver, AvailableIndexFoundByTheSecondLook_IsCheckedToo) {
    queue.set_notifications(false);
    driver.set_available_index(kSize + 5);
    queue.set_notifications(true);
    expect_broken("21 entries ahead");
}

TEST_F(HostileDriver, ChainTwice_BreaksTheQueue) {
    offer({page, 16, 0, 0});
    driver.make_available(0);
    ASSERT_TRUE(queue.pop(chain).value());
    expect_broken("names chain 0 again");
}

TEST_F(HostileDriver, ChainAgainAfterItCameBack_IsAllowed) {
    for (int i = 0; i < 3; ++i) {
        offer({page, 16, 0, 0});
        ASSERT_TRUE(queue.pop(chain).value());
        ASSERT_TRUE(queue.push(chain, {}));
    }
}

TEST_F(HostileDriver, ChainOfTooManyBytes_BreaksTheQueue) {
    const uint32_t half = Virtqueue::kMaxChainBytes / 2;
    offer_table({{page, half, kDescriptorNext, 1}, {page, half, 0, 0}});
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(chain.readable_size, Virtqueue::kMaxChainBytes);
    queue.reset();
    driver.attach();
    offer_table({{page, half, kDescriptorNext, 1}, {page, half + 1, 0, 0}});
    expect_broken("more than 67108864 bytes");
    queue.reset();
    driver.attach();
    offer_table({{page, half, kDescriptorNext, 1}, {page, 0xffffffff, kDescriptorWrite, 0}});
    expect_broken("more than 67108864 bytes");
    queue.reset();
    driver.attach();
    offer({page, 0xffffffff, 0, 0});
    expect_broken("more than 67108864 bytes");
}

TEST_F(HostileDriver, BufferOutsideMemory_IsAnErrorOfThatRequestOnly) {
    for (const GuestRange& range : std::vector<GuestRange>{{0, 64},
                                                           {UINT64_MAX - 63, 64},
                                                           {UINT64_MAX - 7, 64},
                                                           {guest.base() + guest.size() - 1, 64},
                                                           {guest.base() - 1, 64}}) {
        const std::vector<GuestRange> ranges{range};
        ASSERT_TRUE(driver.add_buffer(ranges, ranges));
        ASSERT_TRUE(queue.pop(chain).value());
        EXPECT_FALSE(read_request(queue, chain));
        EXPECT_TRUE(queue.push(chain, to_bytes(std::string(64, 'x'))));
        EXPECT_EQ(driver.take_used()->written, 0u);
        EXPECT_FALSE(queue.broken());
    }
}

// Single fetch: what was checked is what is used.
TEST_F(HostileDriver, DescriptorsThatChangeAfterwards_ChangeNothing) {
    const std::vector<GuestRange> readable{{page, 4}, {page + 4, 4}};
    const auto head = driver.add_buffer(readable, {});
    guest.fill(page, to_bytes("12345678"));
    ASSERT_TRUE(queue.pop(chain).value());
    for (uint16_t i = 0; i < kSize; ++i) driver.set_descriptor(i, {0, 0xffffffff, 7, 0xffff});
    std::memset(guest.at(driver.available()), 0xff, available_ring_size(kSize, true));
    EXPECT_EQ(read_request(queue, chain).value(), to_bytes("12345678"));
    EXPECT_EQ(chain.head, *head);
    EXPECT_TRUE(queue.push(chain, {}));
}

TEST_F(HostileDriver, BrokenQueue_TakesNoPushEither) {
    offer({page, 16, 0, 0});
    ASSERT_TRUE(queue.pop(chain).value());
    const Chain taken = chain;
    driver.make_available(kSize);
    ASSERT_FALSE(queue.pop(chain));
    EXPECT_EQ(queue.push(taken, {}).error().code, ErrorCode::kProtocol);
    EXPECT_EQ(driver.used_index(), 0);
}

TEST_F(HostileDriver, PushOfWhatIsNotOut_IsAnError) {
    for (const uint16_t head : {0, 5, 15, 16, 1024, 0xffff}) {
        chain.head = head;
        EXPECT_EQ(queue.push(chain, {}).error().code, ErrorCode::kInvalidParameter);
    }
    offer({page, 16, 0, 0});
    EXPECT_FALSE(queue.push({}, {})) << "offered, not taken";
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_TRUE(queue.push(chain, {}));
    EXPECT_FALSE(queue.push(chain, {}));
    EXPECT_EQ(driver.used_index(), 1);
}

// CVE-2024-3446 (QEMU's virtio devices): a request whose buffers are the device's own rings or
// registers re-enters the device, and one chain is completed twice.
class DmaReentrancy : public HostileDriver {
  protected:
    /// Serves everything with a response of 0xff bytes that fills its room; counts by head.
    std::vector<int> serve() {
        std::vector<int> completions(kSize);
        for (int turns = 0; turns < 1000; ++turns) {
            const auto popped = queue.pop(chain);
            if (!popped || !*popped) break;
            (void)read_request(queue, chain);
            const std::vector<std::byte> response(chain.writable_size, std::byte{0xff});
            if (queue.push(chain, response)) ++completions[chain.head];
            EXPECT_FALSE(queue.push(chain, {})) << "a second completion";
        }
        return completions;
    }
};

TEST_F(DmaReentrancy, ResponseIntoTheUsedRing_CompletesOnce) {
    for (int i = 0; i < 3; ++i) {
        const std::vector<GuestRange> ring{{driver.used(), 4 + kSize * 8 + 2}};
        ASSERT_TRUE(driver.add_buffer({}, ring));
    }
    const auto completions = serve();
    EXPECT_EQ(std::ranges::count(completions, 1), 3);
    EXPECT_EQ(std::ranges::count(completions, 0), kSize - 3);
    EXPECT_EQ(driver.used_index(), 3) << "our own count, whatever the response wrote there";
    EXPECT_FALSE(queue.broken());
}

TEST_F(DmaReentrancy, ResponseIntoTheAvailableRing_CompletesOnceAndBreaksTheQueue) {
    const std::vector<GuestRange> ring{{driver.available(), 4 + kSize * 2}};
    ASSERT_TRUE(driver.add_buffer({}, ring));
    EXPECT_EQ(std::ranges::count(serve(), 1), 1);
    EXPECT_TRUE(queue.broken()) << "the index is 65535 now";
    EXPECT_EQ(driver.used_index(), 1);
}

TEST_F(DmaReentrancy, ResponseIntoTheDescriptors_ChangesNoChainThatIsOut) {
    const std::vector<GuestRange> table{{driver.descriptors(), kSize * 16}};
    ASSERT_TRUE(driver.add_buffer({}, table));
    EXPECT_EQ(std::ranges::count(serve(), 1), 1);
    EXPECT_EQ(driver.used_index(), 1);
}

TEST_F(DmaReentrancy, RequestInTheRings_IsJustBytes) {
    const std::vector<GuestRange> rings{{driver.descriptors(), kSize * 16},
                                        {driver.available(), 4 + kSize * 2},
                                        {driver.used(), 4 + kSize * 8}};
    ASSERT_TRUE(driver.add_buffer(rings, rings));
    EXPECT_EQ(std::ranges::count(serve(), 1), 1);
}

// A BAR is mapped back to us by vfio-user without a file: there is nothing to re-enter.
TEST_F(DmaReentrancy, BufferInDeviceMemory_IsRefused) {
    constexpr uint64_t kBar = uint64_t{1} << 40;
    ASSERT_TRUE(guest.memory.add(kBar, 1 << 20, {}, 0, Access::kReadWrite));
    const std::vector<GuestRange> bar{{kBar + 0x3000, 64}};
    ASSERT_TRUE(driver.add_buffer(bar, bar));
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_FALSE(read_request(queue, chain));
    EXPECT_TRUE(queue.push(chain, to_bytes("kick")));
    EXPECT_EQ(driver.take_used()->written, 0u);
}

// A transport or VMM that sets a queue up wrongly.

class HostileSetup : public ::testing::Test {
  protected:
    HostileSetup() { EXPECT_TRUE(queue.set_size(kSize)); }
    bool enable(uint64_t descriptors, uint64_t available, uint64_t used) {
        queue.set_addresses(descriptors, available, used);
        const bool enabled = queue.enable(true).has_value();
        EXPECT_EQ(queue.enabled(), enabled);
        Chain chain;
        EXPECT_FALSE(queue.pop(chain).value());
        queue.disable();
        return enabled;
    }

    TestGuest guest;
    Virtqueue queue{guest.memory};
    uint64_t base = guest.base();
    uint64_t end = guest.base() + guest.size();
};

TEST_F(HostileSetup, ImpossibleSizes_AreErrors) {
    for (const uint16_t size : {0, 3, 48, 1023, 1025, 2048, 32768, 65535})
        EXPECT_FALSE(queue.set_size(size)) << size;
    EXPECT_EQ(queue.size(), kSize);
}

TEST_F(HostileSetup, QueueWithoutSizeOrAddresses_CannotBeEnabled) {
    Virtqueue bare(guest.memory);
    EXPECT_FALSE(bare.enable(true));
    EXPECT_FALSE(bare.enabled());
    ASSERT_TRUE(bare.set_size(16));
    EXPECT_FALSE(bare.enable(true)) << "address 0 is not RAM";
}

TEST_F(HostileSetup, RingsOutsideMemory_AreErrors) {
    EXPECT_TRUE(enable(base, base + 0x1000, base + 0x2000));
    EXPECT_FALSE(enable(base - 16, base + 0x1000, base + 0x2000));
    EXPECT_FALSE(enable(end - 16 * kSize + 16, base + 0x1000, base + 0x2000));
    EXPECT_FALSE(enable(base, end - 4, base + 0x2000));
    EXPECT_FALSE(enable(base, end - (4 + 2 * kSize), base + 0x2000)) << "used_event is outside";
    EXPECT_FALSE(enable(base, base + 0x1000, end - (4 + 8 * kSize)));
    EXPECT_FALSE(enable(UINT64_MAX - 15, base + 0x1000, base + 0x2000));
    EXPECT_FALSE(enable(base, UINT64_MAX - 1, base + 0x2000));
    EXPECT_FALSE(enable(base, base + 0x1000, UINT64_MAX - 3));
    EXPECT_TRUE(enable(end - 16 * kSize, base + 0x1000, base + 0x2000)) << "to the last byte";
}

TEST_F(HostileSetup, MisalignedRings_AreErrors) {
    EXPECT_FALSE(enable(base + 8, base + 0x1000, base + 0x2000));
    EXPECT_FALSE(enable(base, base + 0x1001, base + 0x2000));
    EXPECT_FALSE(enable(base, base + 0x1000, base + 0x2002));
    EXPECT_TRUE(enable(base + 16, base + 0x1002, base + 0x2004));
}

// The guest's address is aligned, but the VMM shares its file at an odd offset.
TEST_F(HostileSetup, RingsMisalignedByTheVmm_AreErrors) {
    constexpr uint64_t kOdd = 0x8000'0000;
    const UniqueFd fd = create_memfd("odd", 65536).value();
    for (const uint64_t offset : {1, 2, 3}) {
        ASSERT_TRUE(guest.memory.add(kOdd, 32768, fd.duplicate(), offset, Access::kReadWrite));
        EXPECT_FALSE(enable(kOdd, kOdd + 0x1000, kOdd + 0x2000)) << offset;
        EXPECT_EQ(enable(base, kOdd + 0x1000, base + 0x2000), offset == 2);
        EXPECT_TRUE(enable(kOdd, base + 0x1000, base + 0x2000)) << "descriptors are copied";
        ASSERT_TRUE(guest.memory.remove(kOdd, 32768));
    }
}

TEST_F(HostileSetup, RingsInReadOnlyMemory_AreErrorsForTheUsedRingOnly) {
    const UniqueFd fd = create_memfd("rom", 4096).value();
    ASSERT_TRUE(guest.memory.add(0, 4096, fd.duplicate(), 0, Access::kRead));
    EXPECT_TRUE(enable(0, 0x400, base));
    EXPECT_FALSE(enable(0, 0x400, 0x800));
}

TEST_F(HostileSetup, RingsInUnsharedMemory_SayWhatIsMissing) {
    ASSERT_TRUE(guest.memory.add(0, 65536, {}, 0, Access::kReadWrite));
    queue.set_addresses(0x1000, 0x2000, 0x3000);
    const auto enabled = queue.enable(true);
    ASSERT_FALSE(enabled);
    EXPECT_THAT(enabled.error().message, HasSubstr("share=on is missing"));
}

TEST_F(HostileSetup, RingsOnTopOfEachOther_DoNoHarm) {
    queue.set_addresses(base, base, base);
    ASSERT_TRUE(queue.enable(true));
    Chain chain;
    for (int i = 0; i < 200; ++i) {
        guest.store(base + 2, static_cast<uint16_t>(queue.next_available() + 1));
        const auto popped = queue.pop(chain);
        if (!popped) break;
        EXPECT_TRUE(!*popped || queue.push(chain, {}));
        (void)queue.take_interrupt();
    }
}

TEST_F(HostileSetup, AddressesThatMoveWhileEnabled_AreCheckedAgain) {
    queue.set_addresses(base, base + 0x1000, base + 0x2000);
    ASSERT_TRUE(queue.enable(true));
    queue.set_addresses(0, 0, 0);
    Chain chain;
    EXPECT_FALSE(queue.pop(chain).value());
    EXPECT_FALSE(queue.take_interrupt());
    queue.set_addresses(base, base + 0x1000, base + 0x2000);
    guest.store(base, Descriptor{base, 16, 0, 0});
    guest.store(base + 0x1002, uint16_t{1});
    EXPECT_TRUE(queue.pop(chain).value());
}

TEST_F(HostileSetup, SizeThatChangesWhileChainsAreOut_IsAnError) {
    DriverQueue driver(guest, queue, {.size = kSize});
    ASSERT_TRUE(driver.add_request(to_bytes("x"), 0));
    Chain chain;
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_FALSE(queue.set_size(8));
    EXPECT_TRUE(queue.set_size(kSize));
    ASSERT_TRUE(queue.push(chain, {}));
    EXPECT_TRUE(queue.set_size(8));
}

}  // namespace
}  // namespace swede::virtio
