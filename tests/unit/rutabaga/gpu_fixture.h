// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "rutabaga/gpu.h"
#include "unit/rutabaga/fake_renderer.h"
#include "unit/rutabaga/guest_pages.h"
#include "unit/rutabaga/queued_sink.h"

namespace swede::rutabaga::testing {

inline constexpr uint32_t kCapset = 60;       ///< of the first renderer
inline constexpr uint32_t kOtherCapset = 61;  ///< of the second, which owns 3D resources

/// A Gpu with as many fake renderers as the test wants, and short ways to call it.
class GpuFixture : public ::testing::Test {
  protected:
    explicit GpuFixture(size_t num_renderers = 0) { make(num_renderers); }

    void make(size_t num_renderers, const Budget::Limits& limits = Budget::default_limits()) {
        gpu.reset();
        renderers.clear();
        budget = Budget::create(limits);
        std::vector<std::unique_ptr<Renderer>> owned;
        for (size_t i = 0; i < num_renderers; ++i) {
            auto renderer = std::make_unique<FakeRenderer>(
                std::vector<uint32_t>{i == 0 ? kCapset : kOtherCapset}, i == 1);
            renderers.push_back(renderer.get());
            owned.push_back(std::move(renderer));
        }
        gpu = std::make_unique<Gpu>(budget, sink, std::move(owned));
    }
    void make_with_limit(size_t num_renderers, BudgetKind kind, uint64_t limit) {
        Budget::Limits limits = Budget::default_limits();
        limits[static_cast<size_t>(kind)] = limit;
        make(num_renderers, limits);
    }

    [[nodiscard]] FakeRenderer& renderer(size_t index = 0) { return *renderers[index]; }
    [[nodiscard]] uint64_t used(BudgetKind kind) const { return budget->used(kind); }
    [[nodiscard]] bool nothing_is_charged() const {
        for (size_t kind = 0; kind < Budget::kKinds; ++kind)
            if (budget->used(static_cast<BudgetKind>(kind)) != 0) return false;
        return true;
    }

    /// Runs `call` with a Completion and waits for its answer.
    template <typename T = void, typename Call>
    Answer<T> ask(Call call) {
        Answer<T> answer;
        call(answer.completion(sink));
        EXPECT_EQ(answer.count(), 0) << "answered inside the call";
        sink->run_all();
        return answer;
    }

    [[nodiscard]] Result<void> create_2d(ResourceId id, uint32_t width, uint32_t height,
                                         uint32_t format = wire::kFormatB8G8R8X8) {
        return gpu->create_2d({id, format, width, height});
    }
    Answer<> create_context(ContextId id, uint32_t capset = kCapset) {
        return ask(
            [&](auto done) { gpu->create_context(id, {capset, "a test"}, std::move(done)); });
    }
    Answer<> destroy_context(ContextId id) {
        return ask([&](auto done) { gpu->destroy_context(id, std::move(done)); });
    }
    Answer<> create_blob(ContextId context, ResourceId id, const BlobRequest& request,
                         std::shared_ptr<Backing> backing = nullptr) {
        return ask([&](auto done) {
            gpu->create_blob(context, id, request, std::move(backing), std::move(done));
        });
    }
    Answer<> create_host_blob(ContextId context, ResourceId id, uint64_t size = 8192) {
        return create_blob(context, id,
                           {wire::kBlobMemHost3d, wire::kBlobFlagUseMappable, 1, size});
    }
    Answer<> destroy(ResourceId id) {
        return ask([&](auto done) { gpu->destroy_resource(id, std::move(done)); });
    }
    Answer<> reset() {
        return ask([&](auto done) { gpu->reset(std::move(done)); });
    }
    [[nodiscard]] std::vector<std::byte> pixels_of(ResourceId id) {
        const Resource* const resource = gpu->find(id);
        const auto frame = gpu->frame_2d(id, {0, 0, resource->width, resource->height});
        std::vector<std::byte> bytes(size_t{resource->width} * resource->height * kBytesPerPixel,
                                     std::byte{0xee});
        EXPECT_TRUE((*frame)->read({0, 0, resource->width, resource->height}, bytes.data(),
                                   uint64_t{resource->width} * kBytesPerPixel));
        return bytes;
    }

    std::shared_ptr<QueuedSink> sink = std::make_shared<QueuedSink>();
    std::shared_ptr<Budget> budget;
    std::vector<FakeRenderer*> renderers;
    std::unique_ptr<Gpu> gpu;
};

/// With one renderer, and with two of which the second owns 3D resources.
class GpuWithRenderer : public GpuFixture {
  protected:
    GpuWithRenderer() : GpuFixture(1) {}
};
class GpuWithRenderers : public GpuFixture {
  protected:
    GpuWithRenderers() : GpuFixture(2) {}
};

}  // namespace swede::rutabaga::testing

#define EXPECT_FAILS(expression, code_expected)                       \
    do {                                                              \
        const auto expect_fails_result = (expression);                \
        ASSERT_FALSE(expect_fails_result.has_value()) << #expression; \
        EXPECT_EQ(expect_fails_result.error().code, code_expected)    \
            << expect_fails_result.error().message;                   \
        EXPECT_FALSE(expect_fails_result.error().message.empty());    \
    } while (false)
