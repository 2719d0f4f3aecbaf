// SPDX-License-Identifier: Apache-2.0
// What any command may be wrong in: type, queue, feature, sizes, memory, ring.
#include <gtest/gtest.h>

#include <random>

#include "unit/virtio_gpu/harness.h"
#include "virtio_gpu/command_table.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;

Harness::Setup full() {
    Harness::Setup setup;
    setup.renderer = true;
    setup.window = 1 << 20;
    return setup;
}

/// A request of the command with a body of zeroes.
std::vector<std::byte> zeroes(const CommandInfo& info, size_t body) {
    auto bytes = Harness::request({.type = info.type});
    bytes.resize(bytes.size() + body);
    return bytes;
}

/// Few commands may be much work, and others wait for the device's thread: it takes 64 copies of
/// 64 MiB in more turns than one.
TEST(Turns, EndAfterMuchWork) {
    Harness gpu{Harness::Setup{}};
    constexpr uint32_t kEdge = 4096;
    constexpr uint32_t kPieces = 4096;
    constexpr uint32_t kPiece = 4 * kEdge * kEdge / kPieces;
    ASSERT_EQ(gpu.create_2d(1, kEdge, kEdge), kRespOkNodata);
    const uint64_t address = gpu.guest.allocate(kPiece);
    const std::vector<MemEntry> again(kPieces, MemEntry{address, kPiece, 0});
    std::vector<std::byte> attach =
        Harness::request({.type = kCmdResourceAttachBacking}, ResourceAttachBacking{1, kPieces});
    const auto entries = std::as_bytes(std::span(again));
    attach.insert(attach.end(), entries.begin(), entries.end());
    ASSERT_EQ(gpu.ask_bytes(attach).type(), kRespOkNodata);
    std::vector<uint16_t> heads;
    for (int i = 0; i < 64; ++i)
        heads.push_back(gpu.send(Harness::request({.type = kCmdTransferToHost2d},
                                                  TransferToHost2d{{0, 0, kEdge, kEdge}, 0, 1, 0}),
                                 sizeof(ControlHeader)));
    gpu.kick();
    EXPECT_TRUE(gpu.answer(heads.front()));
    EXPECT_FALSE(gpu.answer(heads.back()));
    std::optional<Harness::Answer> last;
    for (int i = 0; i < 1000 && !last; ++i) {
        gpu.turn();
        last = gpu.answer(heads.back());
    }
    ASSERT_TRUE(last);
    EXPECT_EQ(last->type(), kRespOkNodata);
}

TEST(CommandTable, HasEveryCommandOfTheSpecification) {
    // virtio 1.3, 5.7.6.7, by number.
    std::vector<uint32_t> types;
    for (uint32_t type = 0x100; type <= 0x10d; ++type) types.push_back(type);
    for (uint32_t type = 0x200; type <= 0x209; ++type) types.push_back(type);
    for (uint32_t type = 0x300; type <= 0x301; ++type) types.push_back(type);
    ASSERT_EQ(command_table().size(), types.size());
    for (const uint32_t type : types) {
        const CommandInfo* const info = find_command(type);
        ASSERT_NE(info, nullptr) << std::hex << type;
        EXPECT_EQ(info->type, type);
        EXPECT_NE(info->handler, nullptr);
    }
    for (const uint32_t type : {0u, 0xffu, 0x10eu, 0x20au, 0x302u, 0x1100u, ~0u})
        EXPECT_EQ(find_command(type), nullptr);
}

TEST(Features, AreWhatTheDoorPassesAndTheRendererServes_D14) {
    const auto features = [](bool blobs, bool virgl, bool renderer) {
        Harness::Setup setup;
        setup.door.blobs = blobs;
        setup.door.virgl = virgl;
        setup.renderer = renderer;
        return Harness(setup).device->features();
    };
    constexpr uint64_t kAlways = kFeatureEdid | kFeatureResourceUuid;
    EXPECT_EQ(features(true, true, true),
              kAlways | kFeatureResourceBlob | kFeatureVirgl | kFeatureContextInit);
    EXPECT_EQ(features(true, true, false), kAlways | kFeatureResourceBlob);
    EXPECT_EQ(features(false, true, true), kAlways | kFeatureVirgl);
    EXPECT_EQ(features(true, false, true), kAlways | kFeatureResourceBlob | kFeatureContextInit);
    EXPECT_EQ(features(false, false, false), kAlways);
}

TEST(Features, CommandsOfAFeatureThatIsNotNegotiatedAreUnspec_D14) {
    Harness::Setup setup = full();
    setup.features = 0;
    Harness gpu(setup);
    for (const CommandInfo& info : command_table()) {
        if (info.feature == 0) continue;
        EXPECT_EQ(gpu.ask_bytes(zeroes(info, 128)).type(), kRespErrUnspec) << info.name;
    }
    EXPECT_TRUE(gpu.renderer->state.calls.empty());
}

TEST(Features, EveryBitThatIsOfferedHasItsCommandsServed_D14) {
    Harness gpu(full());
    for (const CommandInfo& info : command_table()) {
        if (info.queue != kControlQueue) continue;
        EXPECT_NE(gpu.ask_bytes(zeroes(info, 128)).type(), kRespErrUnspec) << info.name;
    }
}

TEST(Request, OfAnUnknownTypeIsUnspec_I10) {
    Harness gpu(full());
    for (const uint32_t type :
         {0u, 1u, 0xffu, 0x10eu, 0x20au, 0x300u, 0x301u, 0x302u, 0x1100u, ~0u})
        EXPECT_EQ(gpu.type_of({.type = type}), kRespErrUnspec);
    // The cursor queue takes cursor commands alone.
    EXPECT_EQ(gpu.cursor_type_of(kCmdGetDisplayInfo, {}), kRespErrUnspec);
    EXPECT_EQ(gpu.cursor_type_of(0xffff, {}), kRespErrUnspec);
}

TEST(Request, TooShortForItsCommandIsAnInvalidParameter) {
    Harness gpu(full());
    for (const CommandInfo& info : command_table()) {
        if (info.queue != kControlQueue) continue;
        for (size_t body = 0; body < info.request_size; body += 4)
            EXPECT_EQ(gpu.ask_bytes(zeroes(info, body)).type(), kRespErrInvalidParameter)
                << info.name << " with " << body;
        if (info.request_size == 0) continue;
        EXPECT_EQ(gpu.ask_bytes(zeroes(info, info.request_size - 1)).type(),
                  kRespErrInvalidParameter)
            << info.name;
    }
    EXPECT_TRUE(gpu.renderer->state.calls.empty());
}

TEST(Request, WithoutAWholeHeaderIsGivenBackEmpty) {
    Harness gpu;
    const std::vector<std::byte> bytes(23, std::byte{1});
    for (const size_t size : {0u, 1u, 4u, 23u}) {
        const auto answer = gpu.ask_bytes(std::span(bytes).first(size));
        EXPECT_EQ(answer.written, 0u);
    }
    EXPECT_EQ(gpu.create_2d(1, 8, 8), kRespOkNodata);  // the queue goes on
}

TEST(Response, WithoutRoomForAHeaderNothingIsDone) {
    Harness gpu;
    for (const uint32_t room : {0u, 1u, 23u}) {
        const auto answer =
            gpu.ask_bytes(Harness::request({.type = kCmdResourceCreate2d},
                                           ResourceCreate2d{1, kFormatB8G8R8X8, 8, 8}),
                          room);
        EXPECT_EQ(answer.written, 0u);
    }
    EXPECT_EQ(gpu.device->census().resources, 0u);
}

TEST(Response, WithoutRoomForAllOfItIsAnError) {
    Harness gpu(full());
    for (const CommandInfo& info : command_table()) {
        if (info.queue != kControlQueue) continue;
        for (uint32_t room = sizeof(ControlHeader); room < info.response_size; room += 4) {
            const auto answer = gpu.ask_bytes(zeroes(info, info.request_size), room);
            EXPECT_EQ(answer.type(), kRespErrInvalidParameter) << info.name << " " << room;
            EXPECT_EQ(answer.written, sizeof(ControlHeader));
        }
    }
}

/// CVE-2016-9908, CVE-2021-3545: what comes back is written by the device to the last byte.
TEST(Response, HoldsNoUninitialisedBytes_CVE_2016_9908_CVE_2021_3545) {
    Harness gpu(full());
    gpu.create_2d(1, 8, 8);
    const std::vector<std::vector<std::byte>> requests{
        Harness::request({.type = kCmdGetDisplayInfo}),
        Harness::request({.type = kCmdGetEdid}, GetEdid{0, 0}),
        Harness::request({.type = kCmdGetCapsetInfo}, GetCapsetInfo{0, 0}),
        Harness::request({.type = kCmdGetCapset}, GetCapset{Harness::kCapset, 0}),
        Harness::request({.type = kCmdResourceAssignUuid}, ResourceAssignUuid{1, 0}),
        Harness::request({.type = kCmdResourceCreate2d}, ResourceCreate2d{9, 1, 8, 8}),
        Harness::request({.type = 0xffff})};
    for (const auto& bytes : requests) {
        // Two pooled commands that have carried other answers give the same bytes.
        const auto first = gpu.ask_bytes(bytes);
        std::vector<std::byte> dirty = Harness::request(
            {.type = kCmdGetEdid, .flags = kFlagFence, .fence_id = ~uint64_t{0}, .ctx_id = ~0u},
            GetEdid{0, 0});
        gpu.ask_bytes(dirty);
        if (first.type() == kRespOkNodata) gpu.unref(9);
        const auto second = gpu.ask_bytes(bytes);
        EXPECT_EQ(first.bytes, second.bytes);
        const ControlHeader header = second.header();
        EXPECT_EQ(header.flags, 0u);
        EXPECT_EQ(header.fence_id, 0u);
        EXPECT_EQ(header.ctx_id, 0u);
        EXPECT_EQ(header.ring_idx, 0u);
        for (const uint8_t byte : header.padding) EXPECT_EQ(byte, 0u);
    }
}

TEST(Capsets, AreTheRenderers) {
    Harness gpu(full());
    const auto info =
        gpu.ask({.type = kCmdGetCapsetInfo}, GetCapsetInfo{0, 0}).as<RespCapsetInfo>();
    EXPECT_EQ(info.header.type, kRespOkCapsetInfo);
    EXPECT_EQ(info.capset_id, Harness::kCapset);
    EXPECT_EQ(info.capset_max_version, 3u);
    EXPECT_EQ(info.capset_max_size, 40u);
    EXPECT_EQ(info.padding, 0u);
    EXPECT_EQ(gpu.type_of({.type = kCmdGetCapsetInfo}, GetCapsetInfo{2, 0}),
              kRespErrInvalidParameter);
    EXPECT_EQ(gpu.type_of({.type = kCmdGetCapsetInfo}, GetCapsetInfo{~0u, 0}),
              kRespErrInvalidParameter);
    const auto capset = gpu.ask({.type = kCmdGetCapset}, GetCapset{Harness::kCapset, 3});
    EXPECT_EQ(capset.type(), kRespOkCapset);
    EXPECT_EQ(capset.written, sizeof(ControlHeader) + 40);
    EXPECT_EQ(capset.bytes.back(), std::byte{0xab});
    Config config{};
    gpu.device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    EXPECT_EQ(config.num_capsets, 2u);  // counted, not a constant (D15)
}

TEST(Capsets, AWrongVersionIdOrATooSmallBufferIsAnError_CVE_2021_3546) {
    Harness gpu(full());
    EXPECT_EQ(gpu.type_of({.type = kCmdGetCapset}, GetCapset{Harness::kCapset, 4}),
              kRespErrInvalidParameter);
    EXPECT_EQ(gpu.type_of({.type = kCmdGetCapset}, GetCapset{Harness::kCapset, ~0u}),
              kRespErrInvalidParameter);
    EXPECT_EQ(gpu.type_of({.type = kCmdGetCapset}, GetCapset{0, 0}), kRespErrInvalidParameter);
    const auto request = Harness::request({.type = kCmdGetCapset}, GetCapset{Harness::kCapset, 0});
    for (const uint32_t room : {24u, 25u, 63u}) {
        const auto answer = gpu.ask_bytes(request, room);
        EXPECT_EQ(answer.type(), kRespErrInvalidParameter);
        EXPECT_EQ(answer.written, sizeof(ControlHeader));
    }
    EXPECT_EQ(gpu.ask_bytes(request, 64).type(), kRespOkCapset);
}

/// Linux puts request and response where it likes: split at any byte, they mean the same.
TEST(Request, MayBeCutIntoPiecesAnywhere) {
    Harness gpu;
    const auto request = Harness::request({.type = kCmdGetEdid}, GetEdid{0, 0});
    const auto whole = gpu.ask_bytes(request).bytes;
    for (size_t cut = 1; cut < request.size(); ++cut) {
        const uint64_t at = gpu.guest.allocate(4096);
        const uint64_t response = gpu.guest.allocate(4096);
        gpu.guest.fill(at, request);
        const std::array<virtio::GuestRange, 2> readable{
            {{at, static_cast<uint32_t>(cut)},
             {at + cut, static_cast<uint32_t>(request.size() - cut)}}};
        const std::array<virtio::GuestRange, 2> writable{
            {{response, static_cast<uint32_t>(cut)}, {response + cut, 2048}}};
        const auto head = gpu.control->add_buffer(readable, writable);
        gpu.run();
        EXPECT_EQ(gpu.answer(*head)->bytes, whole);
        gpu.guest.release(at, 4096);
        gpu.guest.release(response, 4096);
    }
}

/// CVE-2024-3446: a response that points at a device's registers (a range that the VMM has told of
/// without memory), or at the rings themselves, changes nothing but what the guest sees.
TEST(Response, IntoARangeWithoutMemoryGoesNowhere_CVE_2024_3446) {
    Harness gpu;
    constexpr uint64_t kBar = 0xe000'0000;
    ASSERT_TRUE(gpu.guest.memory.add(kBar, 0x1000, UniqueFd(), 0, Access::kReadWrite));
    const auto request = Harness::request({.type = kCmdGetDisplayInfo});
    const uint64_t at = gpu.guest.allocate(request.size());
    gpu.guest.fill(at, request);
    const virtio::GuestRange readable{at, static_cast<uint32_t>(request.size())};
    for (const uint64_t target : {kBar, uint64_t{0xf000'0000}, ~uint64_t{0} - 100}) {
        const virtio::GuestRange writable{target, 1024};
        const auto head = gpu.control->add_buffer(std::span(&readable, 1), std::span(&writable, 1));
        gpu.kick();
        gpu.turn();
        EXPECT_EQ(gpu.device->census().pending_commands, 0u);
        ASSERT_TRUE(head);
        EXPECT_EQ(gpu.control->used_index(), gpu.device->census().commands);
    }
    EXPECT_FALSE(gpu.device->queues()[kControlQueue].broken());
}

TEST(Queue, ThatBreaksTheRulesIsToldAndServedAgainAfterAReset) {
    Harness gpu;
    gpu.control->make_available(999);
    gpu.kick();
    EXPECT_TRUE(gpu.device->queues()[kControlQueue].broken());
    EXPECT_EQ(gpu.host.broken, std::vector<uint16_t>{kControlQueue});
    gpu.kick();
    EXPECT_EQ(gpu.host.broken.size(), 1u);
    gpu.reset();
    gpu.control->attach();
    EXPECT_EQ(gpu.create_2d(1, 8, 8), kRespOkNodata);
}

TEST(Queue, IsServedInBatchesAndOneInterruptEach) {
    Harness::Setup setup;
    setup.queue_size = 1024;
    Harness gpu(setup);
    for (int i = 0; i < 600; ++i) gpu.send({.type = kCmdGetDisplayInfo});
    gpu.kick();
    uint64_t served = 0;
    uint64_t turns = 1;  // one that takes long ends early
    for (; gpu.device->census().commands < 600; ++turns) {
        ASSERT_GT(gpu.device->census().commands, served);
        EXPECT_LE(gpu.device->census().commands, served + 256);
        served = gpu.device->census().commands;
        gpu.loop->run_once(std::chrono::milliseconds(0));
    }
    EXPECT_GE(turns, 3u);
    EXPECT_EQ(gpu.control->used_index(), 600);
    EXPECT_LE(gpu.host.interrupts[0], turns);
    EXPECT_GE(gpu.host.interrupts[0], 1u);
}

// Nothing but the device sees it then: the driver's notification was served long before.
TEST(Queue, ThatBreaksTheRulesInALaterBatchIsTold) {
    Harness::Setup setup;
    setup.queue_size = 1024;
    Harness gpu(setup);
    for (int i = 0; i < 300; ++i) gpu.send({.type = kCmdGetDisplayInfo});
    gpu.control->make_available(0xffff);
    gpu.kick();
    EXPECT_TRUE(gpu.host.broken.empty());
    for (int turn = 0; turn < 300 && gpu.host.broken.empty(); ++turn)
        gpu.loop->run_once(std::chrono::milliseconds(0));
    EXPECT_EQ(gpu.host.broken, std::vector<uint16_t>{kControlQueue});
    EXPECT_EQ(gpu.device->census().commands, 300u);
}

TEST(Queue, ThatDoesNotExistIsIgnored) {
    Harness gpu;
    for (const uint16_t queue : {2, 3, 0xffff}) gpu.kick(queue);
    gpu.turn();
    EXPECT_EQ(gpu.create_2d(1, 8, 8), kRespOkNodata);
}

/// Commands of random bytes behind a right header: none may break the device or hang.
TEST(Request, OfRandomBytesIsAlwaysAnswered) {
    Harness gpu(full());
    std::mt19937 engine(1);
    const auto random = [&] { return static_cast<uint32_t>(engine()); };
    ASSERT_EQ(gpu.create_context(1), kRespOkNodata);
    const auto table = command_table();
    for (int round = 0; round < 4000; ++round) {
        const CommandInfo& info = table[random() % table.size()];
        Header header{.type = info.type, .ctx_id = random() % 3};
        if (random() % 4 == 0) header.flags = random() % 4;
        header.fence_id = random();
        header.ring_idx = static_cast<uint8_t>(random());
        auto bytes = Harness::request(header);
        const size_t body = info.request_size + random() % 64;
        for (size_t i = 0; i < body / 4; ++i) {
            const uint32_t word = random() % 8 == 0 ? random() : random() % 6;
            const auto raw = bytes_of(word);
            bytes.insert(bytes.end(), raw.begin(), raw.end());
        }
        const auto head = gpu.send(bytes);
        gpu.run();
        EXPECT_TRUE(gpu.answer(head)) << info.name;
    }
    gpu.reset();
    const Census census = gpu.device->census();
    EXPECT_EQ(census.resources + census.contexts + census.mappings + census.pending_commands +
                  census.pending_fences + census.host_bytes,
              0u);
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
