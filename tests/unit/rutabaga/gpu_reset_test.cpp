// SPDX-License-Identifier: Apache-2.0
// Device reset returns to the start (invariant I9, decision 12), whatever is out.
#include <gtest/gtest.h>

#include "unit/rutabaga/gpu_fixture.h"

namespace swede::rutabaga {
namespace {

using testing::Answer;
using testing::FakeRenderer;
using testing::GpuFixture;
using testing::GpuWithRenderers;
using testing::GuestPages;
using testing::kCapset;
using testing::kOtherCapset;

class GpuReset : public GpuWithRenderers {
  protected:
    /// One of everything.
    void fill() {
        ASSERT_TRUE(create_context(1, kCapset).ok());
        ASSERT_TRUE(create_context(2, kOtherCapset).ok());
        ASSERT_TRUE(create_2d(1, 100, 100));
        ASSERT_TRUE(gpu->attach_backing(1, backings.emplace_back(pages.backing())));
        ASSERT_TRUE(create_blob(0, 2, {wire::kBlobMemGuest, 0, 0, 8192},
                                backings.emplace_back(pages.backing()))
                        .ok());
        ASSERT_TRUE(create_blob(1, 3, {wire::kBlobMemHost3dGuest, 0, 1, 8192},
                                backings.emplace_back(pages.backing()))
                        .ok());
        ASSERT_TRUE(create_host_blob(2, 4).ok());
        for (ResourceId id = 1; id <= 4; ++id)
            for (ContextId context = 1; context <= 2; ++context)
                ASSERT_TRUE(gpu->attach_resource(context, id));
        EXPECT_FALSE(nothing_is_charged());
    }
    void expect_start() {
        EXPECT_EQ(gpu->num_resources(), 0u);
        EXPECT_EQ(gpu->num_contexts(), 0u);
        EXPECT_TRUE(nothing_is_charged());
        for (const auto& backing : backings) EXPECT_FALSE(backing->lease());
    }
    GuestPages pages{8192};
    std::vector<std::shared_ptr<Backing>> backings;
};

TEST_F(GpuFixture, Reset_OfAnEmptyDeviceAnswers) {
    EXPECT_TRUE(reset().ok());
}

TEST_F(GpuReset, LeavesNothingAndAllCanBeMadeAnew) {
    for (int round = 0; round < 3; ++round) {
        fill();
        EXPECT_TRUE(reset().ok());
        expect_start();
    }
    EXPECT_TRUE(renderer(0).was_asked({"reset", 0, 0}));
    EXPECT_TRUE(renderer(1).was_asked({"reset", 0, 0}));
}

TEST_F(GpuReset, AnswersWhenTheLastRendererAnswers) {
    renderer(0).mode = FakeRenderer::Mode::kLater;
    renderer(1).mode = FakeRenderer::Mode::kLater;
    Answer<> answer;
    gpu->reset(answer.completion(sink));
    sink->run_all();
    EXPECT_EQ(answer.count(), 0);
    ASSERT_TRUE(renderer(1).answer_next());
    sink->run_all();
    EXPECT_EQ(answer.count(), 0);
    ASSERT_TRUE(renderer(0).answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
}

TEST_F(GpuReset, RendererThatFailsOrDies_DoesNotHoldItUp) {
    fill();
    renderer(0).mode = FakeRenderer::Mode::kError;
    renderer(1).mode = FakeRenderer::Mode::kDrop;
    EXPECT_TRUE(reset().ok());
    expect_start();
}

TEST_F(GpuReset, CallsThatAreOut_AnswerOnceAndChangeNothing) {
    fill();
    renderer(0).mode = FakeRenderer::Mode::kLater;
    renderer(1).mode = FakeRenderer::Mode::kLater;
    Answer<> context;
    Answer<> blob;
    Answer<> texture;
    Answer<> unref;
    Answer<> gone;
    Answer<std::shared_ptr<const Frame>> frame;
    gpu->create_context(7, {kCapset, ""}, context.completion(sink));
    gpu->create_blob(1, 20, {wire::kBlobMemHost3d, 0, 1, 4096}, nullptr, blob.completion(sink));
    gpu->create_3d({21, 2, 1, 0, 8, 8, 1, 1, 0, 0, 0, 0}, texture.completion(sink));
    gpu->frame_blob(3, {PixelFormat::kB8G8R8X8, 0, 40, 10, 10}, frame.completion(sink));
    gpu->destroy_resource(4, unref.completion(sink));
    gpu->destroy_context(2, gone.completion(sink));
    Answer<> done;
    gpu->reset(done.completion(sink));
    expect_start();

    // The next guest takes the same ids before the old answers come.
    renderer(0).mode = FakeRenderer::Mode::kNow;
    ASSERT_TRUE(create_context(7, kCapset).ok());
    ASSERT_TRUE(create_2d(20, 8, 8));
    ASSERT_TRUE(create_2d(4, 8, 8));
    while (renderer(0).answer_next() || renderer(1).answer_next()) sink->run_all();
    sink->run_all();

    EXPECT_TRUE(done.ok());
    for (const Answer<>& answer : {context, blob, texture, unref, gone})
        EXPECT_TRUE(answer.failed(ErrorCode::kDeviceLost));
    EXPECT_TRUE(frame.failed(ErrorCode::kDeviceLost));
    EXPECT_TRUE(gpu->has_context(7));
    EXPECT_NE(gpu->find(20), nullptr);
    EXPECT_NE(gpu->find(4), nullptr);
    EXPECT_EQ(gpu->num_resources(), 2u);
    EXPECT_EQ(gpu->num_contexts(), 1u);
}

TEST_F(GpuReset, DeathOfTheDevice_AnswersWhatIsOut) {
    fill();
    for (FakeRenderer* const renderer : renderers) renderer->mode = FakeRenderer::Mode::kNever;
    Answer<> context;
    Answer<> unref;
    Answer<> done;
    gpu->create_context(7, {kCapset, ""}, context.completion(sink));
    gpu->destroy_resource(3, unref.completion(sink));
    gpu->reset(done.completion(sink));
    sink->run_all();
    EXPECT_EQ(context.count() + unref.count() + done.count(), 0);
    gpu.reset();
    sink->run_all();
    EXPECT_TRUE(context.failed(ErrorCode::kDeviceLost));
    EXPECT_TRUE(unref.failed(ErrorCode::kDeviceLost));
    EXPECT_EQ(done.count(), 1);
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(GpuReset, AnswersPostedAndNotYetRun_FindNoGpuAndDoNoHarm) {
    fill();
    Answer<> context;
    gpu->create_context(7, {kCapset, ""}, context.completion(sink));  // posted by the renderer
    gpu.reset();
    sink->run_all();
    EXPECT_TRUE(context.failed(ErrorCode::kDeviceLost));
}

}  // namespace
}  // namespace swede::rutabaga
