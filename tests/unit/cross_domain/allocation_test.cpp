// SPDX-License-Identifier: Apache-2.0
// Counts heap allocations of a channel that is in its stride: those of the device's thread and of
// the reactor's.
#include <thread>

#include "base/bytes.h"
#include "guest.h"
#include "unit/base/allocation_counter.h"

namespace swede::cross_domain::testing {
namespace {

using swede::testing::allocations;

/// Takes reports without a container.
class SilentSink final : public rutabaga::CompletionSink {
  public:
    void post(std::move_only_function<void()> task) override { task(); }
    void fence_done(uint64_t ticket) override { done = ticket; }
    void context_lost(rutabaga::ContextId, Error) override {}
    std::atomic<uint64_t> done = 0;
};

TEST(Allocation, ARoundTripAllocatesNothing) {
    const Listener listener;
    const auto sink = std::make_shared<SilentSink>();
    const auto budget = Budget::create();
    GuestPages pages(4096);
    const auto ring = pages.backing();
    const auto renderer =
        *CrossDomainRenderer::create({{{ChannelType::kWayland, listener.path()}}}, sink, budget);
    renderer->create_context(1, {5, ""}, {sink, [](Result<void>) {}});
    renderer->attach_resource(1, 10, {4096, ring});
    const InitTwoRings init{{1, 0, sizeof(InitTwoRings), 0}, 10, 10, 1};
    ASSERT_TRUE(renderer->submit(1, std::nullopt, bytes_of(init)));
    const UniqueFd compositor = listener.accept();

    std::array<std::byte, 352 + 12> send{};
    const SendReceive head{{4, 0, sizeof(send), 0}, 0, 12};
    std::memcpy(send.data(), &head, sizeof(head));
    const std::array<uint64_t, 2> poll{0x100003, 0};
    uint64_t ticket = 0;
    const auto round_trip = [&](bool asks_late) {
        ASSERT_TRUE(renderer->submit(1, std::nullopt, send));
        char heard[64];
        ASSERT_EQ(::recv(compositor.get(), heard, sizeof(heard), 0), 12);
        if (asks_late) {
            ASSERT_EQ(::send(compositor.get(), heard, 12, 0), 12);
        }
        ASSERT_TRUE(renderer->submit(1, std::nullopt, std::as_bytes(std::span(poll))));
        renderer->create_fence({++ticket, ticket, 1, uint8_t{kChannelRing}});
        if (!asks_late) {
            ASSERT_EQ(::send(compositor.get(), heard, 12, 0), 12);
        }
        while (sink->done != ticket) std::this_thread::yield();
    };
    for (int i = 0; i < 200; ++i) round_trip(i % 2 != 0);  // containers grow to their size
    const uint64_t before = allocations.load();
    ASSERT_NE(before, 0u) << "the counter counts";
    for (int i = 0; i < 1000; ++i) round_trip(i % 2 != 0);
    EXPECT_EQ(allocations.load(), before);
    ring->revoke();
}

}  // namespace
}  // namespace swede::cross_domain::testing
