// SPDX-License-Identifier: Apache-2.0
// Contexts whose threads do not come back from the driver, in a process that has to live on.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/mapping.h"
#include "fake_executor.h"
#include "gfxstream/renderer.h"
#include "gfxstream/ring_layout.h"
#include "ring_guest.h"
#include "unit/rutabaga/recording_sink.h"

namespace swede::gfxstream {
namespace {

using rutabaga::ContextId;
using rutabaga::testing::RecordingSink;
using testing::FakeExecutor;
using testing::RingGuest;

struct StuckContexts : ::testing::Test {
    std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();
    std::shared_ptr<FakeExecutor::State> state = std::make_shared<FakeExecutor::State>();
    std::atomic<int> given_up = 0;  // by a thread of the renderer
    std::unique_ptr<GfxstreamRenderer> renderer = [this] {
        RendererParts parts;
        parts.executors = testing::fake_executors(state);
        parts.budget = Budget::create();
        parts.give_up = [this] { ++given_up; };
        return std::make_unique<GfxstreamRenderer>(sink, std::move(parts));
    }();

    Result<void> create(ContextId id) {
        std::optional<Result<void>> result;
        renderer->create_context(id, {}, {sink, [&](Result<void> made) { result = made; }});
        EXPECT_TRUE(sink->run_until([&] { return result.has_value(); }));
        return *result;
    }
    /// A context with a thread that waits in the driver.
    void stick(ContextId id) {
        ASSERT_TRUE(create(id));
        std::optional<Result<rutabaga::BlobInfo>> made;
        renderer->create_blob(
            id, id, {wire::kBlobMemHost3d, 0, 0, ring_layout::kSize}, nullptr,
            {sink, [&](Result<rutabaga::BlobInfo> info) { made.emplace(std::move(info)); }});
        ASSERT_TRUE(sink->run_until([&] { return made.has_value(); }));
        const std::array<uint32_t, 2> start{0x1001, id};
        ASSERT_TRUE(renderer->submit(id, {}, std::as_bytes(std::span(start))));
        std::optional<rutabaga::SharedMemory> memory;
        renderer->export_blob(id, {sink, [&](Result<rutabaga::SharedMemory> exported) {
                                       memory = *std::move(exported);
                                   }});
        ASSERT_TRUE(sink->run_until([&] { return memory.has_value(); }));
        const Mapping mapping =
            *Mapping::own_file(memory->fd.get(), memory->offset, memory->size, Access::kReadWrite);
        RingGuest guest(mapping.data(), [&] {
            const std::array<uint32_t, 2> ping{0x1002, id};
            EXPECT_TRUE(renderer->submit(id, {}, std::as_bytes(std::span(ping))));
        });
        guest.set_up();
        guest.write(testing::packet(testing::kWaitStuck, {1}));
    }
};

TEST_F(StuckContexts, TooManyAreTheEndOfNewOnesUntilTheyComeBack) {
    constexpr uint32_t kMany = ContextCloser::kMaxLeftBehind + 1;
    for (ContextId id = 1; id <= kMany; ++id) stick(id);
    state->wait_for_waiting(kMany);
    uint32_t answered = 0;
    for (ContextId id = 1; id <= kMany; ++id)
        renderer->destroy_context(id, {sink, [&](Result<void>) { ++answered; }});
    ASSERT_TRUE(sink->run_until([&] { return answered == kMany; }));
    ASSERT_TRUE(sink->run_until([&] { return given_up == 1; }));
    const auto refused = create(100);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(renderer->num_contexts(), 0U);

    state->open_gate();
    ASSERT_TRUE(sink->run_until([&] { return renderer->num_closing() == 0; }));
    EXPECT_TRUE(create(101));
}

TEST_F(StuckContexts, OutliveTheirRenderer) {
    stick(1);
    state->wait_for_waiting(1);
    renderer.reset();
    EXPECT_FALSE(state->destroyed);
    state->open_gate();
    ASSERT_TRUE(sink->run_until([&] {
        const std::scoped_lock lock(state->mutex);
        return state->destroyed && state->streams == 0;
    }));
}

}  // namespace
}  // namespace swede::gfxstream
