// SPDX-License-Identifier: Apache-2.0
// INIT in its sizes, and what it connects to.
#include <cstdlib>

#include "cross_domain/compositor.h"
#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

using InitTest = CrossDomainTest;

/// The environment as it was, afterwards.
class Variable {
  public:
    Variable(const char* name, const char* value) : name_(name) {
        if (const char* const before = std::getenv(name)) before_ = before;
        if (value != nullptr)
            ::setenv(name, value, 1);
        else
            ::unsetenv(name);
    }
    ~Variable() {
        if (before_)
            ::setenv(name_, before_->c_str(), 1);
        else
            ::unsetenv(name_);
    }

  private:
    const char* name_;
    std::optional<std::string> before_;
};

TEST_F(InitTest, AllFourSizes) {
    const Bytes sizes[] = {
        command(Command::kInit, 16, {kRing, 1}),
        command(Command::kInit, 20, {kQueryRing, kRing, 1}),
        command(Command::kInit, 24, {kQueryRing, kRing, 1, 1}),
        command(Command::kInit, 36, {kQueryRing, kRing, 1}),
    };
    for (const Bytes& bytes : sizes) {
        create_context();
        ASSERT_TRUE(submit(bytes)) << bytes.size();
        compositor = listener.accept();
        say("hello");
        EXPECT_EQ(text_of(next_message().bytes), "hello");
        destroy_context();
    }
}

TEST_F(InitTest, OtherSizesAreRefused) {
    create_context();
    for (const size_t size : {8, 12, 28, 32, 40})
        EXPECT_FALSE(submit(command(Command::kInit, size, {kQueryRing}))) << size;
}

TEST_F(InitTest, RingsMustBeAttachedGuestMemory) {
    create_context();
    EXPECT_FALSE(submit(init(1, 99, kRing)));
    EXPECT_FALSE(submit(init(1, kQueryRing, 99)));
    renderer->attach_resource(1, 12, {4096, nullptr});
    EXPECT_FALSE(submit(init(1, kQueryRing, 12)));
    GuestPages small(1024);
    const auto backing = small.backing();
    renderer->attach_resource(1, 13, {1024, backing});
    EXPECT_FALSE(submit(init(1, kQueryRing, 13)));
    GuestPages fixed(4096, 4096, Access::kRead);
    renderer->attach_resource(1, 14, {4096, fixed.backing()});
    EXPECT_FALSE(submit(init(1, kQueryRing, 14)));
    EXPECT_TRUE(submit(init()));
}

TEST_F(InitTest, ASecondOneIsRefusedAndChangesNothing) {
    connect();
    EXPECT_FALSE(submit(init()));
    say("hello");
    EXPECT_EQ(text_of(next_message().bytes), "hello");
}

/// rutabaga_gfx loses its paths at the first failure.
TEST_F(InitTest, AFailureMayBeTriedAgain) {
    listener.stop();
    create_context();
    EXPECT_FALSE(submit(init()));
    EXPECT_TRUE(is_end(next_message())) << "the guest's program hears of it";
    EXPECT_FALSE(submit(send("x")));
    listener.start();
    ASSERT_TRUE(submit(init()));
    compositor = listener.accept();
    ASSERT_TRUE(submit(send("hello")));
    EXPECT_EQ(hear(5), "hello");
    const uint64_t ticket = poll();
    say("welcome");
    ASSERT_TRUE(wait_fence(ticket));
    EXPECT_EQ(text_of(read_ring(ring_pages).bytes), "welcome");
}

TEST_F(InitTest, ARestartedCompositorServesNewContexts) {
    connect();
    listener.stop();
    compositor.reset();
    EXPECT_TRUE(is_end(next_message()));
    destroy_context();
    listener.start();
    connect();
    say("again");
    EXPECT_EQ(text_of(next_message().bytes), "again");
}

TEST_F(InitTest, AContextThatOnlyAllocates) {
    create_context();
    ASSERT_TRUE(submit(init(0)));
    EXPECT_EQ(image(64, 32, "XR24").size, 8192u);
    EXPECT_TRUE(wait_fence(poll())) << "there is nothing to wait for";
    EXPECT_FALSE(submit(send("x")));
}

TEST_F(InitTest, ChannelsThatAreNotOffered) {
    create_context();
    EXPECT_FALSE(submit(init(0x10)));
    EXPECT_FALSE(submit(init(2)));
    EXPECT_FALSE(submit(init(0xffffffff)));
}

TEST_F(InitTest, TheCapsetNamesTheChannels) {
    ASSERT_EQ(renderer->capsets().size(), 1u);
    const rutabaga::Capset& capset = renderer->capsets()[0];
    EXPECT_EQ(capset.id, 5u);
    EXPECT_EQ(capset.version, 0u);
    wire::cross_domain::Capset data;
    ASSERT_EQ(capset.data.size(), sizeof(data));
    std::memcpy(&data, capset.data.data(), sizeof(data));
    EXPECT_EQ(data.version, 1u);
    EXPECT_EQ(data.supported_channels, 2u);
    start({{{ChannelType::kWayland, ""}, {ChannelType::kPipewire, "/run/pipewire-0"}}});
    std::memcpy(&data, renderer->capsets()[0].data.data(), sizeof(data));
    EXPECT_EQ(data.supported_channels, 0x10002u);
}

// --- libwayland's order ---

TEST_F(InitTest, TheCompositorIsFoundAsLibwaylandFindsIt) {
    start({{{ChannelType::kWayland, ""}}});
    const Variable directory("XDG_RUNTIME_DIR", listener.directory().c_str());
    {
        const Variable display("WAYLAND_DISPLAY", nullptr);
        connect();
        destroy_context();
    }
    {
        const Variable display("WAYLAND_DISPLAY", "wayland-0");
        connect();
        destroy_context();
    }
    {
        const Variable display("WAYLAND_DISPLAY", listener.path().c_str());
        const Variable none("XDG_RUNTIME_DIR", nullptr);
        connect();
        destroy_context();
    }
}

TEST_F(InitTest, WithoutACompositorTheSentenceSaysWhatWasTried) {
    const Variable display("WAYLAND_DISPLAY", "wayland-7");
    {
        const Variable directory("XDG_RUNTIME_DIR", nullptr);
        const auto found = find_compositor();
        ASSERT_FALSE(found);
        EXPECT_NE(found.error().message.find("wayland-7"), std::string::npos);
        EXPECT_NE(found.error().message.find("XDG_RUNTIME_DIR"), std::string::npos);
    }
    const Variable directory("XDG_RUNTIME_DIR", listener.directory().c_str());
    start({{{ChannelType::kWayland, ""}}});
    create_context();
    const auto failed = submit(init());
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message.find(listener.directory() + "/wayland-7"), std::string::npos)
        << failed.error().message;
}

TEST_F(InitTest, APathThatIsTooLongIsRefused) {
    start({{{ChannelType::kWayland, "/" + std::string(200, 'x')}}});
    create_context();
    EXPECT_FALSE(submit(init()));
}

}  // namespace
}  // namespace swede::cross_domain::testing
