// SPDX-License-Identifier: Apache-2.0
// A guest and renderers that do anything in any order: each request is answered once, the renderers
// see only what they know (FakeRenderer checks it), reset leaves nothing.
#include <gtest/gtest.h>

#include <random>

#include "unit/rutabaga/gpu_fixture.h"

namespace swede::rutabaga {
namespace {

using testing::Answer;
using testing::FakeRenderer;
using testing::GpuWithRenderers;
using testing::GuestPages;
using testing::kCapset;
using testing::kOtherCapset;

class GpuRandom : public GpuWithRenderers, public ::testing::WithParamInterface<unsigned> {
  protected:
    uint32_t upto(uint32_t limit) { return static_cast<uint32_t>(random() % limit); }
    ResourceId some_resource() { return upto(12); }
    ContextId some_context() { return upto(5); }
    Rect some_rect() { return {upto(40), upto(40), upto(40), upto(40)}; }
    Completion<> answer() { return answers.emplace_back().completion(sink); }

    void step() {
        constexpr std::array kModes{FakeRenderer::Mode::kNow,   FakeRenderer::Mode::kNow,
                                    FakeRenderer::Mode::kLater, FakeRenderer::Mode::kLater,
                                    FakeRenderer::Mode::kError, FakeRenderer::Mode::kDrop};
        FakeRenderer& some_renderer = renderer(upto(2));
        some_renderer.mode = kModes[upto(kModes.size())];
        wire::TransferHost3d transfer{};
        transfer.resource_id = some_resource();
        transfer.box = {upto(40), upto(40), 0, upto(40), upto(40), 1};
        transfer.offset = upto(2000);
        switch (upto(20)) {
            case 0:
                return gpu->create_context(some_context(),
                                           {upto(2) == 0 ? kCapset : kOtherCapset + upto(2), ""},
                                           answer());
            case 1:
                return quiet_context([&](ContextId id) { gpu->destroy_context(id, answer()); });
            case 2:
                (void)gpu->attach_resource(some_context(), some_resource());
                return;
            case 3:
                (void)gpu->detach_resource(some_context(), some_resource());
                return;
            case 4:
                if (upto(8) == 0) gpu->lose_context(some_context(), {});
                return;
            case 5:
                (void)gpu->submit(some_context(), std::nullopt, {});
                (void)gpu->create_fence({1, 1, some_context(), std::nullopt});
                return;
            case 6:
            case 7:
                (void)create_2d(some_resource(), upto(40), upto(40));
                return;
            case 8:
                return gpu->create_3d(
                    {some_resource(), 2, 1, 0, upto(40), upto(40), 1, 1, 0, 0, 0, 0}, answer());
            case 9:
            case 10:
                return gpu->create_blob(some_context(), some_resource(),
                                        {upto(4), upto(8), 1, upto(5000)},
                                        upto(2) == 0 ? pages.backing() : nullptr, answer());
            case 11:
                return gpu->destroy_resource(some_resource(), answer());
            case 12:
                (void)gpu->attach_backing(some_resource(), pages.backing());
                return;
            case 13:
                (void)gpu->detach_backing(some_resource());
                return;
            case 14:
                (void)gpu->transfer_to_host_2d({some_rect(), upto(1000), some_resource(), 0});
                return;
            case 15:
                return gpu->transfer_to_host(0, transfer, answer());
            case 16:
                return gpu->transfer_from_host(0, transfer, answer());
            case 17:
                if (const auto frame = gpu->frame_2d(some_resource(), some_rect()); frame)
                    frames.push_back(*frame);
                return;
            case 18:
                return gpu->frame_3d(some_resource(), some_rect(),
                                     frame_answers.emplace_back().completion(sink));
            default:
                gpu->frame_blob(some_resource(),
                                {PixelFormat::kB8G8R8X8, upto(100), upto(100), upto(20), upto(20)},
                                frame_answers.emplace_back().completion(sink));
                return;
        }
    }

    /// The caller of Gpu keeps a context alive while something of it is out.
    template <typename Call>
    void quiet_context(Call call) {
        for (FakeRenderer* const renderer : renderers)
            while (renderer->answer_next()) {
            }
        sink->run_all();
        call(some_context());
    }

    std::mt19937 random{GetParam()};
    GuestPages pages{5000, 512};
    std::vector<Answer<>> answers;
    std::vector<Answer<std::shared_ptr<const Frame>>> frame_answers;
    std::vector<std::shared_ptr<const Frame>> frames;
};

INSTANTIATE_TEST_SUITE_P(Seeds, GpuRandom, ::testing::Range(1u, 21u));

TEST_P(GpuRandom, EveryRequestIsAnsweredOnceAndResetLeavesNothing) {
    for (int round = 0; round < 5; ++round) {
        for (int i = 0; i < 1500; ++i) {
            step();
            if (upto(3) == 0) (void)renderer(upto(2)).answer_next();
            if (upto(3) == 0) sink->run_all();
            std::byte out[4];
            for (const auto& frame : frames) (void)frame->read({0, 0, 1, 1}, out, 4);
            if (frames.size() > 4) frames.clear();
        }
        for (FakeRenderer* const renderer : renderers) renderer->mode = FakeRenderer::Mode::kLater;
        Answer<> done;
        gpu->reset(done.completion(sink));
        while (renderer(0).answer_next() || renderer(1).answer_next()) sink->run_all();
        sink->run_all();
        EXPECT_TRUE(done.ok());
        size_t succeeded = 0;
        for (const Answer<>& answer : answers) {
            EXPECT_EQ(answer.count(), 1);
            succeeded += answer.ok() ? 1 : 0;
        }
        for (const auto& answer : frame_answers) EXPECT_EQ(answer.count(), 1);
        EXPECT_GT(succeeded, 50u) << "the run was to do something";
        answers.clear();
        frame_answers.clear();
        frames.clear();
        EXPECT_EQ(gpu->num_resources(), 0u);
        EXPECT_EQ(gpu->num_contexts(), 0u);
        EXPECT_TRUE(nothing_is_charged());
    }
}

}  // namespace
}  // namespace swede::rutabaga
