// SPDX-License-Identifier: Apache-2.0
// RESOURCE_CREATE_3D and 3D transfers: on core 2D resources, and given to the renderer.
#include <gtest/gtest.h>

#include <limits>

#include "rutabaga/pixel_storage.h"
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

using FramePointer = std::shared_ptr<const Frame>;

constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();

wire::ResourceCreate3d texture(ResourceId id, uint32_t width, uint32_t height) {
    wire::ResourceCreate3d request{};
    request.resource_id = id;
    request.target = 2;
    request.format = wire::kFormatB8G8R8A8;
    request.width = width;
    request.height = height;
    request.depth = 1;
    request.array_size = 1;
    return request;
}

wire::TransferHost3d transfer_of(ResourceId id, const Rect& rect, uint64_t offset,
                                 uint32_t stride) {
    wire::TransferHost3d transfer{};
    transfer.box = {rect.x, rect.y, 0, rect.width, rect.height, 1};
    transfer.offset = offset;
    transfer.resource_id = id;
    transfer.stride = stride;
    return transfer;
}

class Gpu3dWithoutRenderer : public GpuFixture {
  protected:
    auto create(const wire::ResourceCreate3d& request) {
        return ask([&](auto done) { gpu->create_3d(request, std::move(done)); });
    }
    auto to_host(const wire::TransferHost3d& transfer, ContextId context = 0) {
        return ask([&](auto done) { gpu->transfer_to_host(context, transfer, std::move(done)); });
    }
    auto from_host(const wire::TransferHost3d& transfer, ContextId context = 0) {
        return ask([&](auto done) { gpu->transfer_from_host(context, transfer, std::move(done)); });
    }
};

TEST_F(Gpu3dWithoutRenderer, PlainTexture_BecomesACore2dResource) {
    EXPECT_TRUE(create(texture(1, 20, 10)).ok());
    EXPECT_EQ(gpu->find(1)->kind, Resource::Kind::k2d);
    EXPECT_EQ(gpu->find(1)->format, PixelFormat::kB8G8R8A8);
    EXPECT_TRUE(gpu->frame_2d(1, {0, 0, 20, 10}));
}

TEST_F(Gpu3dWithoutRenderer, EverythingElse_IsRefused) {
    const auto expect = [&](auto change, ErrorCode code) {
        wire::ResourceCreate3d request = texture(1, 20, 10);
        change(request);
        EXPECT_TRUE(create(request).failed(code));
    };
    expect([](auto& r) { r.target = 0; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.target = 3; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.target = kMax; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.depth = 0; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.depth = 2; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.array_size = 6; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.last_level = 1; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.nr_samples = 4; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.format = 0; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.format = 300; }, ErrorCode::kUnsupported);
    expect([](auto& r) { r.resource_id = 0; }, ErrorCode::kInvalidResource);
    expect([](auto& r) { r.width = 0; }, ErrorCode::kInvalidParameter);
    expect([](auto& r) { r.height = 0; }, ErrorCode::kInvalidParameter);
    expect([](auto& r) { r.width = r.height = kMax; }, ErrorCode::kOutOfMemory);
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu3dWithoutRenderer, Transfer_WithAStride) {
    GuestPages pages(4096, 64);
    pages.number();
    ASSERT_TRUE(create_2d(1, 20, 10));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_TRUE(to_host(transfer_of(1, {2, 3, 5, 4}, 100, 60)).ok());
    const auto pixels = pixels_of(1);
    for (uint64_t y = 0; y < 4; ++y)
        for (uint64_t i = 0; i < 20; ++i)
            EXPECT_EQ(pixels[(3 + y) * 80 + 8 + i], GuestPages::value_at(100 + y * 60 + i));
    EXPECT_EQ(pixels[3 * 80 + 8 + 20], std::byte{0});
}

TEST_F(Gpu3dWithoutRenderer, Transfer_StrideZeroMeansRowsWithoutGaps) {
    GuestPages pages(4096, 64);
    pages.number();
    ASSERT_TRUE(create_2d(1, 20, 10));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_TRUE(to_host(transfer_of(1, {2, 3, 5, 4}, 100, 0)).ok());
    EXPECT_EQ(pixels_of(1)[6 * 80 + 8], GuestPages::value_at(100 + 3 * 20));
}

TEST_F(Gpu3dWithoutRenderer, TransferFromHost_WritesTheGuestsMemory) {
    GuestPages pages(4096, 64);
    pages.fill(std::byte{0x11});
    ASSERT_TRUE(create_2d(1, 20, 10));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    EXPECT_TRUE(from_host(transfer_of(1, {0, 0, 20, 10}, 8, 80)).ok());
    EXPECT_EQ(pages[7], std::byte{0x11});
    EXPECT_EQ(pages[8], std::byte{0});
    EXPECT_EQ(pages[807], std::byte{0});
    EXPECT_EQ(pages[808], std::byte{0x11});
}

TEST_F(Gpu3dWithoutRenderer, TransferFromHost_IntoReadOnlyMemoryIsRefused) {
    GuestPages rom(4096, 4096, Access::kRead);
    ASSERT_TRUE(create_2d(1, 20, 10));
    ASSERT_TRUE(gpu->attach_backing(1, rom.backing()));
    EXPECT_TRUE(
        from_host(transfer_of(1, {0, 0, 20, 10}, 0, 80)).failed(ErrorCode::kInvalidParameter));
}

TEST_F(Gpu3dWithoutRenderer, Transfer_BadRequestsAreRefused) {
    GuestPages pages(800);
    ASSERT_TRUE(create_2d(1, 20, 10));
    ASSERT_TRUE(create_2d(2, 20, 10));
    ASSERT_TRUE(gpu->attach_backing(1, pages.backing()));
    const auto expect = [&](auto change, ErrorCode code) {
        wire::TransferHost3d transfer = transfer_of(1, {0, 0, 20, 10}, 0, 80);
        change(transfer);
        EXPECT_TRUE(to_host(transfer).failed(code));
        EXPECT_TRUE(from_host(transfer).failed(code));
    };
    expect([](auto& t) { t.box.z = 1; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.box.depth = 0; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.box.depth = 2; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.level = 1; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.box.width = 21; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.box.height = 0; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.box.x = kMax; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.stride = 79; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.stride = 81; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.stride = kMax; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.offset = 1; }, ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.offset = std::numeric_limits<uint64_t>::max(); },
           ErrorCode::kInvalidParameter);
    expect([](auto& t) { t.resource_id = 0; }, ErrorCode::kInvalidResource);
    expect([](auto& t) { t.resource_id = 3; }, ErrorCode::kInvalidResource);
    expect([](auto& t) { t.resource_id = 2; }, ErrorCode::kUnspecified);
    EXPECT_TRUE(
        to_host(transfer_of(1, {0, 0, 20, 10}, 0, 80), 5).failed(ErrorCode::kInvalidContext));
}

class Gpu3d : public GpuWithRenderers {
  protected:
    auto create(const wire::ResourceCreate3d& request) {
        return ask([&](auto done) { gpu->create_3d(request, std::move(done)); });
    }
    FakeRenderer& owner() { return renderer(1); }
};

TEST_F(Gpu3d, Create_GoesToTheRendererThatOwns3d) {
    EXPECT_TRUE(create(texture(1, 20, 10)).ok());
    EXPECT_EQ(gpu->find(1)->kind, Resource::Kind::k3d);
    EXPECT_TRUE(owner().was_asked({"create_3d", 0, 1}));
    EXPECT_TRUE(renderer(0).calls.empty());
    EXPECT_EQ(used(BudgetKind::kHostBytes), 20u * 10 * 4);
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_TRUE(owner().was_asked({"destroy_resource", 0, 1}));
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu3d, Create_IdIsTakenWhileTheCreationIsOut) {
    owner().mode = FakeRenderer::Mode::kLater;
    testing::Answer<> answer;
    gpu->create_3d(texture(1, 20, 10), answer.completion(sink));
    EXPECT_EQ(gpu->find(1), nullptr);
    EXPECT_TRUE(create(texture(1, 20, 10)).failed(ErrorCode::kInvalidResource));
    EXPECT_FAILS(create_2d(1, 8, 8), ErrorCode::kInvalidResource);
    EXPECT_TRUE(destroy(1).failed(ErrorCode::kInvalidResource));
    ASSERT_TRUE(owner().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.ok());
    EXPECT_NE(gpu->find(1), nullptr);
}

TEST_F(Gpu3d, Create_RefusedByTheRendererLeavesNothing) {
    for (const auto mode : {FakeRenderer::Mode::kError, FakeRenderer::Mode::kDrop}) {
        owner().mode = mode;
        EXPECT_TRUE(create(texture(1, 20, 10))
                        .failed(mode == FakeRenderer::Mode::kDrop ? ErrorCode::kDeviceLost
                                                                  : owner().error.code));
        EXPECT_EQ(gpu->num_resources(), 0u);
        EXPECT_TRUE(nothing_is_charged());
    }
}

TEST_F(Gpu3d, Create_HugeIsOutOfMemoryBeforeTheRendererIsAsked) {
    wire::ResourceCreate3d request = texture(1, kMax, kMax);
    EXPECT_TRUE(create(request).failed(ErrorCode::kOutOfMemory));
    request.depth = kMax;
    request.array_size = kMax;
    request.nr_samples = kMax;
    EXPECT_TRUE(create(request).failed(ErrorCode::kOutOfMemory));
    EXPECT_TRUE(owner().calls.empty());
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu3d, Backing_IsToldToTheRenderer) {
    GuestPages pages(4096);
    ASSERT_TRUE(create(texture(1, 8, 8)).ok());
    const auto backing = pages.backing();
    ASSERT_TRUE(gpu->attach_backing(1, backing));
    EXPECT_EQ(owner().backings[1], backing);
    ASSERT_TRUE(gpu->detach_backing(1));
    EXPECT_TRUE(owner().was_asked({"detach_backing", 0, 1}));
    EXPECT_FALSE(backing->lease());
}

TEST_F(Gpu3d, Transfer_GoesToTheRendererWithItsContext) {
    ASSERT_TRUE(create(texture(1, 8, 8)).ok());
    ASSERT_TRUE(create_context(5, kOtherCapset).ok());
    ASSERT_TRUE(create_context(6, kCapset).ok());
    const auto transfer = transfer_of(1, {0, 0, 8, 8}, 0, 0);
    const auto to_host = [&](ContextId context) {
        return ask([&](auto done) { gpu->transfer_to_host(context, transfer, std::move(done)); });
    };
    EXPECT_TRUE(to_host(5).ok());
    EXPECT_TRUE(owner().was_asked({"transfer_to_host", 5, 1}));
    EXPECT_TRUE(to_host(0).ok());
    EXPECT_TRUE(to_host(6).failed(ErrorCode::kInvalidContext)) << "of the other renderer";
    EXPECT_TRUE(to_host(7).failed(ErrorCode::kInvalidContext));
    gpu->lose_context(5, {});
    EXPECT_TRUE(to_host(5).failed(ErrorCode::kDeviceLost));
    EXPECT_TRUE(
        ask([&](auto done) { gpu->transfer_from_host(0, transfer, std::move(done)); }).ok());
    EXPECT_TRUE(owner().was_asked({"transfer_from_host", 0, 1}));
}

SharedMemory shared_memory(uint64_t offset = 0, uint64_t size = 4096) {
    return {*create_memfd("shared", 65536), offset, size};
}

TEST_F(Gpu3d, Export_IsTheRenderersAnswer) {
    ASSERT_TRUE(create(texture(1, 8, 8)).ok());
    const auto exported = [&] {
        return ask<SharedMemory>([&](auto done) { gpu->export_blob(1, std::move(done)); });
    };
    EXPECT_TRUE(exported().failed(owner().error.code)) << "not all of them lie in shared memory";
    owner().exported = [] { return Result<SharedMemory>(shared_memory(4096, 12288)); };
    auto answer = exported();
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer.result()->offset, 4096u);
    EXPECT_EQ(answer.result()->size, 12288u);
    for (const auto& [offset, size] : {std::pair<uint64_t, uint64_t>{0, 0}, {1, 4096}, {0, 4095}}) {
        owner().exported = [offset, size] {
            return Result<SharedMemory>(shared_memory(offset, size));
        };
        EXPECT_TRUE(exported().failed(ErrorCode::kUnspecified));
    }
}

class Gpu3dFrame : public Gpu3d {
  protected:
    auto frame(ResourceId id, const Rect& rect) {
        return ask<FramePointer>([&](auto done) { gpu->frame_3d(id, rect, std::move(done)); });
    }
    /// The renderer exports `size` bytes of `file` from its second page on, rows `stride` apart.
    void export_rows(uint64_t size, uint32_t stride) {
        owner().exported = [this, size, stride]() -> Result<SharedMemory> {
            return SharedMemory{file.duplicate(), 4096, size, stride};
        };
    }
    UniqueFd file = *create_memfd("picture", 65536);
};

TEST_F(Gpu3dFrame, ShowsThePartOfTheMemoryWithTheRenderersStride) {
    auto memory = *Mapping::own_file(file.get(), 4096, 4096, Access::kReadWrite);
    for (size_t i = 0; i < memory.size(); ++i) memory.data()[i] = static_cast<std::byte>(i / 100);
    wire::ResourceCreate3d request = texture(1, 20, 10);
    request.format = wire::kFormatR8G8B8A8;
    ASSERT_TRUE(create(request).ok());
    export_rows(4096, 100);
    auto answer = frame(1, {2, 3, 5, 4});
    ASSERT_TRUE(answer.ok());
    const FramePointer shown = *answer.result();
    EXPECT_EQ(shown->width(), 5u);
    EXPECT_EQ(shown->height(), 4u);
    EXPECT_EQ(shown->format(), PixelFormat::kR8G8B8A8);
    std::byte out[2 * 4];
    ASSERT_TRUE(shown->read({4, 1, 1, 2}, out, 4));
    EXPECT_EQ(out[0], std::byte{4}) << "row 3 + 1 of the picture";
    EXPECT_EQ(out[7], std::byte{5});
    memory.data()[300 + 8] = std::byte{77};  // pixel (2, 3)
    ASSERT_TRUE(shown->read({0, 0, 1, 1}, out, 4));
    EXPECT_EQ(out[0], std::byte{77}) << "no copy was made";
}

TEST_F(Gpu3dFrame, KeepsTheMemoryOfAResourceThatGoes) {
    ASSERT_TRUE(create(texture(1, 20, 10)).ok());
    export_rows(4096, 80);
    FramePointer shown = *frame(1, {0, 0, 20, 10}).result();
    EXPECT_TRUE(destroy(1).ok());
    std::byte out[4];
    EXPECT_TRUE(shown->read({19, 9, 1, 1}, out, 4));
    EXPECT_EQ(used(BudgetKind::kHostBytes), 800u);
    shown.reset();
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu3dFrame, OfAResourceThatGoesMeanwhileIsRefused) {
    ASSERT_TRUE(create(texture(1, 20, 10)).ok());
    export_rows(4096, 80);
    owner().mode = FakeRenderer::Mode::kLater;
    Answer<FramePointer> answer;
    gpu->frame_3d(1, {0, 0, 20, 10}, answer.completion(sink));
    owner().mode = FakeRenderer::Mode::kNow;
    EXPECT_TRUE(destroy(1).ok());
    ASSERT_TRUE(owner().answer_next());
    sink->run_all();
    EXPECT_TRUE(answer.failed(ErrorCode::kInvalidResource));
}

TEST_F(Gpu3dFrame, RowsThatDoNotFitTheMemoryAreRefused) {
    ASSERT_TRUE(create(texture(1, 20, 10)).ok());
    // The last is 80 + 9 * 447 = 4103 bytes; the largest overflows 32 bits.
    for (const uint32_t stride : {0u, 79u, 447u, kMax}) {
        export_rows(4096, stride);
        EXPECT_TRUE(frame(1, {0, 0, 20, 10}).failed(ErrorCode::kInvalidParameter)) << stride;
    }
    export_rows(4096, 446);  // 4094 bytes
    EXPECT_TRUE(frame(1, {0, 0, 20, 10}).ok());
    export_rows(4095, 80);
    EXPECT_TRUE(frame(1, {0, 0, 20, 10}).failed(ErrorCode::kUnspecified)) << "no whole pages";
}

TEST_F(Gpu3dFrame, BadRequestsAreRefusedBeforeTheExport) {
    ASSERT_TRUE(create(texture(1, 20, 10)).ok());
    wire::ResourceCreate3d deep = texture(2, 20, 10);
    deep.format = 8;  // B10G10R10A2_UNORM: not one that scanout knows
    ASSERT_TRUE(create(deep).ok());
    GuestPages pages(4096);
    ASSERT_TRUE(create_blob(0, 3, {wire::kBlobMemGuest, 0, 0, 4096}, pages.backing()).ok());
    export_rows(4096, 80);
    for (const Rect& rect : {Rect{0, 0, 21, 10}, Rect{0, 0, 20, 11}, Rect{0, 0, 0, 10},
                             Rect{20, 0, 1, 1}, Rect{kMax, kMax, 2, 2}})
        EXPECT_TRUE(frame(1, rect).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(2, {0, 0, 20, 10}).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(3, {0, 0, 20, 10}).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(frame(9, {0, 0, 20, 10}).failed(ErrorCode::kInvalidResource));
    EXPECT_FALSE(owner().was_asked({"export_blob", 0, 1}));
    EXPECT_FALSE(owner().was_asked({"export_blob", 0, 2}));
    EXPECT_TRUE(destroy(3).ok());
}

TEST_F(Gpu3d, Import_MakesAResourceThatIsLikeAnyOther) {
    const auto import = [&](const wire::ResourceCreate3d& request, SharedMemory memory) {
        return ask([&](auto done) { gpu->import_3d(request, std::move(memory), std::move(done)); });
    };
    EXPECT_TRUE(import(texture(1, 20, 10), shared_memory()).ok());
    EXPECT_TRUE(owner().was_asked({"import_3d", 0, 1}));
    EXPECT_EQ(gpu->find(1)->kind, Resource::Kind::k3d);
    EXPECT_EQ(used(BudgetKind::kHostBytes), 800u) << "the memory lives as long as this, too";
    EXPECT_TRUE(import(texture(1, 20, 10), shared_memory()).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(destroy(1).ok());
    EXPECT_TRUE(nothing_is_charged());

    EXPECT_TRUE(import(texture(0, 8, 8), shared_memory()).failed(ErrorCode::kInvalidResource));
    EXPECT_TRUE(import(texture(1, kMax, kMax), shared_memory()).failed(ErrorCode::kOutOfMemory));
    EXPECT_TRUE(import(texture(1, 8, 8), {}).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(import(texture(1, 8, 8), shared_memory(1)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(import(texture(1, 8, 8), shared_memory(0, 0)).failed(ErrorCode::kInvalidParameter));
    EXPECT_TRUE(import(texture(1, 8, 8), shared_memory(0, 5)).failed(ErrorCode::kInvalidParameter));
    owner().mode = FakeRenderer::Mode::kError;
    EXPECT_TRUE(import(texture(1, 8, 8), shared_memory()).failed(owner().error.code));
    EXPECT_EQ(gpu->num_resources(), 0u);
    EXPECT_TRUE(nothing_is_charged());
}

TEST_F(Gpu3dWithoutRenderer, Import_IsRefused) {
    EXPECT_TRUE(ask([&](auto done) {
                    gpu->import_3d(texture(1, 8, 8), shared_memory(), std::move(done));
                }).failed(ErrorCode::kUnsupported));
}

TEST_F(Gpu3d, FlatCommands_AreRefusedOn3dResources) {
    ASSERT_TRUE(create(texture(1, 8, 8)).ok());
    EXPECT_FAILS(gpu->transfer_to_host_2d({{0, 0, 8, 8}, 0, 1, 0}), ErrorCode::kInvalidParameter);
    EXPECT_FAILS(gpu->frame_2d(1, {0, 0, 8, 8}), ErrorCode::kInvalidParameter);
}

}  // namespace
}  // namespace swede::rutabaga
