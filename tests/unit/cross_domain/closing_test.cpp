// SPDX-License-Identifier: Apache-2.0
// Files of a compositor whose close() waits.
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <system_error>

#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

/// A TCP socket whose close() waits half a minute, or until `peer` is closed.
struct LingeringSocket {
    UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    UniqueFd peer;

    LingeringSocket() {
        const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener.get(), any, size) != 0 || ::listen(listener.get(), 1) != 0 ||
            ::getsockname(listener.get(), any, &size) != 0 ||
            ::connect(socket.get(), any, size) != 0)
            throw std::system_error(errno, std::generic_category(), "connect");
        peer = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const linger wait{1, 30};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof(wait));
        const std::string bytes(1 << 20, 'x');
        while (::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
        }
    }
};

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
