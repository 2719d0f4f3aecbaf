// SPDX-License-Identifier: Apache-2.0
// Host blobs and the host-visible window.
#include <gtest/gtest.h>

#include <functional>

#include "unit/virtio_gpu/harness.h"
#include "virtio_gpu/in_process_window.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;

constexpr uint64_t kPage = 4096;

Harness::Setup setup_with_window() {
    Harness::Setup setup;
    setup.renderer = true;
    setup.window = 64 * kPage;
    return setup;
}

class StaticBlobs : public ::testing::Test {
  protected:
    explicit StaticBlobs(const Harness::Setup& setup = setup_with_window()) : gpu(setup) {
        EXPECT_EQ(gpu.create_context(1), kRespOkNodata);
        bar = Mapping::own_file(gpu.static_window->fd(), 0, gpu.static_window->size(),
                                Access::kReadWrite)
                  .value();
    }
    /// A byte of the window as the guest sees it.
    std::byte& at(uint64_t offset) { return bar.data()[offset]; }
    bool reads_as_zero(uint64_t offset, uint64_t size) {
        for (uint64_t i = 0; i < size; ++i)
            if (at(offset + i) != std::byte{0}) return false;
        return true;
    }
    Harness gpu;
    Mapping bar;
};

TEST_F(StaticBlobs, Blob_IsSeenByTheGuestWhereItWasMapped) {
    ASSERT_EQ(gpu.create_host_blob(1, 7, 2 * kPage), kRespOkNodata);
    const auto answer = gpu.ask({.type = kCmdResourceMapBlob}, ResourceMapBlob{7, 0, 8 * kPage});
    const auto info = answer.as<RespMapInfo>();
    EXPECT_EQ(info.header.type, kRespOkMapInfo);
    EXPECT_EQ(info.map_info, kMapCacheCached);
    EXPECT_EQ(info.padding, 0u);
    EXPECT_EQ(at(8 * kPage), std::byte{7});  // what the renderer had put there
    EXPECT_EQ(at(10 * kPage - 1), std::byte{7});
    EXPECT_TRUE(reads_as_zero(10 * kPage, kPage));
    at(8 * kPage) = std::byte{0x42};  // both see each other's writes
    EXPECT_EQ(*gpu.renderer->blob_bytes(7), std::byte{0x42});
    EXPECT_EQ(gpu.device->census().mappings, 1u);
}

TEST_F(StaticBlobs, Blob_LeavesNothingInTheWindowWhenUnmappedAndKeepsItsContents_CVE_2022_0175) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.map_blob(7, 0);
    at(5) = std::byte{0x42};
    EXPECT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_TRUE(reads_as_zero(0, kPage));
    EXPECT_EQ(gpu.device->census().mappings, 0u);
    EXPECT_EQ(gpu.map_blob(7, 4 * kPage), kRespOkMapInfo);
    EXPECT_EQ(at(4 * kPage + 5), std::byte{0x42});
}

TEST_F(StaticBlobs, Blob_FindsZeroesWhateverTheGuestWroteInTheWindow_CVE_2022_0175) {
    std::memset(&at(0), 0x77, 64 * kPage);
    for (uint32_t id = 1; id <= 8; ++id) {
        gpu.create_host_blob(1, id, kPage + 1);
        EXPECT_EQ(gpu.map_blob(id, id * 4 * kPage), kRespOkMapInfo);
    }
    EXPECT_TRUE(gpu.renderer->placed_on_zeroes);
}

TEST_F(StaticBlobs, Blob_CannotBeMappedTwice_D11) {
    gpu.create_host_blob(1, 7, kPage);
    EXPECT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    EXPECT_EQ(gpu.map_blob(7, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.map_blob(7, kPage), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.device->census().mappings, 1u);
}

TEST_F(StaticBlobs, Blob_CannotBeMappedOutsideUnalignedOrOverAnother_D11) {
    gpu.create_host_blob(1, 7, 4 * kPage);
    gpu.create_host_blob(1, 8, 4 * kPage);
    ASSERT_EQ(gpu.map_blob(7, 8 * kPage), kRespOkMapInfo);
    for (const uint64_t offset :
         {5 * kPage, 8 * kPage, 11 * kPage, uint64_t{1}, kPage / 2, 61 * kPage, 64 * kPage,
          1024 * kPage, ~uint64_t{0}, ~uint64_t{0} - kPage + 1, ~uint64_t{0} - 4 * kPage + 1})
        EXPECT_EQ(gpu.map_blob(8, offset), kRespErrInvalidParameter) << offset;
    EXPECT_EQ(gpu.map_blob(8, 60 * kPage), kRespOkMapInfo);
    EXPECT_EQ(gpu.map_blob(9, 0), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.device->census().mappings, 2u);
}

TEST_F(StaticBlobs, Blob_OnlyAMappableOneIsMapped) {
    gpu.create_host_blob(1, 7, kPage, kBlobFlagUseShareable);
    gpu.create_2d(8, 8, 8);
    EXPECT_EQ(gpu.map_blob(7, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.map_blob(8, 0), kRespErrInvalidParameter);
}

TEST_F(StaticBlobs, Unmap_OfWhatIsNotMappedIsAnError) {
    gpu.create_host_blob(1, 7, kPage);
    EXPECT_EQ(gpu.unmap_blob(7), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.unmap_blob(9), kRespErrInvalidResourceId);
    gpu.map_blob(7, 0);
    EXPECT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_EQ(gpu.unmap_blob(7), kRespErrInvalidParameter);
}

TEST_F(StaticBlobs, Unref_OfAMappedBlobUnmapsItFirst_D11) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.map_blob(7, 3 * kPage);
    gpu.renderer->state.calls.clear();
    EXPECT_EQ(gpu.unref(7), kRespOkNodata);
    const std::vector<std::string> order{"displace_blob 7", "destroy_resource 7"};
    EXPECT_EQ(gpu.renderer->state.calls, order);
    EXPECT_TRUE(reads_as_zero(3 * kPage, kPage));
    EXPECT_EQ(gpu.device->census().mappings, 0u);
    gpu.create_host_blob(1, 8, kPage);
    EXPECT_EQ(gpu.map_blob(8, 3 * kPage), kRespOkMapInfo);  // the range is free again
}

TEST_F(StaticBlobs, Map_ThatTheRendererFailsFreesTheRange) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.renderer->failing["place_blob"] = {ErrorCode::kOutOfMemory, "The GPU is full."};
    std::memset(&at(0), 0x55, kPage);
    EXPECT_EQ(gpu.map_blob(7, 0), kRespErrOutOfMemory);
    EXPECT_TRUE(reads_as_zero(0, kPage));
    EXPECT_EQ(gpu.device->census().mappings, 0u);
    gpu.renderer->failing.clear();
    EXPECT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
}

TEST_F(StaticBlobs, CommandsOnABlobWaitWhileItIsMapped) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.renderer->held = {"place_blob"};
    const uint16_t map = gpu.send(Header{.type = kCmdResourceMapBlob}, ResourceMapBlob{7, 0, 0});
    const uint16_t twice = gpu.send(Header{.type = kCmdResourceMapBlob}, ResourceMapBlob{7, 0, 0});
    const uint16_t unmap = gpu.send(Header{.type = kCmdResourceUnmapBlob}, ResourceUnmapBlob{7, 0});
    const uint16_t unref = gpu.send(Header{.type = kCmdResourceUnref}, ResourceUnref{7, 0});
    const uint16_t gone = gpu.send(Header{.type = kCmdResourceUnmapBlob}, ResourceUnmapBlob{7, 0});
    gpu.run();
    EXPECT_EQ(gpu.create_2d(20, 8, 8), kRespOkNodata);  // nothing else waits
    for (const uint16_t head : {map, twice, unmap, unref, gone}) EXPECT_FALSE(gpu.answer(head));
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(map)->type(), kRespOkMapInfo);
    EXPECT_EQ(gpu.answer(twice)->type(), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.answer(unmap)->type(), kRespOkNodata);
    EXPECT_EQ(gpu.answer(unref)->type(), kRespOkNodata);
    EXPECT_EQ(gpu.answer(gone)->type(), kRespErrInvalidResourceId);
}

TEST_F(StaticBlobs, ARangeIsNotGivenOutWhileItIsBeingUnmapped_D11) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.create_host_blob(1, 8, kPage);
    gpu.map_blob(7, 0);
    gpu.renderer->held = {"displace_blob"};
    const uint16_t unmap = gpu.send(Header{.type = kCmdResourceUnmapBlob}, ResourceUnmapBlob{7, 0});
    gpu.run();
    EXPECT_EQ(gpu.map_blob(8, 0), kRespErrInvalidParameter);
    EXPECT_EQ(at(0), std::byte{7});
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(unmap)->type(), kRespOkNodata);
    EXPECT_EQ(gpu.map_blob(8, 0), kRespOkMapInfo);
    EXPECT_EQ(at(0), std::byte{8});
}

TEST_F(StaticBlobs, Unmap_GoesOnWhenTheRendererIsGone) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.map_blob(7, 0);
    gpu.renderer->failing["displace_blob"] = {ErrorCode::kDeviceLost, "It crashed."};
    EXPECT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_TRUE(reads_as_zero(0, kPage));
}

TEST_F(StaticBlobs, MappingsAreBudgeted) {
    Harness::Setup setup = setup_with_window();
    setup.limits[static_cast<size_t>(BudgetKind::kMappings)] = 2;
    Harness few(setup);
    few.create_context(1);
    for (uint32_t id = 1; id <= 3; ++id) few.create_host_blob(1, id, kPage);
    EXPECT_EQ(few.map_blob(1, 0), kRespOkMapInfo);
    EXPECT_EQ(few.map_blob(2, kPage), kRespOkMapInfo);
    EXPECT_EQ(few.map_blob(3, 2 * kPage), kRespErrOutOfMemory);
    EXPECT_EQ(few.unmap_blob(1), kRespOkNodata);
    EXPECT_EQ(few.map_blob(3, 0), kRespOkMapInfo);
}

TEST_F(StaticBlobs, TheWindowCountsAsTheGuestsBesideItsLimit) {
    Harness::Setup setup = setup_with_window();
    setup.limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 2 * kPage;
    Harness little(setup);
    little.create_context(1);
    EXPECT_EQ(little.device->census().host_bytes, 0u);
    EXPECT_EQ(little.create_host_blob(1, 1, kPage), kRespOkNodata);
    EXPECT_EQ(little.device->census().host_bytes, kPage);
    EXPECT_EQ(little.create_host_blob(1, 2, 2 * kPage), kRespErrOutOfMemory);
}

TEST_F(StaticBlobs, HostBlobsAreCheckedAtCreation) {
    EXPECT_EQ(gpu.create_host_blob(9, 7, kPage), kRespErrInvalidContextId);
    EXPECT_EQ(gpu.create_host_blob(0, 7, kPage), kRespErrInvalidContextId);
    EXPECT_EQ(gpu.create_host_blob(1, 0, kPage), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.create_host_blob(1, 7, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.create_host_blob(1, 7, ~uint64_t{0}), kRespErrOutOfMemory);
    EXPECT_EQ(gpu.create_host_blob(1, 7, kPage, 1 << 20), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.create_host_blob(1, 7, kPage), kRespOkNodata);
    EXPECT_EQ(gpu.create_host_blob(1, 7, kPage), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.device->census().resources, 1u);
}

TEST_F(StaticBlobs, AHostBlobIsScannedOut) {
    gpu.create_host_blob(1, 7, 64 * 64 * 4);
    SetScanoutBlob show{};
    show.rect = {0, 0, 64, 64};
    show.resource_id = 7;
    show.width = show.height = 64;
    show.format = kFormatB8G8R8X8;
    show.strides[0] = 256;
    EXPECT_EQ(gpu.type_of({.type = kCmdSetScanoutBlob}, show), kRespOkNodata);
    ASSERT_NE(gpu.sink.frames[0], nullptr);
    uint32_t pixel = 0;
    EXPECT_TRUE(gpu.sink.frames[0]->read({3, 3, 1, 1}, reinterpret_cast<std::byte*>(&pixel), 4));
    EXPECT_EQ(pixel, 0x07070707u);
}

TEST_F(StaticBlobs, ScanoutsAreSetInOrderThoughOneExportIsSlow) {
    gpu.create_host_blob(1, 7, 64 * 64 * 4);
    gpu.create_2d(8, 32, 32);
    SetScanoutBlob show{};
    show.rect = {0, 0, 64, 64};
    show.resource_id = 7;
    show.width = show.height = 64;
    show.format = kFormatB8G8R8X8;
    show.strides[0] = 256;
    gpu.renderer->held = {"export_blob"};
    gpu.send(Header{.type = kCmdSetScanoutBlob}, show);
    const uint16_t second =
        gpu.send(Header{.type = kCmdSetScanout}, SetScanout{{0, 0, 32, 32}, 0, 8});
    gpu.run();
    EXPECT_FALSE(gpu.answer(second));
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(second)->type(), kRespOkNodata);
    EXPECT_EQ(gpu.sink.frames[0]->width(), 32u);
}

// A window that maps on request, as vhost-user's: the answer is the test's.

class SlowWindow final : public HostVisibleWindow {
  public:
    uint64_t size() const override { return 64 * kPage; }
    uint32_t max_mappings() const override { return 3; }
    Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t, uint64_t) override {
        return std::nullopt;
    }
    void map(uint64_t offset, rutabaga::SharedMemory memory, rutabaga::Completion<> done) override {
        mapped.emplace_back(offset, memory.size);
        answer(std::move(done));
    }
    void unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) override {
        unmapped.emplace_back(offset, size);
        answer(std::move(done));
    }
    void reset() override { ++resets; }

    void answer_all() {
        for (auto& done : std::exchange(waiting_, {})) done(result);
    }

    std::vector<std::pair<uint64_t, uint64_t>> mapped;
    std::vector<std::pair<uint64_t, uint64_t>> unmapped;
    Result<void> result;
    bool slow = false;
    size_t resets = 0;

  private:
    void answer(rutabaga::Completion<> done) {
        waiting_.push_back(std::move(done));
        if (!slow) answer_all();
    }
    std::vector<rutabaga::Completion<>> waiting_;
};

class DynamicBlobs : public ::testing::Test {
  protected:
    DynamicBlobs() : window(new SlowWindow), gpu(setup(), std::unique_ptr<SlowWindow>(window)) {
        EXPECT_EQ(gpu.create_context(1), kRespOkNodata);
        for (uint32_t id = 1; id <= 5; ++id)
            EXPECT_EQ(gpu.create_host_blob(1, id, kPage + 1), kRespOkNodata);
    }
    static Harness::Setup setup() {
        Harness::Setup setup;
        setup.renderer = true;
        return setup;
    }
    SlowWindow* window;
    Harness gpu;
};

TEST_F(DynamicBlobs, AreExportedAndMappedInWholePages) {
    EXPECT_EQ(gpu.map_blob(1, 0), kRespOkMapInfo);
    ASSERT_EQ(window->mapped.size(), 1u);
    EXPECT_EQ(window->mapped[0], std::pair(uint64_t{0}, 2 * kPage));
    EXPECT_FALSE(gpu.renderer->called("place_blob 1"));
    EXPECT_EQ(gpu.unmap_blob(1), kRespOkNodata);
    EXPECT_EQ(window->unmapped[0], std::pair(uint64_t{0}, 2 * kPage));
}

TEST_F(DynamicBlobs, OverTheWindowsLimitAreOutOfMemory) {
    for (uint32_t id = 1; id <= 3; ++id)
        EXPECT_EQ(gpu.map_blob(id, id * 2 * kPage), kRespOkMapInfo);
    EXPECT_EQ(gpu.map_blob(4, 20 * kPage), kRespErrOutOfMemory);
    EXPECT_EQ(gpu.unmap_blob(1), kRespOkNodata);
    EXPECT_EQ(gpu.map_blob(4, 20 * kPage), kRespOkMapInfo);
}

TEST_F(DynamicBlobs, ThatTheRendererCannotExportFreeTheRange) {
    gpu.renderer->failing["export_blob"] = {ErrorCode::kDeviceLost, "It crashed."};
    EXPECT_EQ(gpu.map_blob(1, 0), kRespErrUnspec);
    EXPECT_TRUE(window->mapped.empty());
    EXPECT_EQ(gpu.device->census().mappings, 0u);
    EXPECT_EQ(gpu.map_blob(2, 0), kRespErrUnspec);
}

TEST_F(DynamicBlobs, ThatTheVmmRefusesFreeTheRange) {
    window->result = fail(ErrorCode::kSystem, "The VMM says no.");
    EXPECT_EQ(gpu.map_blob(1, 0), kRespErrUnspec);
    EXPECT_EQ(gpu.device->census().mappings, 0u);
    window->result = {};
    EXPECT_EQ(gpu.map_blob(2, 0), kRespOkMapInfo);
}

TEST_F(DynamicBlobs, ThatCannotBeUnmappedKeepTheirRangeUntilReset) {
    EXPECT_EQ(gpu.map_blob(1, 0), kRespOkMapInfo);
    window->result = fail(ErrorCode::kSystem, "The VMM says no.");
    EXPECT_EQ(gpu.unmap_blob(1), kRespErrUnspec);
    window->result = {};
    EXPECT_EQ(gpu.map_blob(2, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.map_blob(1, 4 * kPage), kRespOkMapInfo);
    gpu.reset();
    EXPECT_EQ(window->resets, 1u);
}

TEST_F(DynamicBlobs, UnrefWaitsForTheVmmBeforeTheMemoryIsFreed_D11) {
    EXPECT_EQ(gpu.map_blob(1, 0), kRespOkMapInfo);
    window->slow = true;
    const uint16_t unref = gpu.send(Header{.type = kCmdResourceUnref}, ResourceUnref{1, 0});
    gpu.run();
    EXPECT_FALSE(gpu.answer(unref));
    EXPECT_FALSE(gpu.renderer->called("destroy_resource 1"));
    window->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(unref)->type(), kRespOkNodata);
    EXPECT_TRUE(gpu.renderer->called("destroy_resource 1"));
}

TEST_F(DynamicBlobs, AnAnswerOfTheVmmAfterAResetDoesNothing) {
    window->slow = true;
    gpu.send(Header{.type = kCmdResourceMapBlob}, ResourceMapBlob{1, 0, 0});
    gpu.run();
    gpu.reset();
    window->answer_all();
    gpu.turn();
    EXPECT_EQ(gpu.device->census().mappings, 0u);
    EXPECT_EQ(gpu.device->census().pending_commands, 0u);
}

TEST(InProcessBlobs, AreShownByPointer) {
    Harness::Setup setup;
    setup.renderer = true;
    auto made = std::make_unique<InProcessWindow>(64 * kPage);
    const InProcessWindow& window = *made;
    Harness gpu(setup, std::move(made));
    gpu.create_context(1);
    gpu.create_host_blob(1, 7, kPage);
    EXPECT_EQ(gpu.map_blob(7, 2 * kPage), kRespOkMapInfo);
    ASSERT_NE(window.mapping(2 * kPage), nullptr);
    *gpu.renderer->blob_bytes(7) = std::byte{0x99};
    EXPECT_EQ(window.mapping(2 * kPage)->data()[0], std::byte{0x99});
    EXPECT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_EQ(window.mapping(2 * kPage), nullptr);
}

TEST(NoWindowBlobs, CannotBeMapped) {
    Harness::Setup setup;
    setup.renderer = true;
    Harness gpu(setup);
    gpu.create_context(1);
    gpu.create_host_blob(1, 7, kPage);
    EXPECT_EQ(gpu.map_blob(7, 0), kRespErrInvalidParameter);
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
