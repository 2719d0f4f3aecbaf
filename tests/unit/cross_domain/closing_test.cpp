// SPDX-License-Identifier: Apache-2.0
// Files of a compositor whose close() waits.
#include <chrono>

#include "guest.h"
#include "unit/base/lingering_socket.h"

namespace swede::cross_domain::testing {
namespace {

using swede::testing::LingeringSocket;

struct ClosingTest : CrossDomainTest {
    LingeringSocket lingering;

    ~ClosingTest() override {
        lingering.socket.reset();
        lingering.peer.reset();
    }
    /// The last that has it is the connection.
    void say_lingering(std::string_view text, int copies = 1) {
        say(text, std::vector<int>(static_cast<size_t>(copies), lingering.socket.get()));
        lingering.socket.reset();
    }
    /// Much less than what the socket would wait.
    void expect_soon(const auto& call) {
        const auto start = std::chrono::steady_clock::now();
        call();
        EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(15));
    }
};

TEST_F(ClosingTest, AFileThatLingersHoldsUpNoMessage) {
    connect();
    say_lingering("x");
    expect_soon([&] {
        EXPECT_EQ(next_message().identifiers.size(), 1u);
        say("next");
        EXPECT_EQ(text_of(next_message().bytes), "next");
        destroy_context();
    });
    EXPECT_TRUE(sink->run_until([] { return files_to_close() == 1; })) << "the connection goes";
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 1u) << "it is charged until it is closed";
    lingering.peer.reset();
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 0u);
}

TEST_F(ClosingTest, OneThatLiesUnreadHoldsUpNoContext) {
    connect();
    say_lingering("x");
    expect_soon([&] {
        destroy_context();
        EXPECT_TRUE(is_closed_for_compositor());
    });
    EXPECT_EQ(files_to_close(), 1u) << "the connection";
}

TEST_F(ClosingTest, NorAReset) {
    connect();
    say_lingering("x");
    expect_soon([&] {
        EXPECT_TRUE(wait_for([&](auto done) { renderer->reset(std::move(done)); }));
        connect();
        say("again");
        EXPECT_EQ(text_of(next_message().bytes), "again");
    });
}

/// What is left of a message when its context goes.
TEST_F(ClosingTest, NorDoOnesThatAreStillToBeTold) {
    connect();
    say_lingering("0123456789", 60);
    expect_soon([&] {
        EXPECT_EQ(next_message().identifiers.size(), 28u);
        destroy_context();
    });
}

/// More files than may be received end the stream.
TEST_F(ClosingTest, NorDoOnesOverTheLimit) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 5;
    renderer.reset();
    budget = Budget::create(limits);
    start({{{ChannelType::kWayland, listener.path()}}});
    connect();
    say_lingering("x", 20);
    expect_soon([&] {
        EXPECT_TRUE(is_end(next_message()));
        EXPECT_TRUE(is_closed_for_compositor());
    });
}

}  // namespace
}  // namespace swede::cross_domain::testing
