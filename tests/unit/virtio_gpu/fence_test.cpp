// SPDX-License-Identifier: Apache-2.0
// Contexts, what they submit, and the order of their fences.
#include <gtest/gtest.h>

#include "unit/virtio_gpu/harness.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;

class Fences : public ::testing::Test {
  protected:
    static Harness::Setup setup() {
        Harness::Setup setup;
        setup.renderer = true;
        return setup;
    }
    explicit Fences(const Harness::Setup& with = setup()) : gpu(with) {
        for (const uint32_t context : {1, 2}) EXPECT_EQ(gpu.create_context(context), kRespOkNodata);
        gpu.renderer->fences_at_once = false;
    }
    /// The renderer reports the n-th fence that it was given.
    void reach(size_t n) {
        gpu.renderer->sink().fence_done(gpu.renderer->state.fences.at(n).ticket);
        gpu.run();
    }
    void expect_answered(uint16_t head, uint32_t type, uint64_t fence) {
        const auto answer = gpu.answer(head);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->type(), type);
        EXPECT_EQ(answer->header().fence_id, fence);
        EXPECT_EQ(answer->header().flags & kFlagFence, fence != 0 ? kFlagFence : 0u);
    }
    Harness gpu;
};

TEST_F(Fences, AnUnfencedSubmitIsAnsweredAtOnce) {
    const uint16_t head = gpu.submit(1);
    gpu.run();
    expect_answered(head, kRespOkNodata, 0);
    ASSERT_EQ(gpu.renderer->state.submitted.size(), 1u);
    EXPECT_EQ(gpu.renderer->state.submitted[0].size(), 4u);
}

TEST_F(Fences, AFencedSubmitIsAnsweredWhenTheRendererReachesIt) {
    const uint16_t head = gpu.submit(1, 77, 5);
    gpu.run();
    EXPECT_FALSE(gpu.answer(head));
    EXPECT_EQ(gpu.device->census().pending_fences, 1u);
    EXPECT_EQ(gpu.device->census().pending_commands, 1u);
    const rutabaga::Fence& fence = gpu.renderer->state.fences.at(0);
    EXPECT_EQ(fence.fence_id, 77u);
    EXPECT_EQ(fence.context, 1u);
    EXPECT_EQ(fence.ring, 5);
    reach(0);
    const auto answer = gpu.answer(head);
    ASSERT_TRUE(answer);
    const ControlHeader header = answer->header();
    EXPECT_EQ(header.type, kRespOkNodata);
    EXPECT_EQ(header.flags, kFlagFence | kFlagInfoRingIdx);
    EXPECT_EQ(header.fence_id, 77u);
    EXPECT_EQ(header.ctx_id, 1u);
    EXPECT_EQ(header.ring_idx, 5);
    EXPECT_EQ(gpu.device->census().pending_commands, 0u);
}

// Of its chain, only the answer's place is kept meanwhile (Chain.KeepsTheRangesOfItsResponse).
TEST_F(Fences, ALongChainsAnswerIsWrittenWhenItsFenceIsReached) {
    const auto bytes =
        Harness::request({.type = kCmdSubmit3d, .flags = kFlagFence, .fence_id = 77, .ctx_id = 1},
                         CmdSubmit{4, 0}, uint32_t{0});
    const uint64_t from = gpu.guest.allocate(bytes.size());
    gpu.guest.fill(from, bytes);
    const virtio::GuestRange readable{from, static_cast<uint32_t>(bytes.size())};
    const uint64_t to = gpu.guest.allocate(2 * 3000);
    std::vector<virtio::GuestRange> writable;
    for (uint64_t i = 0; i < 3000; ++i) writable.push_back({to + 2 * i, 1});
    const auto head = gpu.control->add_buffer(std::span(&readable, 1), writable);
    ASSERT_TRUE(head);
    gpu.run();
    EXPECT_FALSE(gpu.answer(*head));
    reach(0);
    expect_answered(*head, kRespOkNodata, 77);
}

TEST_F(Fences, CompleteInOrderOnTheirTimeline) {
    const uint16_t first = gpu.submit(1, 10, 0);
    const uint16_t second = gpu.submit(1, 11, 0);
    gpu.run();
    reach(1);
    EXPECT_FALSE(gpu.answer(first));
    EXPECT_FALSE(gpu.answer(second));
    reach(0);
    expect_answered(first, kRespOkNodata, 10);
    expect_answered(second, kRespOkNodata, 11);
}

TEST_F(Fences, OfTwoContextsOnEqualRingsDoNotTouchEachOther_D7) {
    const uint16_t a = gpu.submit(1, 10, 0);
    const uint16_t b = gpu.submit(2, 11, 0);
    const uint16_t other_ring = gpu.submit(1, 12, 1);
    gpu.run();
    reach(1);
    expect_answered(b, kRespOkNodata, 11);
    EXPECT_FALSE(gpu.answer(a));
    reach(2);
    expect_answered(other_ring, kRespOkNodata, 12);
    EXPECT_FALSE(gpu.answer(a));
    reach(0);
    expect_answered(a, kRespOkNodata, 10);
}

TEST_F(Fences, WithoutARingAreOnTheGlobalTimelineWhateverTheContext) {
    const uint16_t a = gpu.submit(1, 10);
    const uint16_t b = gpu.submit(2, 11);
    gpu.run();
    reach(1);
    EXPECT_FALSE(gpu.answer(b));
    reach(0);
    expect_answered(a, kRespOkNodata, 10);
    expect_answered(b, kRespOkNodata, 11);
}

TEST_F(Fences, AnErrorResponseWaitsItsTurnToo) {
    const uint16_t good = gpu.submit(1, 10, 0);
    // Too short, in a context that is there: its fence is behind the first one's.
    const uint16_t bad = gpu.send(Header{.type = kCmdSubmit3d,
                                         .flags = kFlagFence | kFlagInfoRingIdx,
                                         .fence_id = 11,
                                         .ctx_id = 1},
                                  CmdSubmit{400, 0});
    gpu.renderer->failing["submit"] = {ErrorCode::kInvalidParameter, "no"};
    const uint16_t refused = gpu.submit(1, 12, 0);
    const uint16_t unfenced = gpu.submit(1);
    gpu.renderer->failing.clear();
    gpu.run();
    EXPECT_FALSE(gpu.answer(bad));
    expect_answered(unfenced, kRespOkNodata, 0);
    reach(0);
    expect_answered(good, kRespOkNodata, 10);
    expect_answered(bad, kRespErrInvalidParameter, 11);
    EXPECT_FALSE(gpu.answer(refused));  // it went through: failing was cleared before it ran
    reach(1);
    expect_answered(refused, kRespOkNodata, 12);
}

TEST_F(Fences, OfASubmitThatTheRendererRefusesNeedNoReport) {
    gpu.renderer->failing["submit"] = {ErrorCode::kInvalidParameter, "no"};
    const uint16_t head = gpu.submit(1, 9, 0);
    gpu.run();
    expect_answered(head, kRespErrInvalidParameter, 9);
    EXPECT_TRUE(gpu.renderer->state.fences.empty());
}

TEST_F(Fences, OfOtherCommandsCompleteWithTheCommand) {
    const auto answer = gpu.ask({.type = kCmdResourceCreate2d, .flags = kFlagFence, .fence_id = 3},
                                ResourceCreate2d{1, kFormatB8G8R8A8, 8, 8});
    EXPECT_EQ(answer.type(), kRespOkNodata);
    EXPECT_EQ(answer.header().fence_id, 3u);
    EXPECT_TRUE(gpu.renderer->state.fences.empty());
}

TEST_F(Fences, OfUnknownAndShortCommandsAreAnsweredWithTheFence) {
    const auto unknown = gpu.ask({.type = 0xffff, .flags = kFlagFence, .fence_id = 4});
    EXPECT_EQ(unknown.type(), kRespErrUnspec);
    EXPECT_EQ(unknown.header().flags, kFlagFence);
    EXPECT_EQ(unknown.header().fence_id, 4u);
    const auto brief = gpu.ask({.type = kCmdSubmit3d, .flags = kFlagFence, .fence_id = 5});
    EXPECT_EQ(brief.type(), kRespErrInvalidParameter);
    EXPECT_EQ(brief.header().fence_id, 5u);
}

TEST_F(Fences, ReportedTwiceOrNeverGivenAreIgnored) {
    const uint16_t head = gpu.submit(1, 10, 0);
    gpu.run();
    for (const uint64_t ticket : {uint64_t{0}, uint64_t{12345}, ~uint64_t{0}})
        gpu.renderer->sink().fence_done(ticket);
    gpu.run();
    EXPECT_FALSE(gpu.answer(head));
    reach(0);
    EXPECT_TRUE(gpu.answer(head));
    reach(0);
    EXPECT_EQ(gpu.control->used_index(), gpu.device->census().commands);
}

/// A renderer that guesses tickets completes no command that still runs.
TEST_F(Fences, OfACommandThatStillRunsAreNotTheRenderersToComplete) {
    gpu.renderer->held = {"transfer_to_host"};
    ASSERT_EQ(gpu.create_2d(7, 8, 8), kRespOkNodata);
    ASSERT_EQ(gpu.type_of({.type = kCmdResourceCreate3d},
                          ResourceCreate3d{8, 2, 1, 0, 8, 8, 1, 1, 0, 0, 0, 0}),
              kRespOkNodata);
    const uint16_t head = gpu.send(
        Header{.type = kCmdTransferToHost3d, .flags = kFlagFence, .fence_id = 6, .ctx_id = 1},
        TransferHost3d{{0, 0, 0, 8, 8, 1}, 0, 8, 0, 0, 0});
    gpu.run();
    for (uint64_t ticket = 0; ticket < 50; ++ticket) gpu.renderer->sink().fence_done(ticket);
    gpu.run();
    EXPECT_FALSE(gpu.answer(head));
    gpu.renderer->answer_all();
    gpu.run();
    expect_answered(head, kRespOkNodata, 6);
}

TEST_F(Fences, OfADestroyedContextComplete) {
    const uint16_t ring = gpu.submit(1, 10, 0);
    const uint16_t global = gpu.submit(1, 11);
    const uint16_t other = gpu.submit(2, 12, 0);
    gpu.run();
    EXPECT_EQ(gpu.destroy_context(1), kRespOkNodata);
    expect_answered(ring, kRespOkNodata, 10);
    expect_answered(global, kRespOkNodata, 11);
    EXPECT_FALSE(gpu.answer(other));
    reach(0);  // late
    reach(2);
    expect_answered(other, kRespOkNodata, 12);
}

TEST_F(Fences, OfAContextThatTheRendererFailsToDestroyComplete_I8) {
    const uint16_t ring = gpu.submit(1, 10, 0);
    gpu.run();
    gpu.renderer->failing["destroy_context"] = {ErrorCode::kOutOfMemory, "It has no room."};
    EXPECT_EQ(gpu.destroy_context(1), kRespErrOutOfMemory);
    expect_answered(ring, kRespOkNodata, 10);
}

TEST_F(Fences, OfALostContextCompleteAndItCanOnlyBeDestroyed_I11) {
    const uint16_t head = gpu.submit(1, 10, 0);
    gpu.run();
    gpu.renderer->sink().context_lost(1, {ErrorCode::kDeviceLost, "It crashed."});
    gpu.run();
    expect_answered(head, kRespOkNodata, 10);
    const uint16_t more = gpu.submit(1, 11, 0);
    const uint16_t other = gpu.submit(2);
    gpu.run();
    expect_answered(more, kRespErrUnspec, 11);
    expect_answered(other, kRespOkNodata, 0);
    EXPECT_EQ(gpu.destroy_context(1), kRespOkNodata);
    EXPECT_EQ(gpu.create_context(1), kRespOkNodata);
}

TEST_F(Fences, OfALostContextThatWaitBehindAnothersCallAreAnsweredOnce) {
    gpu.renderer->held = {"create_blob"};
    const uint16_t blob =
        gpu.send(Header{.type = kCmdResourceCreateBlob, .ctx_id = 1},
                 ResourceCreateBlob{5, kBlobMemHost3d, kBlobFlagUseMappable, 0, 5, 4096});
    const uint16_t waiting = gpu.submit(1, 20, 0);
    gpu.run();
    gpu.renderer->sink().context_lost(1, {ErrorCode::kDeviceLost, "It hangs."});
    gpu.run();
    EXPECT_FALSE(gpu.answer(waiting));  // its turn has come, and it has not run yet
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_TRUE(gpu.answer(blob));
    expect_answered(waiting, kRespErrUnspec, 20);
    EXPECT_EQ(gpu.device->census().pending_commands, 0u);
}

TEST_F(Fences, RingsCountOnlyWithContextInit) {
    Harness::Setup without = setup();
    without.features = kFeatureVirgl;
    Harness old(without);
    ASSERT_EQ(old.create_context(1), kRespOkNodata);
    EXPECT_EQ(old.renderer->state.contexts.at(1).capset_id, 0u);
    old.renderer->fences_at_once = false;
    old.submit(1, 10, 3);
    old.run();
    EXPECT_EQ(old.renderer->state.fences.at(0).ring, std::nullopt);
}

class FewFences : public Fences {
  protected:
    static Harness::Setup few() {
        Harness::Setup setup = Fences::setup();
        setup.limits[static_cast<size_t>(BudgetKind::kPendingFences)] = 3;
        return setup;
    }
    FewFences() : Fences(few()) {}
};

TEST_F(FewFences, OverTheBudgetAreCompletedNotRefused) {
    std::vector<uint16_t> heads;
    for (uint64_t fence = 1; fence <= 4; ++fence)
        heads.push_back(gpu.submit(1, fence, static_cast<uint8_t>(fence)));
    gpu.run();
    for (size_t i = 0; i < 3; ++i) EXPECT_FALSE(gpu.answer(heads[i]));
    expect_answered(heads[3], kRespOkNodata, 4);
    EXPECT_EQ(gpu.renderer->state.submits, 4u);
    reach(0);
    expect_answered(heads[0], kRespOkNodata, 1);
}

// What one context may hold of the queue.

// 256 slots: half for a context that is alone, an eighth for each once half is taken.
constexpr uint64_t kHalf = 128;
constexpr uint64_t kEighth = 32;
constexpr uint64_t kMostOver = 8;

TEST_F(Fences, AContextAloneHoldsHalfOfTheQueueAtMost) {
    std::vector<uint16_t> heads;
    for (uint64_t fence = 1; fence <= kHalf; ++fence) heads.push_back(gpu.submit(1, fence, 0));
    gpu.run();
    EXPECT_EQ(gpu.device->census().pending_commands, kHalf);
    const uint16_t unfenced = gpu.submit(1);
    const uint16_t fenced = gpu.submit(1, 1000, 0);
    gpu.run();
    expect_answered(unfenced, kRespErrOutOfMemory, 0);
    EXPECT_FALSE(gpu.answer(fenced));
    for (size_t i = 0; i < kHalf; ++i) reach(i);
    for (size_t i = 0; i < kHalf; ++i) expect_answered(heads[i], kRespOkNodata, i + 1);
    expect_answered(fenced, kRespErrOutOfMemory, 1000);
    const uint16_t again = gpu.submit(1);
    gpu.run();
    expect_answered(again, kRespOkNodata, 0);
}

TEST_F(Fences, InACrowdedQueueAContextHoldsAnEighthAtMost) {
    for (uint64_t fence = 1; fence <= kHalf; ++fence) gpu.submit(1, fence, 0);
    gpu.run();
    std::vector<uint16_t> heads;
    for (uint64_t fence = 1; fence <= kEighth; ++fence)
        heads.push_back(gpu.submit(2, 1000 + fence, 0));
    const uint16_t over = gpu.submit(2);
    gpu.run();
    for (const uint16_t head : heads) EXPECT_FALSE(gpu.answer(head));
    EXPECT_EQ(gpu.renderer->state.fences.size(), kHalf + kEighth);  // all were taken
    expect_answered(over, kRespErrOutOfMemory, 0);
}

TEST_F(Fences, AContextThatGoesOnOverItsShareIsLost) {
    size_t most = 0;
    for (uint64_t fence = 1; fence <= 240; ++fence) {
        gpu.submit(1, fence, 0);
        gpu.run();
        most = std::max(most, gpu.device->census().pending_commands);
    }
    EXPECT_LE(most, kHalf + kMostOver);
    EXPECT_GE(most, kHalf);
    EXPECT_EQ(gpu.control->used_index(), gpu.device->census().commands);  // all are answered
    EXPECT_EQ(gpu.create_2d(1, 8, 8), kRespOkNodata);                     // the console goes on
    EXPECT_EQ(gpu.destroy_context(1), kRespOkNodata);
}

TEST_F(Fences, AContextThatHoldsItsShareCanBeDestroyed) {
    for (uint64_t fence = 1; fence <= kHalf; ++fence) gpu.submit(1, fence, 0);
    gpu.run();
    EXPECT_EQ(gpu.destroy_context(1), kRespOkNodata);
    EXPECT_EQ(gpu.device->census().pending_fences, 0u);
    EXPECT_EQ(gpu.create_context(1), kRespOkNodata);
    const uint16_t head = gpu.submit(1);
    gpu.run();
    expect_answered(head, kRespOkNodata, 0);
}

TEST_F(Fences, ABurstBehindACallThatAnswersSoonIsNotRefused) {
    std::vector<uint16_t> heads;
    heads.push_back(
        gpu.send(Header{.type = kCmdResourceCreateBlob, .ctx_id = 1},
                 ResourceCreateBlob{5, kBlobMemHost3d, kBlobFlagUseMappable, 0, 5, 4096}));
    for (int i = 0; i < 60; ++i) heads.push_back(gpu.submit(1));
    gpu.run();
    for (const uint16_t head : heads) expect_answered(head, kRespOkNodata, 0);
}

// Contexts.

TEST_F(Fences, ContextsAreMadeOnceAndNotWithId0) {
    EXPECT_EQ(gpu.create_context(0), kRespErrInvalidContextId);
    EXPECT_EQ(gpu.create_context(1), kRespErrInvalidContextId);
    EXPECT_EQ(gpu.create_context(3, 999 & 0xff), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.destroy_context(3), kRespErrInvalidContextId);
    EXPECT_EQ(gpu.destroy_context(0), kRespErrInvalidContextId);
    const uint16_t head = gpu.submit(9, 5);
    gpu.run();
    expect_answered(head, kRespErrInvalidContextId, 5);
}

TEST_F(Fences, ADebugNamesLengthIsClampedToItsField_D8) {
    CtxCreate create{~0u, Harness::kCapset, {}};
    std::memset(create.debug_name, 'x', sizeof(create.debug_name));
    EXPECT_EQ(gpu.type_of({.type = kCmdCtxCreate, .ctx_id = 3}, create), kRespOkNodata);
    EXPECT_EQ(gpu.renderer->state.contexts.at(3).debug_name, std::string(64, 'x'));
    create.nlen = 65;
    EXPECT_EQ(gpu.type_of({.type = kCmdCtxCreate, .ctx_id = 4}, create), kRespOkNodata);
    EXPECT_EQ(gpu.renderer->state.contexts.at(4).debug_name.size(), 64u);
    create.nlen = 2;
    EXPECT_EQ(gpu.type_of({.type = kCmdCtxCreate, .ctx_id = 5}, create), kRespOkNodata);
    EXPECT_EQ(gpu.renderer->state.contexts.at(5).debug_name, "xx");
}

TEST_F(Fences, CommandsOnAContextWaitForItsCreation) {
    gpu.renderer->held = {"create_context"};
    const uint16_t create =
        gpu.send(Header{.type = kCmdCtxCreate, .ctx_id = 3}, CtxCreate{0, Harness::kCapset, {}});
    const uint16_t waiting = gpu.submit(3);
    const uint16_t other = gpu.submit(2);
    gpu.run();
    expect_answered(other, kRespOkNodata, 0);
    EXPECT_FALSE(gpu.answer(waiting));
    EXPECT_FALSE(gpu.renderer->called("submit 3"));
    gpu.renderer->answer_all();
    gpu.run();
    expect_answered(create, kRespOkNodata, 0);
    expect_answered(waiting, kRespOkNodata, 0);
    EXPECT_TRUE(gpu.renderer->called("submit 3"));
}

TEST_F(Fences, ACallThatTheRendererDropsIsAnswered) {
    gpu.renderer->held = {"create_context"};
    const uint16_t create =
        gpu.send(Header{.type = kCmdCtxCreate, .ctx_id = 3}, CtxCreate{0, Harness::kCapset, {}});
    const uint16_t waiting = gpu.submit(3, 8);
    gpu.run();
    gpu.renderer->drop_all();
    gpu.run();
    expect_answered(create, kRespErrUnspec, 0);
    expect_answered(waiting, kRespErrInvalidContextId, 8);
}

TEST_F(Fences, ResourcesAttachToContextsAndLeaveWithThem) {
    ASSERT_EQ(gpu.create_2d(1, 8, 8), kRespOkNodata);
    const auto attach = [&](uint32_t type, uint32_t context, uint32_t resource) {
        return gpu.type_of({.type = type, .ctx_id = context}, CtxResource{resource, 0});
    };
    EXPECT_EQ(attach(kCmdCtxAttachResource, 1, 1), kRespOkNodata);
    EXPECT_EQ(attach(kCmdCtxAttachResource, 9, 1), kRespErrInvalidContextId);
    EXPECT_EQ(attach(kCmdCtxAttachResource, 1, 9), kRespErrInvalidResourceId);
    EXPECT_EQ(attach(kCmdCtxDetachResource, 1, 1), kRespOkNodata);
    EXPECT_EQ(attach(kCmdCtxDetachResource, 1, 1), kRespOkNodata);  // no error: see Gpu
    EXPECT_TRUE(gpu.renderer->called("attach_resource 1 1"));
    EXPECT_TRUE(gpu.renderer->called("detach_resource 1 1"));
}

TEST_F(Fences, ASubmitsSizeIsCheckedAgainstItsRequest) {
    const auto submit = [&](uint32_t size, size_t bytes) {
        auto request = Harness::request({.type = kCmdSubmit3d, .ctx_id = 1}, CmdSubmit{size, 0});
        request.resize(request.size() + bytes);
        return gpu.ask_bytes(request).type();
    };
    EXPECT_EQ(submit(5, 4), kRespErrInvalidParameter);
    EXPECT_EQ(submit(~0u, 4), kRespErrInvalidParameter);
    EXPECT_EQ(submit(1, 0), kRespErrInvalidParameter);
    EXPECT_EQ(submit(0, 0), kRespOkNodata);
    EXPECT_EQ(submit(4, 100), kRespOkNodata);
    EXPECT_EQ(gpu.renderer->state.submitted.back().size(), 4u);
    EXPECT_EQ(submit((4 << 20) + 1, (4 << 20) + 4), kRespErrOutOfMemory);
    EXPECT_EQ(submit(4 << 20, 4 << 20), kRespOkNodata);
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
