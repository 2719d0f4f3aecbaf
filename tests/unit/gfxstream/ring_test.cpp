// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "base/checked.h"
#include "fake_executor.h"
#include "gfxstream/ring_layout.h"
#include "ring_guest.h"
#include "unit/rutabaga/recording_sink.h"

namespace swede::gfxstream {
namespace {

using namespace ring_layout;
using rutabaga::testing::RecordingSink;
using testing::FakeExecutor;
using testing::packet;
using testing::RingGuest;

constexpr rutabaga::ContextId kContext = 5;

/// A context with rings and the guest's ends of them.
struct RingTest : ::testing::Test {
    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
    std::shared_ptr<Budget> budget = Budget::create();
    std::shared_ptr<FakeExecutor::State> state = std::make_shared<FakeExecutor::State>();
    std::shared_ptr<ContextCore> context = std::make_shared<ContextCore>(kContext, sink, budget);

    struct Stream {
        std::shared_ptr<HostMemory> memory;
        std::shared_ptr<Ring> ring;
        std::unique_ptr<RingGuest> guest;
    };

    RingTest() { EXPECT_TRUE(context->open(testing::fake_executors(state))); }
    ~RingTest() override {
        state->open_gate();
        context->close();
        context->wait_for_threads();
        EXPECT_EQ(state->streams, 0);
        EXPECT_EQ(budget->used(BudgetKind::kRings), 0u);
    }
    Stream open() {
        Stream stream;
        stream.memory = *HostMemory::create(kSize, budget);
        auto ring = Ring::start(context, stream.memory);
        EXPECT_TRUE(ring) << ring.error().message;
        stream.ring = *ring;
        stream.guest =
            std::make_unique<RingGuest>(stream.memory->data(), [ring = *ring] { ring->ping(); });
        EXPECT_EQ(load(stream.memory->data(), kConfigBufferSize), kBufferSize);
        EXPECT_EQ(load(stream.memory->data(), kConfigFlushInterval), kFlushInterval);
        stream.guest->set_up();
        return stream;
    }
    [[nodiscard]] bool is_lost() { return !sink->losses(kContext).empty(); }
};

std::vector<std::byte> bytes_of_words(const std::vector<uint32_t>& words) {
    std::vector<std::byte> bytes(words.size() * sizeof(uint32_t));
    std::memcpy(bytes.data(), words.data(), bytes.size());
    return bytes;
}

TEST_F(RingTest, AnswersCalls) {
    Stream stream = open();
    for (uint32_t number = 1; number <= 200; ++number) {
        stream.guest->write(packet(testing::kEcho, {number, number * 3, 4}));
        ASSERT_EQ(stream.guest->read(8), bytes_of_words({number * 3, 4}));
    }
    EXPECT_FALSE(is_lost());
    stream.ring.reset();
}

TEST_F(RingTest, ABusyGuestPingsSeldom) {
    Stream stream = open();
    for (uint32_t number = 1; number <= 2000; ++number)
        stream.guest->write(packet(testing::kNote, {number, number}));
    state->wait_for_notes(2000);
    EXPECT_LT(stream.guest->pings(), 2000);
    for (uint32_t i = 0; i < 2000; ++i) ASSERT_EQ(state->notes[i], i + 1);
    stream.ring.reset();
}

TEST_F(RingTest, AnIdleRingSleepsAndWakes) {
    Stream stream = open();
    // A call needs no ping when the ring's last look before it sleeps finds it. So we go on until
    // 20 calls have found the ring asleep; a ring that never sleeps, or sleeps on, ends the test.
    uint32_t number = 0;
    for (const int pings = stream.guest->pings(); stream.guest->pings() < pings + 20;) {
        RingGuest::wait_until([&] { return stream.guest->must_notify(); });
        ASSERT_LT(++number, 10'000u);
        stream.guest->write(packet(testing::kEcho, {number, 9}));
        ASSERT_EQ(stream.guest->read(4), bytes_of_words({9}));
    }
    stream.ring.reset();
}

TEST_F(RingTest, LargeRequestsAndReplies) {
    Stream stream = open();
    // Larger than the ring: the reply is read while it is written.
    constexpr uint32_t kLarge = 5'000'000;
    stream.guest->write(packet(testing::kReplyOf, {1, kLarge}));
    const auto reply = stream.guest->read(kLarge);
    for (uint32_t i = 0; i < kLarge; ++i) ASSERT_EQ(reply[i], static_cast<std::byte>(i % 251)) << i;
    auto request = packet(testing::kEcho, {2}, 3'000'000);
    for (size_t i = 12; i < request.size(); ++i) request[i] = static_cast<std::byte>(i % 249);
    stream.guest->write(std::span(request).first(100));
    stream.guest->write_large(std::span(request).subspan(100));
    EXPECT_EQ(stream.guest->read(request.size() - 12),
              std::vector<std::byte>(request.begin() + 12, request.end()));
    stream.ring.reset();
}

TEST_F(RingTest, EightThreadsKeepTheOrderOfNumbers) {
    constexpr uint32_t kThreads = 8;
    constexpr uint32_t kNumbers = 4000;
    std::vector<Stream> streams;
    for (uint32_t i = 0; i < kThreads; ++i) streams.push_back(open());
    std::vector<std::thread> threads;
    std::atomic<uint32_t> next = 1;
    for (uint32_t thread = 0; thread < kThreads; ++thread)
        threads.emplace_back([&, thread] {
            RingGuest& guest = *streams[thread].guest;
            while (next <= kNumbers) {
                const uint32_t number = next++;  // each one that is taken is sent
                guest.write(packet(testing::kNote, {number, number}));
                if (number % 7 != 0) continue;
                const uint32_t call = next++;
                guest.write(packet(testing::kEcho, {call, call}));
                if (guest.read(4) != bytes_of_words({call})) std::abort();
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (Stream& stream : streams) stream.guest->wait_until_drained();
    const std::scoped_lock lock(state->mutex);
    EXPECT_TRUE(std::ranges::is_sorted(state->notes));
    EXPECT_GT(state->notes.size(), kNumbers / 2);
    streams.clear();
}

TEST_F(RingTest, ARelaxedCommandLetsOthersRun) {
    Stream waiter = open();
    Stream other = open();
    waiter.guest->write(packet(testing::kWaitRelaxed, {1}));
    state->wait_for_waiting(1);
    other.guest->write(packet(testing::kEcho, {2, 5}));
    EXPECT_EQ(other.guest->read(4), bytes_of_words({5}));
    state->open_gate();
    static_cast<void>(waiter.guest->read(4));
}

TEST_F(RingTest, UnnumberedCommandsTakeNoTurn) {
    Stream stream = open();
    stream.guest->write(packet(testing::kUnnumbered, {77}));
    state->wait_for_notes(1);
    EXPECT_EQ(state->notes[0], 77u);
    stream.guest->write(packet(testing::kEcho, {1, 5}));
    EXPECT_EQ(stream.guest->read(4), bytes_of_words({5}));
}

TEST_F(RingTest, BrokenProtocolLosesTheContextOnceAndAnswersAllRings) {
    Stream bad = open();
    Stream innocent = open();
    innocent.guest->write(packet(testing::kEcho, {70, 1}));  // its turn never comes
    bad.guest->write(packet(12345, {1}));
    ASSERT_TRUE(sink->run_until([&] { return is_lost(); }));
    EXPECT_NE(sink->losses(kContext)[0].find("12345"), std::string::npos);
    for (Stream* const stream : {&bad, &innocent}) {
        EXPECT_EQ(stream->guest->read(4), bytes_of_words({uint32_t(-4)}));
        EXPECT_FALSE(stream->guest->in_error()) << "Mesa 25.0.7 would read on for ever";
        // However much it reads.
        const auto more = stream->guest->read(3'000'000);
        EXPECT_EQ(std::vector<std::byte>(more.end() - 4, more.end()),
                  bytes_of_words({uint32_t(-4)}));
    }
    EXPECT_EQ(sink->losses(kContext).size(), 1u);
}

TEST_F(RingTest, EachWayToBreakTheProtocolLosesTheContext) {
    const std::vector<std::vector<std::byte>> bad{
        packet(0, {}),
        packet(testing::kEcho - 1, {1}),
        packet(UINT32_MAX, {1}),
        packet(testing::kEcho, {}),  // no number
        packet(testing::kFail, {1}),
        std::vector<std::byte>(8),  // no size
        std::vector<std::byte>(8, std::byte{0xff}),
    };
    for (size_t i = 0; i < bad.size(); ++i) {
        context->close();
        context->wait_for_threads();
        state = std::make_shared<FakeExecutor::State>();
        const auto id = static_cast<rutabaga::ContextId>(100 + i);
        context = std::make_shared<ContextCore>(id, sink, budget);
        ASSERT_TRUE(context->open(testing::fake_executors(state)));
        Stream stream = open();
        stream.guest->write(bad[i]);
        EXPECT_TRUE(sink->run_until([&] { return !sink->losses(id).empty(); })) << i;
        EXPECT_EQ(stream.guest->read(4), bytes_of_words({uint32_t(-4)})) << i;
    }
}

TEST_F(RingTest, ALostContextAnswersAThreadThatComesLate) {
    Stream early = open();
    const auto memory = *HostMemory::create(kSize, budget);
    const auto late = *Ring::start(context, memory);
    early.guest->write(packet(testing::kFail, {1}));
    ASSERT_TRUE(sink->run_until([&] { return is_lost(); }));
    RingGuest guest(memory->data(), [&] { late->ping(); });
    // Before it has spoken nothing is written: it would overwrite that with its first request.
    for (int i = 0; i < 100; ++i) {
        late->ping();
        ASSERT_EQ(guest.readable(), 0u);
    }
    guest.set_up();
    EXPECT_EQ(guest.read(4), bytes_of_words({uint32_t(-4)}));
}

TEST_F(RingTest, CloseEndsAThreadWhoseReaderIsStuck) {
    Stream stream = open();
    stream.guest->write(packet(testing::kReplyOf, {1, 3 * kBufferSize}));
    RingGuest::wait_until([&] { return stream.guest->readable() == kBufferSize - 1; });
    context->close();
    context->wait_for_threads();
    EXPECT_FALSE(is_lost());
}

TEST_F(RingTest, CloseEndsThreadsThatWait) {
    Stream in_command = open();
    Stream for_turn = open();
    Stream asleep = open();
    const auto memory = *HostMemory::create(kSize, budget);
    const auto never_pinged = *Ring::start(context, memory);
    in_command.guest->write(packet(testing::kWait, {1}));
    state->wait_for_waiting(1);
    for_turn.guest->write(packet(testing::kEcho, {2, 1}));
    asleep.guest->write(packet(testing::kUnnumbered, {1}));
    RingGuest::wait_until([&] { return asleep.guest->must_notify(); });
    context->close();
    context->wait_for_threads();
    EXPECT_FALSE(is_lost());
}

TEST_F(RingTest, AStuckDriverKeepsTheThreadAlone) {
    Stream stream = open();
    Stream other = open();
    stream.guest->write(packet(testing::kWaitStuck, {1}));
    state->wait_for_waiting(1);
    context->close();
    EXPECT_FALSE(
        context->wait_for_threads(ContextCore::Clock::now() + std::chrono::milliseconds(1)));
    stream.ring.reset();
    stream.memory.reset();  // the thread has its own
    state->open_gate();
    context->wait_for_threads();
}

TEST_F(RingTest, AStoppedRingEndsAndOthersGoOn) {
    Stream gone = open();
    Stream stays = open();
    gone.guest->write(packet(testing::kEcho, {1, 1}));
    static_cast<void>(gone.guest->read(4));
    gone.ring->stop();
    gone.ring.reset();
    gone.guest.reset();
    RingGuest::wait_until([&] { return budget->used(BudgetKind::kRings) == 1; });
    stays.guest->write(packet(testing::kEcho, {2, 6}));
    EXPECT_EQ(stays.guest->read(4), bytes_of_words({6}));
}

TEST_F(RingTest, RingsAreCounted) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kRings)] = 2;
    const auto few = Budget::create(limits);
    const auto poor = std::make_shared<ContextCore>(kContext, sink, few);
    ASSERT_TRUE(poor->open(testing::fake_executors(state)));
    std::vector<std::shared_ptr<Ring>> rings;
    for (int i = 0; i < 2; ++i)
        rings.push_back(*Ring::start(poor, *HostMemory::create(kSize, nullptr)));
    EXPECT_FALSE(Ring::start(poor, *HostMemory::create(kSize, nullptr)));
    rings.pop_back();  // its thread has it
    EXPECT_FALSE(Ring::start(poor, *HostMemory::create(kSize, nullptr)));
    poor->close();
    poor->wait_for_threads();
}

TEST_F(RingTest, MemoryThatIsTooSmallBecomesNoRing) {
    for (const uint64_t size : {uint64_t{1}, kRingsSize, kSize - kPageSize})
        EXPECT_FALSE(Ring::start(context, *HostMemory::create(size, nullptr))) << size;
}

}  // namespace
}  // namespace swede::gfxstream
