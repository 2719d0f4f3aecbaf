// SPDX-License-Identifier: Apache-2.0
// Blobs (virtio 1.3, 5.7.6.8 RESOURCE_CREATE_BLOB): guest memory in the core, host memory of a
// renderer.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <limits>

#include "unit/rutabaga/gpu_fixture.h"

namespace swede::rutabaga {
namespace {

using testing::Answer;
using testing::FakeRenderer;
using testing::GpuFixture;
using testing::GpuWithRenderer;
using testing::GuestPages;

constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();

BlobRequest guest_blob(uint64_t size, uint32_t flags = wire::kBlobFlagUseShareable) {
    return {wire::kBlobMemGuest, flags, 0, size};
}

BlobLayout layout(uint64_t offset, uint32_t stride, uint32_t width, uint32_t height) {
    return {PixelFormat::kB8G8R8X8, offset, stride, width, height};
}

using FramePointer = std::shared_ptr<const Frame>;

class GuestBlob : public GpuFixture {
  protected:
    auto frame(ResourceId id, const BlobLayout& wanted) {
        return ask<FramePointer>([&](auto done) { gpu->frame_blob(id, wanted, std::move(done)); });
    }
};

TEST_F(GuestBlob, Create_NeedsNoContextAndNoRenderer) {
    GuestPages pages(8192);
    EXPECT_TRUE(create_blob(0, 1, guest_blob(8192), pages.backing()).ok());
    EXPECT_TRUE(create_blob(77, 2, guest_blob(100), pages.backing()).ok());
    const Resource* const blob = gpu->find(1);
    ASSERT_NE(blob, nullptr);
    EXPECT_EQ(blob->kind, Resource::Kind::kGuestBlob);
    EXPECT_EQ(blob->size, 8192u);
    EXPECT_EQ(blob->blob_flags, wire::kBlobFlagUseShareable);
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 4u);
    EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_TRUE(destroy(2).ok());
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(GuestBlob, Create_BadRequestsAreRefusedAndLeaveNothing) {
    GuestPages pages(8192);
    const auto refused = [&](ResourceId id, const BlobRequest& request,
                             std::shared_ptr<Backing> backing, ErrorCode code) {
        EXPECT_TRUE(create_blob(0, id, request, std::move(backing)).failed(code));
    };
    refused(0, guest_blob(8192), pages.backing(), ErrorCode::kInvalidResource);
    refused(1, guest_blob(0), pages.backing(), ErrorCode::kInvalidParameter);
    refused(1, guest_blob(8193), pages.backing(), ErrorCode::kInvalidParameter);
    refused(1, guest_blob(kMax64), pages.backing(), ErrorCode::kInvalidParameter);
    refused(1, guest_blob(8192), nullptr, ErrorCode::kInvalidParameter);
    refused(1, guest_blob(8192, 8), pages.backing(), ErrorCode::kInvalidParameter);
    refused(1, guest_blob(8192, 0xffffffff), pages.backing(), ErrorCode::kInvalidParameter);
    for (const uint32_t type : {0u, 4u, 0xffffffffu})
        refused(1, {type, 0, 0, 8192}, pages.backing(), ErrorCode::kInvalidParameter);
    const auto revoked = pages.backing();
    revoked->revoke();
    refused(1, guest_blob(8192), revoked, ErrorCode::kInvalidParameter);
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(GuestBlob, Create_UsedIdIsRefusedAndTheFirstStays) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_2d(1, 8, 8));
    EXPECT_TRUE(
        create_blob(0, 1, guest_blob(8192), pages.backing()).failed(ErrorCode::kInvalidResource));
    EXPECT_EQ(gpu->find(1)->kind, Resource::Kind::k2d);
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 0u);
}

TEST_F(GuestBlob, Create_SegmentsAreLimited) {
    make_with_limit(0, BudgetKind::kBackingSegments, 3);
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, guest_blob(8192), pages.backing()).ok());
    EXPECT_TRUE(
        create_blob(0, 2, guest_blob(8192), pages.backing()).failed(ErrorCode::kOutOfMemory));
    EXPECT_EQ(gpu->num_resources(), 1u);
    EXPECT_EQ(used(BudgetKind::kResources), 1u);
}

TEST_F(GuestBlob, Frame_ShowsGuestMemoryWithoutACopy) {
    GuestPages pages(8192);
    pages.number();
    ASSERT_TRUE(create_blob(0, 1, guest_blob(8192), pages.backing()).ok());
    auto answer = frame(1, layout(64, 128, 20, 30));
    ASSERT_TRUE(answer.ok());
    const FramePointer shown = *answer.result();
    EXPECT_EQ(shown->width(), 20u);
    std::byte out[4];
    ASSERT_TRUE(shown->read({19, 29, 1, 1}, out, 4));
    EXPECT_EQ(out[0], GuestPages::value_at(64 + 29 * 128 + 76));
    pages.fill(std::byte{0x33});
    ASSERT_TRUE(shown->read({19, 29, 1, 1}, out, 4));
    EXPECT_EQ(out[0], std::byte{0x33});
}

TEST_F(GuestBlob, Frame_FailsAfterUnref) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, guest_blob(8192), pages.backing()).ok());
    const FramePointer shown = *frame(1, layout(0, 80, 20, 30)).result();
    EXPECT_TRUE(destroy(1).ok());
    std::byte out[4];
    EXPECT_FAILS(shown->read({0, 0, 1, 1}, out, 4), ErrorCode::kInvalidParameter);
}

TEST_F(GuestBlob, Frame_IsCheckedAgainstTheBlobNotItsBacking) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, guest_blob(4000), pages.backing()).ok());
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 50)).ok());
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 51)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(1, layout(1, 80, 20, 50)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(1, layout(kMax64, 80, 20, 50)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(1, layout(0, 79, 20, 2)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(1, layout(0, 80, 0, 2)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 0)).failed(ErrorCode::kInvalidParameter));
}

TEST_F(GuestBlob, Frame_OfWhatIsNoBlobIsRefused) {
    ASSERT_TRUE(create_2d(1, 20, 20));
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 20)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(0, layout(0, 80, 20, 20)).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(frame(2, layout(0, 80, 20, 20)).failed(ErrorCode::kInvalidResource));
}

// Linux sends transfers for dumb buffers, and those are guest blobs when the device has blobs.
TEST_F(GuestBlob, Transfer_HasNothingToDoAndSucceeds) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, guest_blob(8192), pages.backing()).ok());
    EXPECT_TRUE(gpu->transfer_to_host_2d({{0, 0, 20, 20}, 0, 1, 0}));
    wire::TransferHost3d transfer{};
    transfer.resource_id = 1;
    EXPECT_TRUE(ask([&](auto done) { gpu->transfer_to_host(0, transfer, std::move(done)); }).ok());
}

TEST_F(GuestBlob, Backing_CanBeDetachedAndAttachedAgain) {
    GuestPages pages(8192);
    GuestPages small(4096);
    const auto first = pages.backing();
    ASSERT_TRUE(create_blob(0, 1, guest_blob(8192), first).ok());
    EXPECT_FAILS(gpu->attach_backing(1, pages.backing()), ErrorCode::kInvalidParameter);
    ASSERT_TRUE(gpu->detach_backing(1));
    EXPECT_FALSE(first->lease());
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 0u);
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 20)).failed(ErrorCode::kUnspecified));
    EXPECT_FAILS(gpu->attach_backing(1, small.backing()), ErrorCode::kInvalidParameter);
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 20)).ok());
}

TEST_F(GuestBlob, HostMemoryCommands_AreRefused) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, guest_blob(8192, 7), pages.backing()).ok());
    EXPECT_TRUE(ask<SharedMemory>([&](auto done) {
                    gpu->export_blob(1, std::move(done));
                }).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->place_blob(1, {3, 0, 8192}, std::move(done));
                }).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->displace_blob(1, std::move(done));
                }).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->displace_blob(9, std::move(done));
                }).failed(ErrorCode::kInvalidResource));
    EXPECT_FAILS(gpu->frame_2d(1, {0, 0, 8, 8}), ErrorCode::kInvalidParameter);
}

class HostBlob : public GpuWithRenderer {
  protected:
    HostBlob() { EXPECT_TRUE(create_context(5).ok()); }

    auto frame(ResourceId id, const BlobLayout& wanted) {
        return ask<FramePointer>([&](auto done) { gpu->frame_blob(id, wanted, std::move(done)); });
    }
    auto exported(ResourceId id) {
        return ask<SharedMemory>([&](auto done) { gpu->export_blob(id, std::move(done)); });
    }
    /// The renderer exports `size` bytes at `offset` of a file of `file_size` bytes.
    void export_memory(uint64_t offset, uint64_t size, uint64_t file_size) {
        file = *create_memfd("blob", file_size);
        renderer().exported = [this, offset, size]() -> Result<SharedMemory> {
            return SharedMemory{file.duplicate(), offset, size};
        };
    }
    UniqueFd file;
};

TEST_F(HostBlob, Create_GoesToTheRendererOfTheContext) {
    renderer().blob_info.map_info = wire::kMapCacheWriteCombined;
    EXPECT_TRUE(create_host_blob(5, 1, 8192).ok());
    EXPECT_TRUE(renderer().was_asked({"create_blob", 5, 1}));
    EXPECT_EQ(gpu->find(1)->kind, Resource::Kind::kHostBlob);
    EXPECT_EQ(gpu->find(1)->map_info, wire::kMapCacheWriteCombined);
    EXPECT_EQ(used(BudgetKind::kHostBytes), 8192u);
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_TRUE(renderer().was_asked({"destroy_resource", 0, 1}));
    EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
    EXPECT_EQ(used(BudgetKind::kResources), 0u);
}

TEST_F(HostBlob, Create_WithGuestMemoryTellsBoth) {
    GuestPages pages(8192);
    const BlobRequest request{wire::kBlobMemHost3dGuest, 0, 1, 8192};
    const auto backing = pages.backing();
    EXPECT_TRUE(create_blob(5, 1, request, backing).ok());
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 2u);
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_FALSE(backing->lease());
    EXPECT_EQ(used(BudgetKind::kBackingSegments), 0u);
}

TEST_F(HostBlob, Create_BadRequestsAreRefusedBeforeTheRendererIsAsked) {
    GuestPages pages(8192);
    const BlobRequest host{wire::kBlobMemHost3d, 0, 1, 8192};
    const BlobRequest both{wire::kBlobMemHost3dGuest, 0, 1, 8192};
    EXPECT_TRUE(create_blob(0, 1, host).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(create_blob(6, 1, host).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(create_blob(5, 0, host).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(create_blob(5, 1, host, pages.backing()).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(create_blob(5, 1, both).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(create_blob(0, 1, both, pages.backing()).failed(ErrorCode::kInvalidContext));
    EXPECT_TRUE(create_blob(5, 1, {wire::kBlobMemHost3dGuest, 0, 1, 8193}, pages.backing())
                    .failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(create_host_blob(5, 1, 0).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(create_host_blob(5, 1, kMax64).failed(ErrorCode::kOutOfMemory));
    EXPECT_TRUE(
        create_blob(5, 1, {wire::kBlobMemHost3d, 8, 1, 8192}).failed(ErrorCode::kInvalidParameter));
    gpu->lose_context(5, {});
    EXPECT_TRUE(create_blob(5, 1, host).failed(ErrorCode::kDeviceLost));
    EXPECT_EQ(renderer().calls.size(), 1u) << "create_context alone";
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
}

TEST_F(HostBlob, Create_IdIsTakenWhileTheCreationIsOut) {
    renderer().mode = FakeRenderer::Mode::kLater;
    Answer<> answer;
    gpu->create_blob(5, 1, {wire::kBlobMemHost3d, 0, 1, 8192}, nullptr, answer.completion(sink));
    sink->run_all();
    EXPECT_EQ(answer.count(), 0);
    EXPECT_EQ(gpu->find(1), nullptr);
    EXPECT_FAILS(gpu->uuid(1), ErrorCode::kInvalidResource);
    EXPECT_FAILS(create_2d(1, 8, 8), ErrorCode::kInvalidResource);
    EXPECT_FAILS(gpu->attach_resource(5, 1), ErrorCode::kInvalidResource);
    EXPECT_TRUE(exported(1).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(create_host_blob(5, 1).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(destroy(1).failed(ErrorCode::kInvalidResource));
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
    EXPECT_NE(gpu->find(1), nullptr);
}

TEST_F(HostBlob, ResourceIds_AreThoseThatFindFindsInOrder) {
    EXPECT_TRUE(gpu->resource_ids().empty());
    for (const ResourceId id : {0xffffffffu, 5u, 1u, 77u}) ASSERT_TRUE(create_2d(id, 4, 4));
    EXPECT_EQ(gpu->resource_ids(), (std::vector<ResourceId>{1, 5, 77, 0xffffffff}));
    renderer().mode = FakeRenderer::Mode::kLater;
    EXPECT_EQ(create_host_blob(5, 3).count(), 0);  // its creation is out
    EXPECT_EQ(gpu->resource_ids(), (std::vector<ResourceId>{1, 5, 77, 0xffffffff}));
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_EQ(gpu->resource_ids(), (std::vector<ResourceId>{1, 3, 5, 77, 0xffffffff}));
}

TEST_F(HostBlob, Create_RefusedByTheRendererFreesIdChargesAndBacking) {
    GuestPages pages(8192);
    for (const auto mode : {FakeRenderer::Mode::kError, FakeRenderer::Mode::kDrop}) {
        renderer().mode = mode;
        const auto backing = pages.backing();
        const auto answer = create_blob(5, 1, {wire::kBlobMemHost3dGuest, 0, 1, 8192}, backing);
        EXPECT_TRUE(answer.failed(mode == FakeRenderer::Mode::kDrop ? ErrorCode::kDeviceLost
                                                                    : renderer().error.code));
        EXPECT_EQ(gpu->num_resources(), 0u);
        EXPECT_FALSE(backing->lease());
        EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
        EXPECT_EQ(used(BudgetKind::kBackingSegments), 0u);
        EXPECT_EQ(used(BudgetKind::kResources), 0u);
    }
    renderer().mode = FakeRenderer::Mode::kNow;
    EXPECT_TRUE(create_host_blob(5, 1).ok());
}

TEST_F(HostBlob, Create_BytesAreLimited) {
    make_with_limit(1, BudgetKind::kHostBytes, 20000);
    ASSERT_TRUE(create_context(5).ok());
    EXPECT_TRUE(create_host_blob(5, 1, 8192).ok());
    EXPECT_TRUE(create_host_blob(5, 2, 8192).ok());
    EXPECT_TRUE(create_host_blob(5, 3, 8192).failed(ErrorCode::kOutOfMemory));
    EXPECT_FAILS(create_2d(3, 64, 64), ErrorCode::kOutOfMemory);
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_TRUE(create_host_blob(5, 3, 8192).ok());
}

TEST_F(HostBlob, MapInfo_OfTheRendererIsMasked) {
    renderer().blob_info.map_info = 0xffffff02;
    ASSERT_TRUE(create_host_blob(5, 1).ok());
    EXPECT_EQ(gpu->find(1)->map_info, 2u);
}

TEST_F(HostBlob, Destroy_IdIsTakenUntilTheRendererAnswers) {
    ASSERT_TRUE(create_host_blob(5, 1).ok());
    renderer().mode = FakeRenderer::Mode::kLater;
    Answer<> answer;
    gpu->destroy_resource(1, answer.completion(sink));
    EXPECT_EQ(gpu->find(1), nullptr);
    EXPECT_FAILS(create_2d(1, 8, 8), ErrorCode::kInvalidResource);
    EXPECT_TRUE(destroy(1).failed(ErrorCode::kInvalidResource));
    EXPECT_EQ(used(BudgetKind::kHostBytes), 8192u) << "the renderer still has it";
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
    EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
    EXPECT_TRUE(create_2d(1, 8, 8));
}

// I7: the guest uses the pages for something else as soon as it has the answer.
TEST_F(HostBlob, Destroy_OfAGuestBlobWaitsForRenderersThatHadItsMemory) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, {wire::kBlobMemGuest, 0, 0, 8192}, pages.backing()).ok());
    ASSERT_TRUE(gpu->attach_resource(5, 1));
    ASSERT_TRUE(gpu->detach_resource(5, 1));
    renderer().mode = FakeRenderer::Mode::kLater;
    Answer<> answer;
    gpu->destroy_resource(1, answer.completion(sink));
    sink->run_all();
    EXPECT_EQ(answer.count(), 0);
    EXPECT_EQ(gpu->find(1), nullptr);
    EXPECT_FAILS(create_2d(1, 8, 8), ErrorCode::kInvalidResource);
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
    EXPECT_TRUE(create_2d(1, 8, 8));
}

TEST_F(HostBlob, Destroy_OfAGuestBlobThatNoRendererSawAsksNone) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, {wire::kBlobMemGuest, 0, 0, 8192}, pages.backing()).ok());
    renderer().mode = FakeRenderer::Mode::kNever;
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_FALSE(renderer().was_asked({"settle_detaches", 0, 0}));
}

TEST_F(HostBlob, Destroy_OfAGuestBlobIsAnsweredWhenTheRendererIsGone) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_blob(0, 1, {wire::kBlobMemGuest, 0, 0, 8192}, pages.backing()).ok());
    ASSERT_TRUE(gpu->attach_resource(5, 1));
    renderer().mode = FakeRenderer::Mode::kDrop;
    EXPECT_TRUE(destroy(1).ok());
}

TEST_F(HostBlob, Destroy_SucceedsWhenTheRendererIsGone) {
    ASSERT_TRUE(create_host_blob(5, 1).ok());
    renderer().mode = FakeRenderer::Mode::kDrop;
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_EQ(gpu->num_resources(), 0u);
}

TEST_F(HostBlob, Destroy_ErrorOfTheRendererIsToldAndTheResourceIsGone) {
    ASSERT_TRUE(create_host_blob(5, 1).ok());
    renderer().mode = FakeRenderer::Mode::kError;
    EXPECT_TRUE(destroy(1).failed(renderer().error.code));
    EXPECT_EQ(gpu->num_resources(), 0u);
}

TEST_F(HostBlob, Export_GivesTheRenderersMemory) {
    ASSERT_TRUE(create_host_blob(5, 1, 5000).ok());
    export_memory(4096, 8192, 16384);
    auto answer = exported(1);
    ASSERT_TRUE(answer.ok());
    EXPECT_TRUE(answer.result()->fd);
    EXPECT_EQ(answer.result()->offset, 4096u);
    EXPECT_EQ(answer.result()->size, 8192u);
}

TEST_F(HostBlob, Export_OfARendererThatLiesIsRefused) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    for (const auto& [offset, size] : {std::pair<uint64_t, uint64_t>{0, 4096},
                                       {0, 0},
                                       {1, 8192},
                                       {0, 8193},
                                       {kMax64 - 4095, 8192},
                                       {0, 12288 - 1}}) {
        export_memory(offset, size, 16384);
        EXPECT_TRUE(exported(1).failed(ErrorCode::kUnspecified)) << offset << " " << size;
        EXPECT_TRUE(frame(1, layout(0, 80, 20, 20)).failed(ErrorCode::kUnspecified));
    }
    renderer().exported = []() -> Result<SharedMemory> { return SharedMemory{{}, 0, 8192}; };
    EXPECT_TRUE(exported(1).failed(ErrorCode::kUnspecified)) << "no fd";
}

TEST_F(HostBlob, Frame_ShowsTheExportedMemory) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    export_memory(4096, 8192, 16384);
    const uint32_t pixel = 0x11223344;
    ASSERT_EQ(::pwrite(file.get(), &pixel, 4, 4096 + 16 + 3 * 100 + 2 * 4), 4);
    auto answer = frame(1, layout(16, 100, 20, 20));
    ASSERT_TRUE(answer.ok());
    uint32_t seen = 0;
    ASSERT_TRUE((*answer.result())->read({2, 3, 1, 1}, reinterpret_cast<std::byte*>(&seen), 4));
    EXPECT_EQ(seen, pixel);
}

TEST_F(HostBlob, Frame_KeepsTheMemoryAndItsChargeAfterUnref) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    export_memory(0, 8192, 8192);
    FramePointer shown;
    {
        auto answer = frame(1, layout(0, 80, 20, 20));
        ASSERT_TRUE(answer.ok());
        shown = *answer.result();
    }
    EXPECT_TRUE(destroy(1).ok());
    std::byte out[4];
    EXPECT_TRUE(shown->read({0, 0, 1, 1}, out, 4));
    EXPECT_EQ(used(BudgetKind::kHostBytes), 8192u);
    shown.reset();
    EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
}

TEST_F(HostBlob, Frame_ExportPastTheEndOfTheFileIsRefused) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    export_memory(4096, 8192, 8192);
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 20)).failed(ErrorCode::kInvalidParameter));
}

TEST_F(HostBlob, Frame_TruncatedFileShowsZeroesAndKillsNobody) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    file = UniqueFd(::memfd_create("unsealed", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), 8192), 0);
    renderer().exported = [this]() -> Result<SharedMemory> {
        return SharedMemory{file.duplicate(), 0, 8192};
    };
    auto answer = frame(1, layout(0, 80, 20, 20));
    ASSERT_TRUE(answer.ok());
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);
    std::byte out[4] = {std::byte{1}};
    EXPECT_TRUE((*answer.result())->read({0, 0, 1, 1}, out, 4));
    EXPECT_EQ(out[0], std::byte{0});
}

TEST_F(HostBlob, Frame_OfABlobThatGoesMeanwhileIsRefused) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    export_memory(0, 8192, 8192);
    renderer().mode = FakeRenderer::Mode::kLater;
    Answer<FramePointer> answer;
    gpu->frame_blob(1, layout(0, 80, 20, 20), answer.completion(sink));
    renderer().mode = FakeRenderer::Mode::kNow;
    EXPECT_TRUE(destroy(1).ok());
    ASSERT_TRUE(renderer().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.failed(ErrorCode::kInvalidResource));
    EXPECT_EQ(used(BudgetKind::kHostBytes), 0u);
}

TEST_F(HostBlob, Frame_BadLayoutIsRefusedBeforeTheExport) {
    ASSERT_TRUE(create_host_blob(5, 1, 4000).ok());
    export_memory(0, 4096, 4096);
    EXPECT_TRUE(frame(1, layout(0, 80, 20, 51)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(1, layout(4001, 80, 20, 1)).failed(ErrorCode::kInvalidParameter));
    EXPECT_FALSE(renderer().was_asked({"export_blob", 0, 1}));
}

TEST_F(HostBlob, PlaceAndDisplace_GoToTheRenderer) {
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    const WindowRange range{3, 4096, 8192};
    EXPECT_TRUE(ask([&](auto done) { gpu->place_blob(1, range, std::move(done)); }).ok());
    EXPECT_EQ(renderer().last_range.offset, 4096u);
    EXPECT_TRUE(ask([&](auto done) { gpu->displace_blob(1, std::move(done)); }).ok());
    EXPECT_TRUE(renderer().was_asked({"displace_blob", 0, 1}));
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->place_blob(1, {3, 0, 4096}, std::move(done));
                }).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->place_blob(9, range, std::move(done));
                }).failed(ErrorCode::kInvalidResource));
}

TEST_F(HostBlob, Backing_CannotBeAttached) {
    GuestPages pages(8192);
    ASSERT_TRUE(create_host_blob(5, 1, 8192).ok());
    EXPECT_FAILS(gpu->attach_backing(1, pages.backing()), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(gpu->transfer_to_host_2d({{0, 0, 8, 8}, 0, 1, 0}), ErrorCode::kInvalidParameter);
}

}  // namespace
}  // namespace swede::rutabaga
