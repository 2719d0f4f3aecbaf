// SPDX-License-Identifier: Apache-2.0
// Instances: how they start, capsets, contexts, submissions.
#include "transports/c_abi/instance.h"

#include <atomic>
#include <cerrno>
#include <thread>

#include "transports/c_abi/instance_table.h"
#include "transports/c_abi/qemu_quirks.h"
#include "unit/base/process_state.h"
#include "unit/transports/c_abi/instance_fixture.h"

namespace swede::c_abi {
namespace {

using rutabaga::testing::FakeRenderer;
using testing::Heard;
using testing::InstanceFixture;
using testing::kCapset;
using testing::kCapsetMask;
using Mode = FakeRenderer::Mode;

Options options_of(Heard& heard, uint64_t mask) {
    Options options;
    options.callbacks = heard.callbacks();
    options.capset_mask = mask;
    return options;
}

TEST(Init, MaskOfZeroIs2dWithoutAThread) {
    const size_t threads = swede::testing::threads();
    Heard heard;
    const auto instance = Instance::create(options_of(heard, 0));
    ASSERT_TRUE(instance);
    EXPECT_LE(swede::testing::threads(), threads);  // one of the test before may go meanwhile
    EXPECT_EQ((*instance)->num_capsets(), 0u);
    EXPECT_TRUE(heard.messages().empty());
}

// QEMU crashes on an instance without a capset (realize returns without an error).
TEST(Init, QemuNeedsACapsetSoItFailsWithoutOne) {
    Heard heard;
    const auto instance = Instance::create(options_of(heard, uint64_t{1} << 6));
    ASSERT_FALSE(instance);
    EXPECT_EQ(instance.error().code, ErrorCode::kUnsupported);
    EXPECT_TRUE(heard.heard("Capset 6 (drm) is not to be had."));
    EXPECT_TRUE(heard.heard("rutabaga_init: No capset of the mask 0x40"));
}

TEST(Init, FailsForBitsThatNobodyKnows) {
    Heard heard;
    EXPECT_FALSE(Instance::create(options_of(heard, uint64_t{1} << 63 | 1)));
    EXPECT_TRUE(heard.heard("Capset 63 is not to be had."));
    EXPECT_TRUE(heard.heard("Capset 0 is not to be had."));
}

TEST(Init, DropsWhatIsMissingAndTellsWhy) {
    Heard heard;
    const auto instance =
        Instance::create(options_of(heard, kCapsetMask | 1 << 1), [](const RendererRequest&) {
            MadeRenderers made;
            made.renderers.push_back(
                std::make_unique<FakeRenderer>(std::vector<uint32_t>{kCapset}));
            made.complaints.emplace_back("There is no GL on this host.");
            return made;
        });
    ASSERT_TRUE(instance);
    EXPECT_EQ((*instance)->num_capsets(), 1u);
    EXPECT_TRUE(heard.heard("Capset 1 (virgl) is not to be had."));
    EXPECT_TRUE(heard.heard("There is no GL on this host."));
    EXPECT_FALSE(heard.heard("Capset 60"));
}

TEST(Init, FactoryIsToldWhatTheVmmSaid) {
    Heard heard;
    Options options = options_of(heard, kCapsetMask);
    options.channels = {{"/run/wayland-0", RUTABAGA_CHANNEL_TYPE_WAYLAND}};
    options.renderer_features = "a:b";
    RendererRequest seen;
    static_cast<void>(Instance::create(std::move(options), [&](const RendererRequest& request) {
        seen = request;
        return MadeRenderers{};
    }));
    ASSERT_EQ(seen.channels.size(), 1u);
    EXPECT_EQ(seen.channels[0].path, "/run/wayland-0");
    EXPECT_EQ(seen.channels[0].type, 1u);
    EXPECT_EQ(seen.features, "a:b");
    EXPECT_EQ(seen.capset_mask, kCapsetMask);
    EXPECT_NE(seen.budget, nullptr);
    EXPECT_NE(seen.sink, nullptr);
}

// rutabaga_gfx has one handler for messages in a process: the second instance's went to the first.
TEST(Init, MessagesGoToTheInstanceTheyAreOf) {
    Heard first_heard;
    Heard second_heard;
    const auto first = Instance::create(options_of(first_heard, 0));
    const auto second = Instance::create(options_of(second_heard, 0));
    const auto unref = [](Instance& i) { return i.unref(5); };
    EXPECT_EQ((*second)->call("second", unref), -ENOENT);
    EXPECT_TRUE(first_heard.messages().empty());
    EXPECT_EQ(second_heard.messages().size(), 1u);
    EXPECT_TRUE((*second)->finish());
    EXPECT_EQ((*first)->call("first", unref), -ENOENT);
    EXPECT_EQ(first_heard.messages().size(), 1u);
    EXPECT_EQ(second_heard.messages().size(), 1u);
}

TEST(Init, NoMessageFunctionIsFine) {
    Heard heard;
    Options options = options_of(heard, 0);
    options.callbacks.debug = nullptr;
    const auto instance = Instance::create(std::move(options));
    EXPECT_EQ((*instance)->call("a test", [](Instance& i) { return i.unref(5); }), -ENOENT);
}

TEST(Init, FinishGivesEverythingBack) {
    const size_t fds = swede::testing::open_fds();
    const size_t threads = swede::testing::threads();
    for (int round = 0; round < 50; ++round) {
        Heard heard;
        auto instance =
            Instance::create(options_of(heard, kCapsetMask), [](const RendererRequest&) {
                MadeRenderers made;
                made.renderers.push_back(
                    std::make_unique<FakeRenderer>(std::vector<uint32_t>{kCapset}));
                return made;
            });
        ASSERT_TRUE(instance);
        EXPECT_TRUE((*instance)->finish());
    }
    EXPECT_EQ(swede::testing::open_fds(), fds);
    while (swede::testing::threads() > threads) std::this_thread::yield();
}

class Contexts : public InstanceFixture {
  protected:
    Contexts() { make_with_renderer(); }
};

TEST_F(Contexts, AreMadeForTheCapsetOfTheLowByte) {
    EXPECT_EQ(create_context(1, 0xabcdef00 | kCapset), 0);
    EXPECT_EQ(renderer->last_info.capset_id, kCapset);
    EXPECT_EQ(renderer->last_info.debug_name, "a test");
}

// rutabaga_gfx gives a capset that it does not know to its default component.
TEST_F(Contexts, OfUnknownCapsetsAreRefused) {
    EXPECT_EQ(create_context(1, kCapset + 1), -EINVAL);
    EXPECT_EQ(create_context(1, 255), -EINVAL);
    EXPECT_EQ(create_context(0), -ENOENT);
    EXPECT_EQ(instance->gpu().num_contexts(), 0u);
}

TEST_F(Contexts, UnknownIdsAreErrors) {
    EXPECT_EQ(destroy_context(1), -ENOENT);
    EXPECT_EQ(call([](Instance& i) { return i.attach_resource(1, 1); }), -ENOENT);
    const uint8_t command = 0;
    EXPECT_EQ(call([&](Instance& i) { return i.submit(1, std::span(&command, 1)); }), -ENOENT);
    ASSERT_EQ(create_context(1), 0);
    EXPECT_EQ(call([](Instance& i) { return i.attach_resource(1, 1); }), -ENOENT);
    EXPECT_EQ(destroy_context(1), 0);
    EXPECT_EQ(destroy_context(1), -ENOENT);
}

// QEMU destroys no context when the guest reboots; the next system begins with context 1 again.
TEST_F(Contexts, QemuMakesThemAnewAfterAReboot) {
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(fence(5, 1, 0), 0);
    EXPECT_EQ(create_context(1), 0);
    EXPECT_TRUE(renderer->was_asked({"destroy_context", 1, 0}));
    EXPECT_EQ(heard.fence_ids(), std::vector<uint64_t>{5});
    EXPECT_TRUE(heard.heard("Context 1 is made anew"));
    EXPECT_EQ(instance->gpu().num_contexts(), 1u);
    EXPECT_EQ(fence(6, 1, 0), 0);
    EXPECT_EQ(instance->pending_fences(), 1u);
}

// Guests detach when processes die, in any order.
TEST_F(Contexts, DetachOfAResourceThatIsGoneIsNoError) {
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(create_2d(2, 4, 4), 0);
    ASSERT_EQ(call([](Instance& i) { return i.attach_resource(1, 2); }), 0);
    ASSERT_EQ(unref(2), 0);
    EXPECT_EQ(call([](Instance& i) { return i.detach_resource(1, 2); }), 0);
    EXPECT_EQ(call([](Instance& i) { return i.detach_resource(9, 2); }), 0);
}

// rutabaga_gfx gives a ring's memory to the last context that attaches it, and takes it from the
// first.
TEST_F(Contexts, TwoMayShareARing) {
    testing::Memory memory(4096);
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(create_context(2), 0);
    ASSERT_EQ(create_blob(0, 5, {RUTABAGA_BLOB_MEM_GUEST, 1, 0, 4096}, memory.span()), 0);
    ASSERT_EQ(call([](Instance& i) { return i.attach_resource(1, 5); }), 0);
    const auto first = renderer->last_attached.backing;
    ASSERT_EQ(call([](Instance& i) { return i.attach_resource(2, 5); }), 0);
    EXPECT_EQ(renderer->last_attached.backing, first);
    EXPECT_TRUE(first->lease());
    ASSERT_EQ(call([](Instance& i) { return i.attach_resource(2, 5); }), 0);  // again
    EXPECT_TRUE(first->lease());
    // And unref takes it from both before it returns.
    EXPECT_EQ(unref(5), 0);
    EXPECT_FALSE(first->lease());
    EXPECT_TRUE(renderer->was_asked({"detach_resource", 1, 5}));
    EXPECT_TRUE(renderer->was_asked({"detach_resource", 2, 5}));
}

TEST_F(Contexts, AnswersFromAnotherThreadAreWaitedFor) {
    renderer->mode = Mode::kLater;
    std::atomic<bool> wanted = false;
    std::thread answering([&] {
        for (int answered = 0; answered < 2;) {
            if (!wanted.exchange(false)) {
                std::this_thread::yield();
                continue;
            }
            ++answered;
            EXPECT_TRUE(renderer->answer_next());
        }
    });
    const auto asked = [&](auto function) {
        return call([&](Instance& i) -> Result<void> {
            // Runs when the call has been made and waits: FakeRenderer is not thread-safe.
            request_of_factory.sink->post([&] { wanted = true; });
            return function(i);
        });
    };
    EXPECT_EQ(asked([](Instance& i) { return i.create_context(1, kCapset, ""); }), 0);
    EXPECT_EQ(asked([](Instance& i) { return i.destroy_context(1); }), 0);
    answering.join();
}

TEST_F(Contexts, DroppedAnswersAreErrors) {
    renderer->mode = Mode::kDrop;
    EXPECT_EQ(create_context(1), -ENODEV);
    renderer->mode = Mode::kError;
    EXPECT_EQ(create_context(1), -EINVAL);
    renderer->mode = Mode::kNow;
    EXPECT_EQ(create_context(1), 0);
}

// A renderer that hangs must not take the VMM's thread along.
TEST_F(Contexts, AnswersAreNotWaitedForForEver) {
    instance->finish();
    answer_limit = std::chrono::milliseconds(5);
    make_with_renderer();
    renderer->mode = Mode::kLater;
    EXPECT_EQ(create_context(1), -ENODEV);
    EXPECT_TRUE(heard.heard("A renderer has not answered within 5 ms."));
    EXPECT_EQ(create_context(1), -ENOENT);  // the id is taken
    EXPECT_TRUE(renderer->answer_next());   // late: it counts from the next call on
    EXPECT_EQ(call([](Instance&) {}), 0);
    EXPECT_EQ(instance->gpu().num_contexts(), 1u);
    renderer->mode = Mode::kNow;
    EXPECT_EQ(destroy_context(1), 0);
}

TEST_F(Contexts, QemuLimitsNoCommands) {
    ASSERT_EQ(create_context(1), 0);
    std::vector<uint8_t> commands(qemu::kMaxCommandBytes + 1, 7);
    const auto submit = [&](size_t size) {
        return call([&](Instance& i) { return i.submit(1, std::span(commands).first(size)); });
    };
    EXPECT_EQ(submit(0), 0);
    EXPECT_TRUE(renderer->submitted.empty());
    EXPECT_EQ(submit(8), 0);
    EXPECT_EQ(renderer->submitted, std::vector<std::byte>(8, std::byte{7}));
    EXPECT_EQ(submit(qemu::kMaxCommandBytes), 0);
    EXPECT_EQ(submit(qemu::kMaxCommandBytes + 1), -ENOMEM);
    renderer->mode = Mode::kError;
    EXPECT_EQ(submit(8), -EINVAL);
}

class Capsets : public InstanceFixture {};

TEST_F(Capsets, AreListedAndCopied) {
    make_with_renderer();
    EXPECT_EQ(instance->num_capsets(), 1u);
    EXPECT_EQ((*instance->capset_at(0))->id, kCapset);
    EXPECT_FALSE(instance->capset_at(1));
    EXPECT_FALSE(instance->capset_at(UINT32_MAX));
    std::vector<uint8_t> bytes(100, 0xee);
    EXPECT_EQ(call([&](Instance& i) { return i.get_capset(kCapset, 1, bytes); }), 0);
    EXPECT_EQ(bytes, std::vector<uint8_t>(100, 0));  // 60 of the renderer's, zeroes behind
}

// rutabaga_gfx reads past the capset's end for a large buffer, and answers for ids that it does not
// know; QEMU does not look at the result and sends the buffer to the guest.
TEST_F(Capsets, UnknownAreRefusedAndTheBufferIsZeroed) {
    make_with_renderer();
    for (const auto& [id, version] : {std::pair{77u, 0u}, {kCapset, 2u}, {0u, 0u}}) {
        std::vector<uint8_t> bytes(16, 0xee);
        EXPECT_EQ(call([&](Instance& i) { return i.get_capset(id, version, bytes); }), -EINVAL);
        EXPECT_EQ(bytes, std::vector<uint8_t>(16, 0));
    }
    EXPECT_EQ(call([&](Instance& i) { return i.get_capset(kCapset, 1, {}); }), 0);
}

TEST_F(Capsets, There2dHasNone) {
    make_2d();
    EXPECT_EQ(instance->num_capsets(), 0u);
    EXPECT_FALSE(instance->capset_at(0));
    EXPECT_EQ(create_context(1, 0), -ENOTSUP);
    EXPECT_EQ(create_context(1, 5), -ENOTSUP);
}

TEST(Handles, StaleAndForeignOnesFindNothing) {
    InstanceTable& table = InstanceTable::of_process();
    Heard heard;
    auto* const first = table.add(*Instance::create(options_of(heard, 0)));
    EXPECT_NE(table.find(first), nullptr);
    EXPECT_EQ(table.find(nullptr), nullptr);
    const int local = 0;
    EXPECT_EQ(table.find(reinterpret_cast<const ::rutabaga*>(&local)), nullptr);
    EXPECT_NE(table.remove(first), nullptr);
    EXPECT_EQ(table.find(first), nullptr);
    EXPECT_EQ(table.remove(first), nullptr);
    auto* const second = table.add(*Instance::create(options_of(heard, 0)));
    EXPECT_NE(second, first);  // a number is never given twice
    EXPECT_EQ(table.find(first), nullptr);
    EXPECT_NE(table.remove(second), nullptr);
    EXPECT_EQ(table.size(), 0u);
}

}  // namespace
}  // namespace swede::c_abi
