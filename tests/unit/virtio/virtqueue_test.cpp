// SPDX-License-Identifier: Apache-2.0
// What a well-behaved driver can expect of a queue.
#include "virtio/virtqueue.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>

#include "unit/virtio/driver.h"

namespace swede::virtio {
namespace {

using testing::DriverQueue;
using testing::read_request;
using testing::TestGuest;
using testing::to_bytes;

class QueueTest : public ::testing::Test {
  protected:
    void make_driver(const DriverQueue::Options& options) {
        driver = std::make_unique<DriverQueue>(guest, queue, options);
    }
    /// Pops one chain that must be there.
    Chain pop() {
        Chain chain;
        const auto popped = queue.pop(chain);
        EXPECT_TRUE(popped) << popped.error().message;
        EXPECT_TRUE(popped && *popped);
        return chain;
    }
    bool empty() {
        Chain chain;
        return !queue.pop(chain).value();
    }

    TestGuest guest;
    Virtqueue queue{guest.memory};
    std::unique_ptr<DriverQueue> driver;
};

/// Both ways to notify, both kinds of chain.
class EveryKindOfQueue : public QueueTest,
                         public ::testing::WithParamInterface<std::tuple<bool, bool>> {
  protected:
    EveryKindOfQueue() {
        make_driver({.size = 64,
                     .event_idx = std::get<0>(GetParam()),
                     .indirect = std::get<1>(GetParam())});
    }
};

INSTANTIATE_TEST_SUITE_P(Virtqueue, EveryKindOfQueue,
                         ::testing::Combine(::testing::Bool(), ::testing::Bool()),
                         [](const auto& kind) {
                             return std::string(std::get<0>(kind.param) ? "EventIdx" : "Flags") +
                                    (std::get<1>(kind.param) ? "Indirect" : "Direct");
                         });

TEST_P(EveryKindOfQueue, Request_IsReadAndAnswered) {
    const auto head = driver->add_request(to_bytes("what is the time"), 32);
    ASSERT_TRUE(head);
    const Chain chain = pop();
    EXPECT_EQ(chain.head, *head);
    EXPECT_EQ(chain.readable_size, 16u);
    EXPECT_EQ(chain.writable_size, 32u);
    EXPECT_EQ(read_request(queue, chain).value(), to_bytes("what is the time"));
    EXPECT_FALSE(driver->take_used());
    ASSERT_TRUE(queue.push(chain, to_bytes("late")));
    const auto used = driver->take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->head, *head);
    EXPECT_EQ(used->response, to_bytes("late"));
    EXPECT_TRUE(empty());
}

TEST_P(EveryKindOfQueue, ChainOfManyRanges_IsOneRequest) {
    const auto text = to_bytes("0123456789abcdef");
    std::vector<GuestRange> readable;
    for (uint32_t i = 0; i < 4; ++i) {
        readable.push_back({guest.allocate(4), 4});
        guest.fill(readable.back().address, std::span(text).subspan(i * 4, 4));
    }
    const std::vector<GuestRange> writable{{guest.allocate(3), 3}, {guest.allocate(5), 5}};
    ASSERT_TRUE(driver->add_buffer(readable, writable));
    const Chain chain = pop();
    EXPECT_EQ(read_request(queue, chain).value(), text);
    std::vector<std::byte> middle(6);
    ASSERT_TRUE(queue.read(chain, 3, middle));
    EXPECT_EQ(middle, to_bytes("345678"));
    ASSERT_TRUE(queue.push(chain, to_bytes("HELLO")));
    EXPECT_EQ(driver->take_used()->response, to_bytes("HELLO"));
}

TEST(Chain, KeepsTheRangesOfItsResponse) {
    for (const auto& [bytes, ranges] : {std::pair{0, 0}, {1, 1}, {3, 1}, {4, 2}, {9, 3}, {99, 3}}) {
        Chain chain;
        chain.writable = {{0x1000, 3}, {0x2000, 5}, {0x3000, 7}};
        chain.writable.reserve(4096);
        chain.writable_size = 15;
        chain.keep_writable(static_cast<uint64_t>(bytes));
        ASSERT_EQ(chain.writable.size(), static_cast<size_t>(ranges));
        EXPECT_LE(chain.writable.capacity(), 3U);
        EXPECT_EQ(chain.writable_size, 15U);
        if (!chain.writable.empty()) {
            EXPECT_EQ(chain.writable.back().address, 0x1000U * chain.writable.size());
        }
    }
}

TEST_P(EveryKindOfQueue, LongResponse_IsCutToTheRoom) {
    ASSERT_TRUE(driver->add_request(to_bytes("?"), 4));
    ASSERT_TRUE(driver->add_request(to_bytes("?"), 0));
    const Chain small = pop();
    const Chain none = pop();
    EXPECT_EQ(none.writable_size, 0u);
    ASSERT_TRUE(queue.push(none, to_bytes("lost")));
    EXPECT_EQ(driver->take_used()->response, to_bytes(""));
    ASSERT_TRUE(queue.push(small, to_bytes("too long")));
    EXPECT_EQ(driver->take_used()->response, to_bytes("too "));
}

TEST_P(EveryKindOfQueue, ReadPastTheRequest_IsAnError) {
    ASSERT_TRUE(driver->add_request(to_bytes("12345678"), 8));
    const Chain chain = pop();
    std::vector<std::byte> bytes(8);
    EXPECT_TRUE(queue.read(chain, 0, bytes));
    EXPECT_FALSE(queue.read(chain, 1, bytes));
    EXPECT_FALSE(queue.read(chain, 9, std::span(bytes).first(0)));
    EXPECT_FALSE(queue.read(chain, UINT64_MAX, bytes));
    EXPECT_TRUE(queue.read(chain, 8, std::span(bytes).first(0)));
    EXPECT_FALSE(queue.broken());
}

TEST_P(EveryKindOfQueue, Chains_MayComeBackInAnyOrder) {
    std::vector<uint16_t> heads;
    for (int i = 0; i < 5; ++i) heads.push_back(*driver->add_request(to_bytes("r"), 4));
    std::vector<Chain> chains;
    for (const uint16_t head : heads) EXPECT_EQ(chains.emplace_back(pop()).head, head);
    for (const int i : {3, 0, 4, 2, 1}) {
        ASSERT_TRUE(queue.push(chains[static_cast<size_t>(i)], {}));
        EXPECT_EQ(driver->take_used()->head, heads[static_cast<size_t>(i)]);
    }
}

TEST_P(EveryKindOfQueue, WholeQueue_MayBeOut) {
    std::vector<Chain> out;
    while (driver->add_request(to_bytes("x"), 0)) out.emplace_back();
    ASSERT_EQ(out.size(), 64u);
    for (Chain& chain : out) chain = pop();
    EXPECT_TRUE(empty());
    for (const Chain& chain : out) ASSERT_TRUE(queue.push(chain, {}));
    for (size_t i = 0; i < out.size(); ++i) EXPECT_TRUE(driver->take_used());
}

// The indices wrap at 65536, whatever the size.
TEST_P(EveryKindOfQueue, Indices_Wrap) {
    for (uint32_t i = 0; i < 70'000; ++i) {
        ASSERT_TRUE(driver->add_request(i, 4));
        ASSERT_TRUE(driver->kick_wanted()) << i;
        const Chain chain = pop();
        uint32_t request = 0;
        ASSERT_TRUE(queue.read(chain, 0, std::as_writable_bytes(std::span(&request, 1))));
        ASSERT_EQ(request, i);
        ASSERT_TRUE(empty());
        ASSERT_TRUE(queue.push(chain, {}));
        ASSERT_TRUE(queue.take_interrupt()) << i;
        ASSERT_FALSE(queue.take_interrupt()) << "once";
        ASSERT_TRUE(driver->take_used());
    }
}

TEST_P(EveryKindOfQueue, NotificationsOff_NoKickIsWanted) {
    queue.set_notifications(false);
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
        EXPECT_FALSE(driver->kick_wanted());
        if (i % 2 == 0) pop();
    }
    queue.set_notifications(true);
    for (int i = 0; i < 5; ++i) pop();
    EXPECT_TRUE(empty());
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
    EXPECT_TRUE(driver->kick_wanted());
}

// The driver adds between our last look and our turning notifications on.
TEST_P(EveryKindOfQueue, EntryBeforeNotificationsAreOn_IsSeenByTheNextPop) {
    queue.set_notifications(false);
    EXPECT_TRUE(empty());
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
    EXPECT_FALSE(driver->kick_wanted());
    queue.set_notifications(true);
    pop();
    EXPECT_TRUE(empty());
}

TEST_P(EveryKindOfQueue, DriverThatWantsNoInterrupts_GetsNone) {
    const auto serve_one = [&] {
        EXPECT_TRUE(driver->add_request(to_bytes("x"), 0));
        EXPECT_TRUE(queue.push(pop(), {}));
    };
    serve_one();
    EXPECT_TRUE(queue.take_interrupt());
    driver->set_interrupts(false);
    for (int i = 0; i < 20; ++i) {
        serve_one();
        EXPECT_FALSE(queue.take_interrupt()) << i;
    }
    while (driver->take_used()) {
    }
    driver->set_interrupts(true);
    serve_one();
    EXPECT_TRUE(queue.take_interrupt());
}

TEST_P(EveryKindOfQueue, NothingPushed_NoInterrupt) {
    EXPECT_FALSE(queue.take_interrupt());
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
    pop();
    EXPECT_FALSE(queue.take_interrupt());
}

TEST_P(EveryKindOfQueue, Reset_StartsFromTheBeginning) {
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
    const Chain chain = pop();
    queue.reset();
    EXPECT_FALSE(queue.enabled());
    EXPECT_EQ(queue.size(), 0);
    EXPECT_EQ(queue.next_available(), 0);
    EXPECT_EQ(queue.descriptors() + queue.available() + queue.used(), 0u);
    EXPECT_FALSE(queue.push(chain, {})) << "what was out before is forgotten";
    EXPECT_TRUE(empty());
    driver->attach();
    ASSERT_TRUE(driver->add_request(to_bytes("again"), 0));
    EXPECT_EQ(read_request(queue, pop()).value(), to_bytes("again"));
}

TEST_P(EveryKindOfQueue, AnswersWhileDisabled_AreWrittenOnEnable) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver->add_request(to_bytes("x"), 4));
    const Chain first = pop();
    const Chain second = pop();
    const Chain third = pop();
    const auto before = guest.bytes(first.writable[0].address, 4);
    const std::vector<std::byte> was(before.begin(), before.end());
    ASSERT_TRUE(queue.push(third, to_bytes("three")));
    EXPECT_EQ(driver->take_used()->response, to_bytes("thre"));

    queue.disable();
    ASSERT_TRUE(queue.push(first, to_bytes("one")));
    ASSERT_TRUE(queue.push(second, {}));
    EXPECT_FALSE(queue.push(first, to_bytes("one"))) << "once only";
    const auto after = guest.bytes(first.writable[0].address, 4);
    EXPECT_TRUE(std::ranges::equal(after, was)) << "The memory may be another system's by now.";
    ASSERT_TRUE(queue.enable(std::get<0>(GetParam())));
    EXPECT_TRUE(queue.take_interrupt());
    const auto used = driver->take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->head, first.head);
    EXPECT_EQ(used->response, to_bytes("one"));
    EXPECT_EQ(driver->take_used()->response, to_bytes(""));
}

TEST_P(EveryKindOfQueue, AnswersWhileDisabled_AreForgottenAtAReset) {
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 4));
    const Chain chain = pop();
    queue.disable();
    ASSERT_TRUE(queue.push(chain, to_bytes("one")));
    queue.reset();
    const auto found = guest.bytes(chain.writable[0].address, 4);
    const std::vector<std::byte> was(found.begin(), found.end());
    driver->attach();
    const auto now = guest.bytes(chain.writable[0].address, 4);
    EXPECT_TRUE(std::ranges::equal(now, was));
    EXPECT_FALSE(driver->take_used());
}

// A paused VM (vhost-user's GET_VRING_BASE), and a VMM that takes RAM away and puts it back.
TEST_P(EveryKindOfQueue, ChainsPushedWhileDisabled_AreGivenBackOnEnable) {
    const bool event_idx = std::get<0>(GetParam());
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver->add_request(to_bytes("x"), 4));
    const Chain first = pop();
    const Chain second = pop();
    queue.disable();
    EXPECT_TRUE(empty()) << "a disabled queue is not served";
    ASSERT_TRUE(queue.push(first, {}));
    EXPECT_FALSE(driver->take_used());
    EXPECT_FALSE(queue.take_interrupt());
    EXPECT_FALSE(queue.push(first, {})) << "still once only";
    EXPECT_EQ(queue.next_available(), 2);

    ASSERT_TRUE(queue.enable(event_idx));
    EXPECT_TRUE(queue.take_interrupt());
    EXPECT_EQ(driver->take_used()->head, first.head);
    ASSERT_TRUE(queue.push(second, {}));
    EXPECT_EQ(driver->take_used()->head, second.head);
    pop();
    EXPECT_TRUE(empty());
}

TEST_P(EveryKindOfQueue, RamThatGoesAndComesBack_LosesNothing) {
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(driver->add_request(to_bytes("x"), 4));
    const Chain first = pop();
    guest.unplug();
    EXPECT_TRUE(empty());
    EXPECT_FALSE(read_request(queue, first));
    ASSERT_TRUE(queue.push(first, to_bytes("x")));
    EXPECT_FALSE(queue.take_interrupt());
    EXPECT_FALSE(queue.looks_unshared());
    queue.set_notifications(false);
    queue.set_notifications(true);
    EXPECT_FALSE(driver->take_used());
    guest.plug();
    EXPECT_TRUE(queue.take_interrupt());
    const auto used = driver->take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->head, first.head);
    EXPECT_EQ(used->response, to_bytes("x"));
    pop();
    pop();
    EXPECT_TRUE(empty());
    EXPECT_FALSE(queue.broken());
}

// Another back end, or a restored VM, goes on where the rings stand.
TEST_P(EveryKindOfQueue, QueueGoesOn_FromVringBaseAndUsedIndex) {
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
        ASSERT_TRUE(queue.push(pop(), {}));
        ASSERT_TRUE(driver->take_used());
    }
    Virtqueue other(guest.memory);
    ASSERT_TRUE(other.set_size(64));
    other.set_addresses(queue.descriptors(), queue.available(), queue.used());
    other.set_next_available(queue.next_available());
    ASSERT_TRUE(other.enable(std::get<0>(GetParam())));
    const auto head = driver->add_request(to_bytes("y"), 0);
    EXPECT_TRUE(driver->kick_wanted());
    Chain chain;
    ASSERT_TRUE(other.pop(chain).value());
    EXPECT_EQ(chain.head, *head);
    ASSERT_TRUE(other.push(chain, {}));
    EXPECT_TRUE(other.take_interrupt());
    EXPECT_EQ(driver->take_used()->head, *head);
}

// EVENT_IDX, field by field (2.7.7.1, 2.7.10).

class EventIdx : public QueueTest {
  protected:
    EventIdx() { make_driver({.size = 16, .event_idx = true}); }
    void serve(int count) {
        for (int i = 0; i < count; ++i) {
            ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
            ASSERT_TRUE(queue.push(pop(), {}));
            ASSERT_TRUE(driver->take_used());
        }
    }
};

TEST_F(EventIdx, AvailEvent_IsWrittenAtEnableAndFollowsTheQueue) {
    guest.store(driver->used() + avail_event_offset(16), uint16_t{0x7777});
    queue.disable();
    ASSERT_TRUE(queue.enable(true));
    EXPECT_EQ(driver->avail_event(), 0);
    serve(3);
    EXPECT_TRUE(empty());
    EXPECT_EQ(driver->avail_event(), 3);
    EXPECT_EQ(driver->used_flags(), 0);
}

TEST_F(EventIdx, Flags_StayZeroWhenNotificationsAreOff) {
    serve(3);
    queue.set_notifications(false);
    EXPECT_EQ(driver->used_flags(), 0);
    EXPECT_EQ(driver->avail_event(), 2) << "the driver passes it after 65535 entries";
}

TEST_F(EventIdx, Interrupt_OnlyWhenUsedEventIsPassed) {
    serve(1);
    EXPECT_TRUE(queue.take_interrupt());
    driver->set_interrupts(false);
    driver->set_used_event(5);
    serve(4);  // used index 5: entry 5 is not written yet
    EXPECT_FALSE(queue.take_interrupt());
    serve(1);
    EXPECT_TRUE(queue.take_interrupt());
    serve(1);
    EXPECT_FALSE(queue.take_interrupt());
}

TEST_F(EventIdx, ManyPushedAtOnce_CountAsOneStep) {
    serve(1);
    EXPECT_TRUE(queue.take_interrupt());
    driver->set_interrupts(false);
    driver->set_used_event(6);
    serve(10);
    EXPECT_TRUE(queue.take_interrupt());
}

TEST_F(EventIdx, AvailableFlags_AreIgnored) {
    serve(1);
    EXPECT_TRUE(queue.take_interrupt());
    driver->set_interrupts(false);
    driver->set_used_event(1);
    driver->set_available_flags(kNoInterrupt);
    serve(1);
    EXPECT_TRUE(queue.take_interrupt());
}

TEST_F(EventIdx, PassesEvent_AgreesWithCounting) {
    std::vector<uint16_t> points{0, 1, 2, 3, 100, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff};
    for (const uint16_t event : points)
        for (const uint16_t before : points)
            for (const uint16_t steps : points) {
                bool expected = false;
                for (uint32_t i = 0; i < steps; ++i)
                    expected |= static_cast<uint16_t>(before + i) == event;
                EXPECT_EQ(passes_event(event, static_cast<uint16_t>(before + steps), before),
                          expected)
                    << event << " " << before << "+" << steps;
            }
}

class WithoutEventIdx : public QueueTest {
  protected:
    WithoutEventIdx() { make_driver({.size = 16, .event_idx = false}); }
};

TEST_F(WithoutEventIdx, UsedFlags_TellWhetherToNotify) {
    queue.set_notifications(false);
    EXPECT_EQ(driver->used_flags(), kNoNotify);
    queue.set_notifications(true);
    EXPECT_EQ(driver->used_flags(), 0);
}

TEST_F(WithoutEventIdx, EventFields_AreNotTouched) {
    guest.store(driver->used() + avail_event_offset(16), uint16_t{0x7777});
    queue.set_notifications(false);
    queue.set_notifications(true);
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
    ASSERT_TRUE(queue.push(pop(), {}));
    EXPECT_TRUE(empty());
    EXPECT_TRUE(queue.take_interrupt());
    EXPECT_EQ(driver->avail_event(), 0x7777);
}

// Large and small queues.

TEST_F(QueueTest, EverySize_Works) {
    for (uint16_t size = 1; size <= Virtqueue::kMaxSize; size *= 2) {
        queue.reset();
        make_driver({.size = size, .indirect = size == 1});
        for (int i = 0; i < 3; ++i) {
            for (int j = 0; j < std::max(1, size / 2); ++j)
                ASSERT_TRUE(driver->add_request(to_bytes("x"), 1)) << size;
            for (int j = 0; j < std::max(1, size / 2); ++j) ASSERT_TRUE(queue.push(pop(), {}));
            while (driver->take_used()) {
            }
        }
    }
}

TEST_F(QueueTest, ChainOfAllDescriptors_IsTaken) {
    make_driver({.size = 64, .indirect = false});
    const std::vector<GuestRange> ranges(64, {guest.allocate(16), 16});
    ASSERT_TRUE(driver->add_buffer(ranges, {}));
    EXPECT_EQ(pop().readable_size, 64u * 16);
}

// Linux puts a vmalloc'ed page list there, one entry a page, however small the queue is.
TEST_F(QueueTest, IndirectTable_MayBeLongerThanTheQueue) {
    make_driver({.size = 64});
    const std::vector<GuestRange> ranges(Virtqueue::kMaxIndirectEntries - 1,
                                         {guest.allocate(4096), 4096 - 4});
    const std::vector<GuestRange> writable{{guest.allocate(24), 24}};
    ASSERT_TRUE(driver->add_buffer(ranges, writable));
    const Chain chain = pop();
    EXPECT_EQ(chain.readable.size(), ranges.size());
    EXPECT_EQ(chain.writable_size, 24u);
}

// 2.7.5.3.2: descriptors before an indirect one count first; the table's write flag means nothing.
TEST_F(QueueTest, DirectDescriptorsBeforeAnIndirectOne_AreOneChain) {
    make_driver({.size = 16});
    const uint64_t request = guest.allocate(8);
    guest.fill(request, to_bytes("abcdefgh"));
    const uint64_t table = guest.allocate(32);
    guest.store(table, Descriptor{request + 4, 4, kDescriptorNext, 1});
    guest.store(table + 16, Descriptor{guest.allocate(8), 8, kDescriptorWrite, 0});
    driver->set_descriptor(5, {request, 4, kDescriptorNext, 9});
    driver->set_descriptor(9, {table, 32, kDescriptorIndirect | kDescriptorWrite, 0});
    driver->make_available(5);
    const Chain chain = pop();
    EXPECT_EQ(read_request(queue, chain).value(), to_bytes("abcdefgh"));
    EXPECT_EQ(chain.writable_size, 8u);
}

TEST_F(QueueTest, EmptyDescriptors_AreLeftOut) {
    make_driver({.size = 16});
    const uint64_t at = guest.allocate(16);
    driver->set_descriptor(0, {UINT64_MAX, 0, kDescriptorNext, 1});
    driver->set_descriptor(1, {at, 4, kDescriptorNext, 2});
    driver->set_descriptor(2, {0, 0, kDescriptorNext | kDescriptorWrite, 3});
    driver->set_descriptor(3, {at, 8, kDescriptorWrite, 0});
    driver->make_available(0);
    const Chain chain = pop();
    EXPECT_EQ(chain.readable.size(), 1u);
    EXPECT_EQ(chain.writable.size(), 1u);
    EXPECT_EQ(chain.readable_size, 4u);
}

TEST_F(QueueTest, BufferAcrossRegions_IsReadWhole) {
    make_driver({.size = 16});
    const uint64_t end = guest.base() + guest.size();
    const UniqueFd more = create_memfd("more", 8192).value();
    ASSERT_TRUE(guest.memory.add(end, 8192, more.duplicate(), 0, Access::kReadWrite));
    const auto text = to_bytes("across");
    ASSERT_TRUE(guest.memory.write(end - 3, text));
    const std::vector<GuestRange> ranges{{end - 3, 6}};
    ASSERT_TRUE(driver->add_buffer(ranges, {}));
    EXPECT_EQ(read_request(queue, pop()).value(), text);
}

// A VMM whose RAM is not shared (share=on is missing): we see zeroes for ever.
TEST_F(QueueTest, LooksUnshared_WhenRingAndTableAreZero) {
    make_driver({.size = 16});
    EXPECT_TRUE(queue.looks_unshared());
    ASSERT_TRUE(driver->add_request(to_bytes("x"), 0));
    EXPECT_FALSE(queue.looks_unshared());
}

TEST_F(QueueTest, LooksUnshared_NotWhenAnythingIsWritten) {
    make_driver({.size = 16});
    driver->set_available_flags(kNoInterrupt);
    EXPECT_FALSE(queue.looks_unshared());
    driver->set_available_flags(0);
    driver->set_available_entry(15, 1);
    EXPECT_FALSE(queue.looks_unshared());
    driver->set_available_entry(15, 0);
    driver->set_descriptor(15, {0, 0, 0, 1});
    EXPECT_FALSE(queue.looks_unshared());
    driver->set_descriptor(15, {});
    EXPECT_TRUE(queue.looks_unshared());
    queue.disable();
    EXPECT_FALSE(queue.looks_unshared());
}

}  // namespace
}  // namespace swede::virtio
