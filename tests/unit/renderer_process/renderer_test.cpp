// SPDX-License-Identifier: Apache-2.0
// What every Renderer does, in process and in a renderer process alike.
#include <fcntl.h>

#include <numeric>
#include <optional>

#include "harness.h"

namespace swede::test {
namespace {

enum class Where { kInProcess, kProcess };

class AnyRenderer : public RendererTest, public ::testing::WithParamInterface<Where> {
  protected:
    void SetUp() override {
        if (GetParam() == Where::kProcess)
            start_process();
        else
            start_in_process();
    }
    /// In process submit() fails; over a socket the context is lost instead.
    [[nodiscard]] bool refuses(rutabaga::ContextId context, const Commands& commands) {
        if (!submit(context, commands)) return true;
        return wait_until([&] { return sink_->lost.contains(context); });
    }
};

INSTANTIATE_TEST_SUITE_P(Both, AnyRenderer, ::testing::Values(Where::kInProcess, Where::kProcess),
                         [](const auto& instance) {
                             return instance.param == Where::kProcess ? "Process" : "InProcess";
                         });

TEST_P(AnyRenderer, OffersTheTestCapset) {
    ASSERT_EQ(renderer_->capsets().size(), 1u);
    const rutabaga::Capset& capset = renderer_->capsets()[0];
    EXPECT_EQ(capset.id, static_cast<uint32_t>(SWEDE_TEST_CAPSET_ID));
    EXPECT_EQ(capset.version, static_cast<uint32_t>(SWEDE_TEST_CAPSET_VERSION));
    swede_test_capset data{};
    ASSERT_EQ(capset.data.size(), sizeof(data));
    std::memcpy(&data, capset.data.data(), sizeof(data));
    EXPECT_EQ(data.magic, SWEDE_TEST_CAPSET_MAGIC);
    EXPECT_TRUE(renderer_->owns_3d_resources());
}

TEST_P(AnyRenderer, Context_CanBeMadeAgainAfterItsEnd) {
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(create_context(1));
        ASSERT_TRUE(destroy_context(1));
    }
}

TEST_P(AnyRenderer, Blob_ReadsAsZero) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, 3 * kPageSize));
    auto memory = export_blob(7);
    ASSERT_TRUE(memory) << memory.error().message;
    ASSERT_EQ(memory->size, 3 * kPageSize);
    const auto mapping =
        Mapping::peer_file(memory->fd.get(), memory->offset, memory->size, Access::kRead).value();
    EXPECT_TRUE(
        std::ranges::all_of(mapping.bytes(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST_P(AnyRenderer, Blob_ExportCannotShrink) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    auto memory = export_blob(7);
    ASSERT_TRUE(memory);
    EXPECT_NE(::fcntl(memory->fd.get(), F_GET_SEALS) & F_SEAL_SHRINK, 0);
    EXPECT_NE(::fcntl(memory->fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_P(AnyRenderer, Blob_OfPartOfAPageIsExportedAsWholePages) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize + 1));
    auto memory = export_blob(7);
    ASSERT_TRUE(memory);
    EXPECT_EQ(memory->size, 2 * kPageSize);
}

TEST_P(AnyRenderer, Blob_ShowsWhatCommandsWrite) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    auto memory = export_blob(7);
    ASSERT_TRUE(memory);
    const auto mapping =
        Mapping::peer_file(memory->fd.get(), 0, memory->size, Access::kReadWrite).value();
    const uint32_t echoed = 0xabcd0123;
    ASSERT_TRUE(submit(1, Commands()
                              .add(SWEDE_TEST_FILL, 7, 0x55660000, 0, 16)
                              .add(SWEDE_TEST_ADD, 7, 5, 4)
                              .add(SWEDE_TEST_ECHO, 7, 0, 100, 0, bytes_of(echoed))));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(mapping, 0), 0x55660000u);
    EXPECT_EQ(word_at(mapping, 4), 0x55660001u + 5);
    EXPECT_EQ(word_at(mapping, 60), 0x5566000fu);
    EXPECT_EQ(word_at(mapping, 64), 0u);
    EXPECT_EQ(word_at(mapping, 100), echoed);
}

TEST_P(AnyRenderer, Blob_TooLargeIsOutOfMemoryAndNothingElse) {
    ASSERT_TRUE(create_context(1));
    const auto made = create_blob(1, 7, SWEDE_TEST_MAX_BLOB_SIZE + 1);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kOutOfMemory);
    EXPECT_FALSE(export_blob(7));
    EXPECT_TRUE(create_blob(1, 7, kPageSize));
}

TEST_P(AnyRenderer, Blob_ThatTheRendererCannotMakeCanBeMadeLater) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_FAIL)));
    const auto made = create_blob(1, 7, kPageSize);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kOutOfMemory);
    EXPECT_TRUE(create_blob(1, 7, kPageSize));
}

TEST_P(AnyRenderer, Blob_IsGoneOnceDestroyed) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(destroy_resource(7));
    const auto memory = export_blob(7);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().code, ErrorCode::kInvalidResource);
}

TEST_P(AnyRenderer, PlacedBlob_LivesInItsRangeOfTheWindowOnly) {
    const UniqueFd window = create_memfd("window", 16 * kPageSize).value();
    const auto view =
        Mapping::own_file(window.get(), 0, 16 * kPageSize, Access::kReadWrite).value();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, 2 * kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_FILL, 7, 100, 0, 2 * kPageSize / 4)));
    ASSERT_TRUE(place(7, window.get(), 4 * kPageSize, 2 * kPageSize));
    EXPECT_EQ(word_at(view, 4 * kPageSize), 100u);
    EXPECT_EQ(word_at(view, 6 * kPageSize - 4), 100u + 2 * kPageSize / 4 - 1);

    // The guest writes, the renderer increments: one memory.
    const uint32_t from_guest = 41;
    std::memcpy(view.data() + 4 * kPageSize + 8, &from_guest, 4);
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ADD, 7, 1, 8)));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(view, 4 * kPageSize + 8), 42u);
    const auto is_zero = [](std::byte b) { return b == std::byte{0}; };
    EXPECT_TRUE(std::ranges::all_of(view.bytes().first(4 * kPageSize), is_zero));
    EXPECT_TRUE(std::ranges::all_of(view.bytes().subspan(6 * kPageSize), is_zero));
}

TEST_P(AnyRenderer, DisplacedBlob_KeepsItsContentsAndLeavesTheWindowAlone) {
    const UniqueFd window = create_memfd("window", 4 * kPageSize).value();
    const auto view = Mapping::own_file(window.get(), 0, 4 * kPageSize, Access::kReadWrite).value();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(place(7, window.get(), 0, kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_FILL, 7, 0x1000, 0, 2)));
    ASSERT_TRUE(finish(1));
    ASSERT_TRUE(displace(7));
    std::memset(view.data(), 0xee, kPageSize);  // the next owner's
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ADD, 7, 1, 0)));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(view, 0), 0xeeeeeeeeu);
    ASSERT_TRUE(place(7, window.get(), 2 * kPageSize, kPageSize));
    EXPECT_EQ(word_at(view, 2 * kPageSize), 0x1001u);
    EXPECT_EQ(word_at(view, 2 * kPageSize + 4), 0x1001u);
}

TEST_P(AnyRenderer, Blob_IsExportedWhereItLivesNow) {
    const UniqueFd window = create_memfd("window", 4 * kPageSize).value();
    const auto view = Mapping::own_file(window.get(), 0, 4 * kPageSize, Access::kReadWrite).value();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    const auto first_word = [&] {
        const auto memory = export_blob(7).value();
        const auto mapped =
            Mapping::peer_file(memory.fd.get(), memory.offset, memory.size, Access::kRead).value();
        return word_at(mapped, 0);
    };
    ASSERT_TRUE(place(7, window.get(), 2 * kPageSize, kPageSize));
    std::memset(view.data() + 2 * kPageSize, 0x11, kPageSize);
    EXPECT_EQ(first_word(), 0x11111111u);
    ASSERT_TRUE(displace(7));
    std::memset(view.data() + 2 * kPageSize, 0x22, kPageSize);
    EXPECT_EQ(first_word(), 0x11111111u);
}

TEST_P(AnyRenderer, Blob_CannotBePlacedTwiceOrDisplacedUnplaced) {
    const UniqueFd window = create_memfd("window", 4 * kPageSize).value();
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    EXPECT_FALSE(displace(7));
    ASSERT_TRUE(place(7, window.get(), 0, kPageSize));
    EXPECT_FALSE(place(7, window.get(), kPageSize, kPageSize));
    EXPECT_TRUE(displace(7));
}

TEST_P(AnyRenderer, Fences_OfARingAreReachedInOrder) {
    ASSERT_TRUE(create_context(1));
    std::vector<uint64_t> expected;
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_DELAY, 0, i % 3), 5));
        expected.push_back(fence(1, 5));
    }
    ASSERT_TRUE(wait_until([&] { return sink_->fences.size() == expected.size(); }));
    EXPECT_EQ(sink_->fences, expected);
}

TEST_P(AnyRenderer, Fence_OfADelayedRingDoesNotHoldBackAnother) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_DELAY, 0, 500), 1));
    const uint64_t delayed = fence(1, 1);
    const uint64_t quick = fence(1, 2);
    const uint64_t global = fence(1, {});
    ASSERT_TRUE(wait_until([&] { return sink_->fences.size() == 3; }));
    EXPECT_EQ(sink_->fences, (std::vector{quick, global, delayed}));
}

TEST_P(AnyRenderer, Fence_OfOneContextDoesNotHoldBackAnothers) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_context(2));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_STALL_RING), 0));
    const uint64_t stalled = fence(1, 0);
    const uint64_t other = fence(2, 0);
    ASSERT_TRUE(wait_until([&] { return is_done(other); }));
    EXPECT_FALSE(is_done(stalled));
}

TEST_P(AnyRenderer, GuestMemory_IsWrittenWhereTheGuestListedIt) {
    const Mapping ram = add_guest_memory(0x100000, 8 * kPageSize);
    ASSERT_TRUE(create_context(1));
    // Pages out of order, one in two parts.
    const std::vector<wire::MemEntry> entries{
        {0x105000, 4096, 0}, {0x101800, 2048, 0}, {0x101000, 2048, 0}};
    auto backing = memory_.make_backing(entries).value();
    renderer_->attach_resource(1, 9, {backing->size(), backing});
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_FILL, 9, 1, 0, 2048)));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(ram, 0x5000), 1u);
    EXPECT_EQ(word_at(ram, 0x5ffc), 1024u);
    EXPECT_EQ(word_at(ram, 0x1800), 1025u);
    EXPECT_EQ(word_at(ram, 0x1000), 1537u);
    EXPECT_EQ(word_at(ram, 0x17fc), 2048u);
    EXPECT_EQ(word_at(ram, 0x2000), 0u);
    EXPECT_EQ(word_at(ram, 0x4ffc), 0u);
}

TEST_P(AnyRenderer, GuestMemory_AddedLaterIsReachable) {
    ASSERT_TRUE(create_context(1));
    const Mapping ram = add_guest_memory(0x40000000, 2 * kPageSize);
    const std::vector<wire::MemEntry> entries{{0x40000000, 8192, 0}};
    renderer_->attach_resource(1, 9, {8192, memory_.make_backing(entries).value()});
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ADD, 9, 77, 8188)));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(ram, 8188), 77u);
}

TEST_P(AnyRenderer, GuestMemory_IsOutOfReachOnceDetached) {
    const Mapping ram = add_guest_memory(0, 2 * kPageSize);
    ASSERT_TRUE(create_context(1));
    const std::vector<wire::MemEntry> entries{{0, 4096, 0}};
    renderer_->attach_resource(1, 9, {4096, memory_.make_backing(entries).value()});
    renderer_->detach_resource(1, 9);
    EXPECT_TRUE(refuses(1, Commands().add(SWEDE_TEST_ADD, 9, 1, 0)));
    EXPECT_EQ(word_at(ram, 0), 0u);
}

TEST_P(AnyRenderer, GuestMemory_IsOutOfReachOnceItsRegionIsGone) {
    const Mapping ram = add_guest_memory(0, 2 * kPageSize);
    ASSERT_TRUE(create_context(1));
    const std::vector<wire::MemEntry> entries{{0, 4096, 0}};
    renderer_->attach_resource(1, 9, {4096, memory_.make_backing(entries).value()});
    ASSERT_TRUE(memory_.remove(0, 2 * kPageSize));
    EXPECT_TRUE(refuses(1, Commands().add(SWEDE_TEST_ADD, 9, 1, 0)));
    EXPECT_EQ(word_at(ram, 0), 0u);
}

TEST_P(AnyRenderer, GuestMemory_OfTwoContextsOutlivesTheFirst) {
    const Mapping ram = add_guest_memory(0, 2 * kPageSize);
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_context(2));
    const std::vector<wire::MemEntry> entries{{0, 4096, 0}};
    const auto backing = memory_.make_backing(entries).value();
    renderer_->attach_resource(1, 9, {4096, backing});
    renderer_->attach_resource(2, 9, {4096, backing});
    ASSERT_TRUE(destroy_context(1));
    ASSERT_TRUE(submit(2, Commands().add(SWEDE_TEST_ADD, 9, 3, 0)));
    ASSERT_TRUE(finish(2));
    EXPECT_EQ(word_at(ram, 0), 3u);
}

TEST_P(AnyRenderer, Resource3d_IsSharedByExportAndImport) {
    wire::ResourceCreate3d request{};
    request.resource_id = 3;
    request.width = 64;
    request.height = 48;
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(await([&](auto done) { renderer_->create_3d(3, request, std::move(done)); }));
    auto memory = export_blob(3);
    ASSERT_TRUE(memory) << memory.error().message;
    ASSERT_EQ(memory->size, 3 * kPageSize);
    EXPECT_EQ(memory->stride, 64u * 4);
    const auto seen =
        Mapping::peer_file(memory->fd.get(), 0, memory->size, Access::kReadWrite).value();
    ASSERT_TRUE(await(
        [&](auto done) { renderer_->import_3d(4, request, *std::move(memory), std::move(done)); }));
    renderer_->attach_resource(1, 4, {0, nullptr});
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ADD, 4, 7, 256)));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(seen, 256), 7u);
    ASSERT_TRUE(destroy_resource(3));
    EXPECT_TRUE(export_blob(4)) << "it is a resource of its own";
    ASSERT_TRUE(destroy_resource(4));
    EXPECT_FALSE(export_blob(4));
}

TEST_P(AnyRenderer, Resource3d_ImportOfTooLittleMemoryFails) {
    wire::ResourceCreate3d request{};
    request.width = 64;
    request.height = 48;
    const auto import = [&](uint64_t size) {
        return await([&](auto done) {
            renderer_->import_3d(4, request, {create_memfd("little", size).value(), 0, size},
                                 std::move(done));
        });
    };
    EXPECT_FALSE(import(2 * kPageSize));
    EXPECT_FALSE(export_blob(4));
    EXPECT_TRUE(import(3 * kPageSize)) << "the id is free again";
}

TEST_P(AnyRenderer, Transfer_GoesBothWays) {
    const Mapping ram = add_guest_memory(0, 2 * kPageSize);
    const std::vector<wire::MemEntry> entries{{0, 8192, 0}};
    wire::ResourceCreate3d request{};
    request.width = 64;
    request.height = 1;
    ASSERT_TRUE(await([&](auto done) { renderer_->create_3d(3, request, std::move(done)); }));
    renderer_->attach_backing(3, memory_.make_backing(entries).value());
    std::vector<uint32_t> pixels(64);
    std::iota(pixels.begin(), pixels.end(), 10);
    std::memcpy(ram.data() + 256, pixels.data(), 256);
    wire::TransferHost3d transfer{};
    transfer.box.width = 64;
    transfer.offset = 256;
    ASSERT_TRUE(
        await([&](auto done) { renderer_->transfer_to_host(0, 3, transfer, std::move(done)); }));
    transfer.offset = 4096;
    transfer.box.x = 1;
    transfer.box.width = 63;
    ASSERT_TRUE(
        await([&](auto done) { renderer_->transfer_from_host(0, 3, transfer, std::move(done)); }));
    EXPECT_EQ(word_at(ram, 4096), 11u);
    EXPECT_EQ(word_at(ram, 4096 + 62 * 4), 73u);

    transfer.box.width = 64;
    EXPECT_FALSE(
        await([&](auto done) { renderer_->transfer_to_host(0, 3, transfer, std::move(done)); }));
    renderer_->detach_backing(3);
    transfer.box.width = 1;
    EXPECT_FALSE(
        await([&](auto done) { renderer_->transfer_to_host(0, 3, transfer, std::move(done)); }));
}

TEST_P(AnyRenderer, Commands_OutsideTheirResourceAreRefused) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    EXPECT_TRUE(refuses(1, Commands().add(SWEDE_TEST_ADD, 7, 1, kPageSize)));
}

TEST_P(AnyRenderer, Commands_OnWhatIsNotAttachedAreRefused) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_context(2));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    EXPECT_TRUE(refuses(2, Commands().add(SWEDE_TEST_ADD, 7, 1, 0)));
}

TEST_P(AnyRenderer, Commands_CutShortAreRefused) {
    ASSERT_TRUE(create_context(1));
    const std::vector<std::byte> half(10);
    EXPECT_TRUE(!renderer_->submit(1, 0, half) ||
                wait_until([&] { return sink_->lost.contains(1); }));
}

TEST_P(AnyRenderer, Context_LostByItsRendererIsReported) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_context(2));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_LOSE_CONTEXT)));
    ASSERT_TRUE(wait_until([&] { return sink_->lost.contains(1); }));
    EXPECT_FALSE(sink_->lost.contains(2));
    EXPECT_TRUE(destroy_context(1));
    EXPECT_TRUE(finish(2));
}

TEST_P(AnyRenderer, SlowExport_HoldsBackNothingElse) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_SLOW, 0, 300)));
    auto [done, memory] = slot<rutabaga::SharedMemory>();
    renderer_->export_blob(7, std::move(done));
    ASSERT_TRUE(create_context(2));
    ASSERT_TRUE(finish(2));
    EXPECT_FALSE(memory->has_value());
    ASSERT_TRUE(wait_until([&, &answer = *memory] { return answer.has_value(); }));
    EXPECT_TRUE((*memory)->has_value());
}

TEST_P(AnyRenderer, Reset_ForgetsEverything) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_STALL_RING), 3));
    const uint64_t stalled = fence(1, 3);
    ASSERT_TRUE(reset());
    EXPECT_FALSE(export_blob(7));
    EXPECT_FALSE(is_done(stalled));
    ASSERT_TRUE(create_context(1));
    EXPECT_TRUE(finish(1, 3)) << "the new epoch's ring is not the old one";
    EXPECT_TRUE(create_blob(1, 7, kPageSize));
}

TEST_P(AnyRenderer, Reset_KeepsTheGuestsRam) {
    const Mapping ram = add_guest_memory(0, 2 * kPageSize);
    ASSERT_TRUE(create_context(1));
    const std::vector<wire::MemEntry> entries{{0, 4096, 0}};
    renderer_->attach_resource(1, 9, {4096, memory_.make_backing(entries).value()});
    ASSERT_TRUE(reset());
    ASSERT_TRUE(create_context(1));
    renderer_->attach_resource(1, 9, {4096, memory_.make_backing(entries).value()});
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_ADD, 9, 3, 0)));
    ASSERT_TRUE(finish(1));
    EXPECT_EQ(word_at(ram, 0), 3u);
}

TEST_P(AnyRenderer, Reset_AnswersWhatWasOut) {
    ASSERT_TRUE(create_context(1));
    ASSERT_TRUE(create_blob(1, 7, kPageSize));
    ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_NEVER_ANSWER)));
    auto [done, memory] = slot<rutabaga::SharedMemory>();
    renderer_->export_blob(7, std::move(done));
    ASSERT_TRUE(reset());
    ASSERT_TRUE(wait_until([&, &answer = *memory] { return answer.has_value(); }));
    ASSERT_FALSE(memory->value());
    EXPECT_EQ((*memory)->error().code, ErrorCode::kDeviceLost);
}

TEST_P(AnyRenderer, Reset_LeavesNoFileAndNoThread) {
    std::optional<Census> before;
    for (int round = 0; round < 4; ++round) {
        ASSERT_TRUE(create_context(1));
        for (uint32_t i = 1; i <= 50; ++i) ASSERT_TRUE(create_blob(1, i, kPageSize));
        ASSERT_TRUE(export_blob(3));
        ASSERT_TRUE(finish(1));
        ASSERT_TRUE(submit(1, Commands().add(SWEDE_TEST_DELAY, 0, 100000), 1));
        static_cast<void>(fence(1, 1));
        ASSERT_TRUE(reset());
        turn();
        // Timers and watches of the stub exist from their first use on, and a thread of TSan's.
        if (!before) before = census();
        EXPECT_EQ(census(), *before);
    }
}

}  // namespace
}  // namespace swede::test
