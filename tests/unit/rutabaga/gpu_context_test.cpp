// SPDX-License-Identifier: Apache-2.0
// Contexts (virtio 1.3, 5.7.6.9), capsets and fences.
#include <gtest/gtest.h>

#include <limits>

#include "unit/rutabaga/gpu_fixture.h"

namespace swede::rutabaga {
namespace {

using testing::Answer;
using testing::FakeRenderer;
using testing::GpuWithRenderer;
using testing::GpuWithRenderers;
using testing::GuestPages;
using testing::kCapset;
using testing::kOtherCapset;

TEST_F(GpuWithRenderers, Capsets_AreThoseOfAllRenderersInOrder) {
    ASSERT_EQ(gpu->num_capsets(), 2u);
    EXPECT_EQ(gpu->capset_at(0)->id, kCapset);
    EXPECT_EQ(gpu->capset_at(1)->id, kOtherCapset);
    EXPECT_EQ(gpu->capset_at(2), nullptr);
    EXPECT_EQ(gpu->capset_at(std::numeric_limits<size_t>::max()), nullptr);
    EXPECT_EQ(gpu->capset(kOtherCapset), gpu->capset_at(1));
    EXPECT_EQ(gpu->capset(0), nullptr);
    EXPECT_EQ(gpu->capset(1), nullptr);
}

TEST_F(GpuWithRenderers, Context_GoesToTheRendererOfItsCapset) {
    EXPECT_TRUE(create_context(1, kCapset).ok());
    EXPECT_TRUE(create_context(2, kOtherCapset).ok());
    EXPECT_TRUE(create_context(3, 0).ok());
    EXPECT_EQ(renderer(0).calls, (std::vector<FakeRenderer::Call>{{"create_context", 1, 0}}));
    EXPECT_EQ(renderer(1).calls, (std::vector<FakeRenderer::Call>{{"create_context", 2, 0},
                                                                  {"create_context", 3, 0}}));
    EXPECT_EQ(renderer(0).last_info.debug_name, "a test");
    EXPECT_EQ(used(BudgetKind::kContexts), 3u);
}

TEST_F(GpuWithRenderer, CreateContext_BadRequestsAreRefused) {
    EXPECT_TRUE(create_context(0).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(create_context(1, 59).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(create_context(1, 0xffffffff).failed(ErrorCode::kInvalidParameter));
    ASSERT_TRUE(create_context(1).ok());
    EXPECT_TRUE(create_context(1).failed(ErrorCode::kInvalidContext));
    EXPECT_EQ(gpu->num_contexts(), 1u);
    EXPECT_EQ(used(BudgetKind::kContexts), 1u);
}

TEST_F(GpuWithRenderer, CreateContext_RefusedByTheRendererLeavesNothing) {
    for (const auto mode : {FakeRenderer::Mode::kError, FakeRenderer::Mode::kDrop}) {
        renderer().mode = mode;
        EXPECT_EQ(create_context(1).count(), 1);
        EXPECT_FALSE(gpu->has_context(1));
        EXPECT_EQ(gpu->num_contexts(), 0u);
        EXPECT_TRUE(nothing_is_charged());
    }
    renderer().mode = FakeRenderer::Mode::kNow;
    EXPECT_TRUE(create_context(1).ok());
}

TEST_F(GpuWithRenderer, CreateContext_NumberIsLimited) {
    make_with_limit(1, BudgetKind::kContexts, 3);
    for (ContextId id = 1; id <= 3; ++id) ASSERT_TRUE(create_context(id).ok());
    EXPECT_TRUE(create_context(4).failed(ErrorCode::kOutOfMemory));
    EXPECT_TRUE(destroy_context(2).ok());
    EXPECT_TRUE(create_context(4).ok());
}

TEST_F(GpuWithRenderer, Context_IsNotUsableBeforeTheRendererAnswers) {
    renderer().mode = FakeRenderer::Mode::kLater;
    Answer<> answer;
    gpu->create_context(1, {kCapset, ""}, answer.completion(sink));
    EXPECT_FALSE(gpu->has_context(1));
    EXPECT_TRUE(create_context(1).failed(ErrorCode::kInvalidContext));
    EXPECT_FAILS(gpu->submit(1, std::nullopt, {}), ErrorCode::kInvalidContext);
    EXPECT_FALSE(gpu->create_fence({1, 1, 1, std::nullopt}));
    EXPECT_TRUE(destroy_context(1).failed(ErrorCode::kInvalidContext));
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
    EXPECT_TRUE(gpu->has_context(1));
}

TEST_F(GpuWithRenderer, DestroyContext_DetachesItsResourcesAndFreesItsId) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_context(2).ok());
    ASSERT_TRUE(create_2d(10, 8, 8));
    ASSERT_TRUE(gpu->attach_resource(1, 10));
    ASSERT_TRUE(gpu->attach_resource(2, 10));
    EXPECT_TRUE(destroy_context(1).ok());
    EXPECT_EQ(gpu->find(10)->contexts, std::vector<ContextId>{2});
    EXPECT_EQ(used(BudgetKind::kAttachments), 1u);
    EXPECT_EQ(used(BudgetKind::kContexts), 1u);
    EXPECT_TRUE(destroy_context(1).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(destroy_context(0).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(create_context(1).ok());
}

TEST_F(GpuWithRenderer, DestroyContext_IdIsTakenUntilTheRendererAnswers) {
    ASSERT_TRUE(create_context(1).ok());
    renderer().mode = FakeRenderer::Mode::kLater;
    Answer<> answer;
    gpu->destroy_context(1, answer.completion(sink));
    EXPECT_FALSE(gpu->has_context(1));
    EXPECT_TRUE(create_context(1).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(destroy_context(1).failed(ErrorCode::kInvalidContext));
    EXPECT_FAILS(gpu->submit(1, std::nullopt, {}), ErrorCode::kInvalidContext);
    EXPECT_FALSE(gpu->create_fence({1, 1, 1, uint8_t{0}}));
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
    EXPECT_EQ(gpu->num_contexts(), 0u);
}

TEST_F(GpuWithRenderer, DestroyContext_SucceedsWhenTheRendererIsGone) {
    ASSERT_TRUE(create_context(1).ok());
    renderer().mode = FakeRenderer::Mode::kDrop;
    EXPECT_TRUE(destroy_context(1).ok());
    EXPECT_EQ(gpu->num_contexts(), 0u);
}

TEST_F(GpuWithRenderer, Attach_TellsTheRendererWhatIsThere) {
    GuestPages pages(8192);
    const auto backing = pages.backing();
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_blob(0, 10, {wire::kBlobMemGuest, 0, 0, 8000}, backing).ok());
    ASSERT_TRUE(gpu->attach_resource(1, 10));
    EXPECT_TRUE(renderer().was_asked({"attach_resource", 1, 10}));
    EXPECT_EQ(renderer().last_attached.size, 8000u);
    EXPECT_EQ(renderer().last_attached.backing, backing);
    ASSERT_TRUE(create_2d(11, 8, 8));
    ASSERT_TRUE(gpu->attach_resource(1, 11));
    EXPECT_EQ(renderer().last_attached.size, 0u);
    EXPECT_EQ(renderer().last_attached.backing, nullptr);
}

TEST_F(GpuWithRenderer, Attach_TwiceIsToldOnceAndChargedOnce) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_2d(10, 8, 8));
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(gpu->attach_resource(1, 10));
    EXPECT_EQ(renderer().calls.size(), 2u);
    EXPECT_EQ(gpu->find(10)->contexts.size(), 1u);
    EXPECT_EQ(used(BudgetKind::kAttachments), 1u);
}

TEST_F(GpuWithRenderer, Attach_BadRequestsAreRefused) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_2d(10, 8, 8));
    EXPECT_FAILS(gpu->attach_resource(0, 10), ErrorCode::kInvalidContext);
    EXPECT_FAILS(gpu->attach_resource(2, 10), ErrorCode::kInvalidContext);
    EXPECT_FAILS(gpu->attach_resource(1, 0), ErrorCode::kInvalidResource);
    EXPECT_FAILS(gpu->attach_resource(1, 11), ErrorCode::kInvalidResource);
    EXPECT_EQ(used(BudgetKind::kAttachments), 0u);
}

TEST_F(GpuWithRenderer, Attach_NumberIsLimited) {
    make_with_limit(1, BudgetKind::kAttachments, 2);
    ASSERT_TRUE(create_context(1).ok());
    for (ResourceId id = 1; id <= 3; ++id) ASSERT_TRUE(create_2d(id, 1, 1));
    EXPECT_TRUE(gpu->attach_resource(1, 1));
    EXPECT_TRUE(gpu->attach_resource(1, 2));
    EXPECT_FAILS(gpu->attach_resource(1, 3), ErrorCode::kOutOfMemory);
    EXPECT_TRUE(gpu->detach_resource(1, 1));
    EXPECT_TRUE(gpu->attach_resource(1, 3));
}

TEST_F(GpuWithRenderers, Attach_TellsWhereAnotherRendererHasTheMemory) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_context(2, kOtherCapset).ok());
    ASSERT_TRUE(create_host_blob(2, 7, 4096).ok());
    EXPECT_FALSE(gpu->attaches_memory(1, 7)) << "nobody wants to know";
    renderer(0).wants_memory = true;
    ASSERT_TRUE(gpu->attaches_memory(1, 7));
    EXPECT_FALSE(gpu->attaches_memory(2, 7)) << "its own";
    EXPECT_FALSE(gpu->attaches_memory(1, 8));
    EXPECT_FALSE(gpu->attaches_memory(9, 7));
    renderer(1).exported = [] {
        return Result<SharedMemory>(SharedMemory{*create_memfd("shared", 4096), 0, 4096});
    };
    EXPECT_TRUE(ask([&](auto done) { gpu->attach_with_memory(1, 7, std::move(done)); }).ok());
    EXPECT_EQ(renderer(0).attached_memory, 4096u);
    EXPECT_FALSE(gpu->attaches_memory(1, 7)) << "it is attached";
}

TEST_F(GpuWithRenderers, Attach_GoesOnWithoutMemoryThatCannotBeShared) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_context(2, kOtherCapset).ok());
    ASSERT_TRUE(create_host_blob(2, 7, 4096).ok());
    renderer(0).wants_memory = true;
    renderer(1).exported = []() -> Result<SharedMemory> {
        return fail(ErrorCode::kUnsupported, "It is no file.");
    };
    EXPECT_TRUE(ask([&](auto done) { gpu->attach_with_memory(1, 7, std::move(done)); }).ok());
    EXPECT_TRUE(renderer(0).was_asked({"attach_resource", 1, 7}));
    EXPECT_EQ(renderer(0).attached_memory, 0u);
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->attach_with_memory(1, 99, std::move(done));
                }).failed(ErrorCode::kInvalidResource));
}

TEST_F(GpuWithRenderer, Detach_OfWhatIsNotAttachedIsNoError) {
    EXPECT_TRUE(gpu->detach_resource(1, 10));
    ASSERT_TRUE(create_context(1).ok());
    EXPECT_TRUE(gpu->detach_resource(1, 10));
    ASSERT_TRUE(create_2d(10, 8, 8));
    EXPECT_TRUE(gpu->detach_resource(1, 10));
    ASSERT_TRUE(gpu->attach_resource(1, 10));
    EXPECT_TRUE(destroy(10).ok());
    EXPECT_TRUE(gpu->detach_resource(1, 10));
    ASSERT_TRUE(create_2d(10, 8, 8));
    ASSERT_TRUE(gpu->attach_resource(1, 10));
    EXPECT_TRUE(destroy_context(1).ok());
    EXPECT_TRUE(gpu->detach_resource(1, 10));
    EXPECT_TRUE(gpu->detach_resource(0, 0));
    EXPECT_EQ(std::ranges::count(renderer().calls, FakeRenderer::Call{"detach_resource", 1, 10}), 1)
        << "at unref alone";
}

TEST_F(GpuWithRenderers, Unref_DetachesFromContextsOfEveryRenderer) {
    ASSERT_TRUE(create_context(1, kCapset).ok());
    ASSERT_TRUE(create_context(2, kOtherCapset).ok());
    ASSERT_TRUE(create_host_blob(1, 10).ok());
    ASSERT_TRUE(gpu->attach_resource(1, 10));
    ASSERT_TRUE(gpu->attach_resource(2, 10));
    EXPECT_TRUE(destroy(10).ok());
    EXPECT_TRUE(renderer(0).was_asked({"detach_resource", 1, 10}));
    EXPECT_TRUE(renderer(1).was_asked({"detach_resource", 2, 10}));
    EXPECT_EQ(used(BudgetKind::kAttachments), 0u);
    EXPECT_TRUE(destroy_context(1).ok());
    EXPECT_TRUE(destroy_context(2).ok());
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(GpuWithRenderer, HostBlob_OutlivesItsContext) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_host_blob(1, 10).ok());
    ASSERT_TRUE(gpu->attach_resource(1, 10));
    EXPECT_TRUE(destroy_context(1).ok());
    ASSERT_NE(gpu->find(10), nullptr);
    EXPECT_TRUE(destroy(10).ok());
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(GpuWithRenderer, Submit_GoesToTheRendererAndItsErrorIsTheAnswer) {
    const std::array<std::byte, 4> commands{std::byte{1}, std::byte{2}, std::byte{3}};
    EXPECT_FAILS(gpu->submit(0, std::nullopt, commands), ErrorCode::kInvalidContext);
    EXPECT_FAILS(gpu->submit(1, uint8_t{0}, commands), ErrorCode::kInvalidContext);
    ASSERT_TRUE(create_context(1).ok());
    EXPECT_TRUE(gpu->submit(1, uint8_t{0}, commands));
    EXPECT_EQ(renderer().submitted.size(), 4u);
    renderer().mode = FakeRenderer::Mode::kError;
    EXPECT_FAILS(gpu->submit(1, uint8_t{0}, commands), renderer().error.code);
}

TEST_F(GpuWithRenderer, Fence_IsToldToTheRendererOfItsContext) {
    ASSERT_TRUE(create_context(1).ok());
    EXPECT_TRUE(gpu->create_fence({7, 99, 1, uint8_t{3}}));
    EXPECT_TRUE(gpu->create_fence({8, 100, 1, std::nullopt}));
    ASSERT_EQ(renderer().fences.size(), 2u);
    EXPECT_EQ(renderer().fences[0].ticket, 7u);
    EXPECT_EQ(renderer().fences[0].ring, uint8_t{3});
    EXPECT_FALSE(gpu->create_fence({9, 101, 0, std::nullopt})) << "nobody's: complete it at once";
    EXPECT_FALSE(gpu->create_fence({10, 102, 2, uint8_t{0}}));
    EXPECT_EQ(renderer().fences.size(), 2u);
}

TEST_F(GpuWithRenderer, LostContext_RefusesAllButItsDestruction) {
    ASSERT_TRUE(create_context(1).ok());
    ASSERT_TRUE(create_context(2).ok());
    gpu->lose_context(1, {ErrorCode::kDeviceLost, "The test takes it."});
    gpu->lose_context(1, {ErrorCode::kDeviceLost, "Again."});
    gpu->lose_context(9, {ErrorCode::kDeviceLost, "Nobody."});
    EXPECT_TRUE(gpu->has_context(1));
    EXPECT_FAILS(gpu->submit(1, std::nullopt, {}), ErrorCode::kDeviceLost);
    EXPECT_FALSE(gpu->create_fence({1, 1, 1, uint8_t{0}}));
    EXPECT_TRUE(create_host_blob(1, 10).failed(ErrorCode::kDeviceLost));
    EXPECT_TRUE(gpu->submit(2, std::nullopt, {})) << "the other goes on";
    EXPECT_TRUE(destroy_context(1).ok());
    EXPECT_TRUE(create_context(1).ok());
    EXPECT_TRUE(gpu->submit(1, std::nullopt, {})) << "a new one is not lost";
}

}  // namespace
}  // namespace swede::rutabaga
