// SPDX-License-Identifier: Apache-2.0
// Host blobs and the host-visible window.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "unit/virtio_gpu/harness.h"
#include "unit/virtio_gpu/mapped_window.h"

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

TEST_F(StaticBlobs, ARangeThatTheRendererDidNotLeaveIsNotGivenOutBeforeAReset) {
    gpu.create_host_blob(1, 7, kPage);
    gpu.create_host_blob(1, 8, kPage);
    gpu.map_blob(7, 0);
    gpu.renderer->failing["displace_blob"] = {ErrorCode::kOutOfMemory, "It has no room."};
    EXPECT_EQ(gpu.unmap_blob(7), kRespErrOutOfMemory);
    EXPECT_TRUE(reads_as_zero(0, kPage));
    gpu.renderer->failing.clear();
    EXPECT_EQ(gpu.map_blob(8, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.map_blob(8, kPage), kRespOkMapInfo);
    EXPECT_EQ(gpu.unmap_blob(7), kRespErrInvalidParameter) << "it is not mapped any more";
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

/// Blobs of 64x64 px that are shown.
constexpr uint64_t kPicture = 64 * 64 * 4;

SetScanoutBlob shown(uint32_t id, uint32_t scanout = 0, uint32_t height = 64) {
    SetScanoutBlob show{};
    show.rect = {0, 0, 64, height};
    show.scanout_id = scanout;
    show.resource_id = id;
    show.width = show.height = 64;
    show.format = kFormatB8G8R8X8;
    show.strides[0] = 256;
    return show;
}

class ShownBlobs : public StaticBlobs {
  protected:
    ShownBlobs() : StaticBlobs(setup_with_outputs()) {
        EXPECT_EQ(gpu.create_host_blob(1, 7, kPicture), kRespOkNodata);
        EXPECT_EQ(gpu.create_host_blob(1, 8, kPicture), kRespOkNodata);
    }
    static Harness::Setup setup_with_outputs() {
        Harness::Setup setup = setup_with_window();
        setup.outputs.resize(3);
        return setup;
    }
    uint32_t show(const SetScanoutBlob& request) {
        return gpu.type_of({.type = kCmdSetScanoutBlob}, request);
    }
    void draw(uint32_t id, uint8_t value) {
        std::memset(gpu.renderer->blob_bytes(id), value, kPicture);
    }
    /// The value of all bytes of a pixel; -1 when the scanout is off.
    int seen(uint32_t scanout = 0) {
        const auto& frame = gpu.sink.frames[scanout];
        if (!frame) return -1;
        uint32_t pixel = 0;
        EXPECT_TRUE(frame->read({3, 3, 1, 1}, reinterpret_cast<std::byte*>(&pixel), 4));
        EXPECT_EQ(pixel, (pixel & 0xff) * 0x01010101u);
        return static_cast<int>(pixel & 0xff);
    }
    size_t exports() {
        return static_cast<size_t>(std::ranges::count(gpu.renderer->state.calls, "export_blob 7"));
    }
};

TEST_F(ShownBlobs, AHostBlobIsScannedOut) {
    EXPECT_EQ(show(shown(7)), kRespOkNodata);
    EXPECT_EQ(seen(), 7);
}

TEST_F(ShownBlobs, AMappedBlobIsShownWhereItLivesNow) {
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    ASSERT_EQ(gpu.map_blob(7, 4 * kPage), kRespOkMapInfo);
    draw(7, 0x11);
    EXPECT_EQ(seen(), 0x11);
    std::memset(&at(4 * kPage), 0x12, kPicture);  // the guest draws
    EXPECT_EQ(seen(), 0x12);
    ASSERT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_EQ(seen(), 0x12);
    draw(7, 0x13);
    EXPECT_EQ(seen(), 0x13);
}

TEST_F(ShownBlobs, ABlobThatIsMappedFirstIsShownAndFollowed) {
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    draw(7, 0x21);
    EXPECT_EQ(seen(), 0x21);
    ASSERT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    ASSERT_EQ(gpu.map_blob(7, 32 * kPage), kRespOkMapInfo);
    draw(7, 0x22);
    EXPECT_EQ(seen(), 0x22);
}

TEST_F(ShownBlobs, ABlobThatTakesTheRangeIsNotShownInstead) {
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    ASSERT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    ASSERT_EQ(gpu.map_blob(8, 0), kRespOkMapInfo);
    EXPECT_EQ(seen(), 7);
}

TEST_F(ShownBlobs, ABlobThatMovesIsShownWholeWithoutAFlushOfTheGuest) {
    ASSERT_EQ(show(shown(7, 0, 32)), kRespOkNodata);
    gpu.sink.flushes.clear();
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    ASSERT_EQ(gpu.sink.flushes.size(), 1u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.width, 64u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.height, 32u);
}

TEST_F(ShownBlobs, EveryScanoutFollowsInItsOwnLayoutAndNoOther) {
    ASSERT_EQ(show(shown(7, 0)), kRespOkNodata);
    ASSERT_EQ(show(shown(8, 1)), kRespOkNodata);
    ASSERT_EQ(show(shown(7, 2, 16)), kRespOkNodata);
    const auto other = gpu.sink.frames[1];
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    draw(7, 0x31);
    EXPECT_EQ(seen(0), 0x31);
    EXPECT_EQ(seen(2), 0x31);
    EXPECT_EQ(gpu.sink.frames[0]->height(), 64u);
    EXPECT_EQ(gpu.sink.frames[2]->height(), 16u);
    EXPECT_EQ(gpu.sink.frames[1], other);
}

TEST_F(ShownBlobs, ABlobThatNobodyShowsIsNotExported) {
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    ASSERT_EQ(show(shown(0)), kRespOkNodata);  // off
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    ASSERT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_EQ(exports(), 1u);
}

TEST_F(ShownBlobs, TheGuestHearsOfTheMoveWhenTheScanoutHasFollowed) {
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    gpu.renderer->held = {"export_blob"};
    const uint16_t map = gpu.send(Header{.type = kCmdResourceMapBlob}, ResourceMapBlob{7, 0, 0});
    const uint16_t unmap = gpu.send(Header{.type = kCmdResourceUnmapBlob}, ResourceUnmapBlob{7, 0});
    gpu.run();
    EXPECT_FALSE(gpu.answer(map));
    EXPECT_EQ(gpu.create_2d(20, 8, 8), kRespOkNodata);  // nothing else waits
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(map)->type(), kRespOkMapInfo);
    EXPECT_FALSE(gpu.answer(unmap));
    EXPECT_EQ(at(0), std::byte{7}) << "the range is empty while the scanout still shows it";
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(unmap)->type(), kRespOkNodata);
    EXPECT_TRUE(reads_as_zero(0, kPicture));
    EXPECT_EQ(seen(), 7);
}

TEST_F(ShownBlobs, AScanoutThatShowsSomethingElseByThenKeepsIt) {
    ASSERT_EQ(show(shown(7, 0)), kRespOkNodata);
    ASSERT_EQ(show(shown(7, 1)), kRespOkNodata);
    gpu.create_2d(20, 32, 32);
    gpu.renderer->held = {"export_blob"};
    const uint16_t map = gpu.send(Header{.type = kCmdResourceMapBlob}, ResourceMapBlob{7, 0, 0});
    gpu.run();
    ASSERT_EQ(gpu.set_scanout(0, 20, {0, 0, 32, 32}), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(1, 0, {}), kRespOkNodata);
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(map)->type(), kRespOkMapInfo);
    EXPECT_EQ(gpu.sink.frames[0]->width(), 32u);
    EXPECT_EQ(seen(1), -1);
}

TEST_F(ShownBlobs, AScanoutThatCannotFollowIsTurnedOff) {
    ASSERT_EQ(show(shown(7, 0)), kRespOkNodata);
    ASSERT_EQ(show(shown(7, 1)), kRespOkNodata);
    ASSERT_EQ(show(shown(8, 2)), kRespOkNodata);
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    const Error crash{ErrorCode::kDeviceLost, "It crashed."};
    gpu.renderer->failing = {{"displace_blob", crash}, {"export_blob", crash}};
    EXPECT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_EQ(seen(0), -1);
    EXPECT_EQ(seen(1), -1);
    EXPECT_EQ(seen(2), 8);
    EXPECT_TRUE(reads_as_zero(0, kPicture));
    gpu.renderer->failing.clear();
    EXPECT_EQ(show(shown(7)), kRespOkNodata);
    EXPECT_EQ(seen(), 7);
}

TEST_F(ShownBlobs, ABlobThatCannotBePlacedIsShownAsBefore) {
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    gpu.renderer->failing["place_blob"] = {ErrorCode::kOutOfMemory, "The GPU is full."};
    EXPECT_EQ(gpu.map_blob(7, 0), kRespErrOutOfMemory);
    draw(7, 0x41);
    EXPECT_EQ(seen(), 0x41);
}

TEST_F(ShownBlobs, AResetInTheMiddleLeavesTheScanoutOff) {
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    gpu.renderer->held = {"export_blob"};
    gpu.send(Header{.type = kCmdResourceMapBlob}, ResourceMapBlob{7, 0, 0});
    gpu.run();
    gpu.reset();
    gpu.renderer->answer_all();
    gpu.turn();
    EXPECT_EQ(seen(), -1);
    EXPECT_EQ(gpu.device->census().pending_commands, 0u);
}

TEST_F(ShownBlobs, Unref_TurnsOffAndAsksForNoFrame) {
    ASSERT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    ASSERT_EQ(show(shown(7)), kRespOkNodata);
    EXPECT_EQ(gpu.unref(7), kRespOkNodata);
    EXPECT_EQ(seen(), -1);
    EXPECT_EQ(exports(), 1u);
}

TEST_F(ShownBlobs, ScanoutsAreSetInOrderThoughOneExportIsSlow) {
    gpu.create_2d(20, 32, 32);
    gpu.renderer->held = {"export_blob"};
    gpu.send(Header{.type = kCmdSetScanoutBlob}, shown(7));
    const uint16_t second =
        gpu.send(Header{.type = kCmdSetScanout}, SetScanout{{0, 0, 32, 32}, 0, 20});
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

TEST_F(DynamicBlobs, ThatAreShownStayWhereTheyAre) {
    ASSERT_EQ(gpu.create_host_blob(1, 7, kPicture), kRespOkNodata);
    ASSERT_EQ(gpu.type_of({.type = kCmdSetScanoutBlob}, shown(7)), kRespOkNodata);
    const auto frame = gpu.sink.frames[0];
    EXPECT_EQ(gpu.map_blob(7, 0), kRespOkMapInfo);
    EXPECT_EQ(gpu.unmap_blob(7), kRespOkNodata);
    EXPECT_EQ(gpu.sink.frames[0], frame);
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

TEST(MappedBlobs, AreShownUntilTheyAreUnmapped) {
    Harness::Setup setup;
    setup.renderer = true;
    auto made = std::make_unique<MappedWindow>(64 * kPage);
    const MappedWindow& window = *made;
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
