// SPDX-License-Identifier: Apache-2.0
// What a console needs: description of outputs, 2D resources, scanouts, cursor.
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "unit/virtio_gpu/harness.h"
#include "virtio_gpu/edid.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;

/// The pixel as the sink sees it.
uint32_t pixel(const rutabaga::Frame& frame, uint32_t x, uint32_t y) {
    uint32_t value = 0;
    EXPECT_TRUE(frame.read({x, y, 1, 1}, reinterpret_cast<std::byte*>(&value), 4));
    return value;
}

Harness::Setup three_outputs() {
    Harness::Setup setup;
    setup.outputs = {{1280, 800, true}, {1920, 1080, false}, {640, 480, true}};
    return setup;
}

TEST(DisplayInfo, ListsTheOutputsSideBySide) {
    Harness gpu(three_outputs());
    const auto info = gpu.ask({.type = kCmdGetDisplayInfo}).as<RespDisplayInfo>();
    EXPECT_EQ(info.header.type, kRespOkDisplayInfo);
    EXPECT_EQ(info.modes[0].rect.width, 1280u);
    EXPECT_EQ(info.modes[0].rect.height, 800u);
    EXPECT_EQ(info.modes[0].enabled, 1u);
    EXPECT_EQ(info.modes[1].rect.width, 1920u);
    EXPECT_EQ(info.modes[1].enabled, 0u);
    EXPECT_EQ(info.modes[2].rect.x, 1280u);
    EXPECT_EQ(info.modes[2].enabled, 1u);
    for (size_t i = 3; i < kMaxScanouts; ++i) {
        EXPECT_EQ(info.modes[i].enabled, 0u);
        EXPECT_EQ(info.modes[i].rect.width, 0u);
    }
}

TEST(GetEdid, DescribesEachOutputAndIsZeroBehindIt) {
    Harness gpu(three_outputs());
    for (uint32_t scanout = 0; scanout < 3; ++scanout) {
        const auto edid = gpu.ask({.type = kCmdGetEdid}, GetEdid{scanout, 0}).as<RespEdid>();
        EXPECT_EQ(edid.header.type, kRespOkEdid);
        const OutputSize& size = gpu.device->outputs()[scanout];
        const Edid expected = make_edid(scanout, size.width, size.height);
        ASSERT_EQ(edid.size, expected.size);
        EXPECT_EQ(std::memcmp(edid.edid, expected.blocks.data(), expected.size), 0);
        for (size_t at = expected.size; at < sizeof(edid.edid); ++at)
            EXPECT_EQ(edid.edid[at], 0) << at;
    }
    EXPECT_EQ(gpu.type_of({.type = kCmdGetEdid}, GetEdid{3, 0}), kRespErrInvalidScanoutId);
    EXPECT_EQ(gpu.type_of({.type = kCmdGetEdid}, GetEdid{~0u, 0}), kRespErrInvalidScanoutId);
}

TEST(Config, CountsScanoutsAndTellsOfNewSizes) {
    Harness gpu(three_outputs());
    const auto config = [&] {
        Config value{};
        gpu.device->read_config(0, std::as_writable_bytes(std::span(&value, 1)));
        return value;
    };
    EXPECT_EQ(config().num_scanouts, 3u);
    EXPECT_EQ(config().num_capsets, 0u);
    EXPECT_EQ(config().events_read, 0u);

    EXPECT_TRUE(gpu.device->set_output(2, {800, 600, true}));
    EXPECT_EQ(config().events_read, kEventDisplay);
    EXPECT_EQ(gpu.host.config_interrupts, 1u);
    EXPECT_EQ(gpu.ask({.type = kCmdGetDisplayInfo}).as<RespDisplayInfo>().modes[2].rect.width,
              800u);

    const uint32_t clear = kEventDisplay;
    gpu.device->write_config(offsetof(Config, events_clear), bytes_of(clear));
    EXPECT_EQ(config().events_read, 0u);
    EXPECT_TRUE(gpu.device->set_output(2, {800, 600, true}));  // no news
    EXPECT_EQ(config().events_read, 0u);
    EXPECT_EQ(gpu.host.config_interrupts, 1u);
    EXPECT_TRUE(gpu.device->set_output(1, {1920, 1080, true}));  // plugged in
    EXPECT_EQ(config().events_read, kEventDisplay);
}

/// What Linux does on a config event, with changes of the outputs in between.
class DisplayEvent : public ::testing::Test {
  protected:
    uint32_t events() {
        Config value{};
        gpu_.device->read_config(0, std::as_writable_bytes(std::span(&value, 1)));
        return value.events_read;
    }
    void change(uint32_t width) { EXPECT_TRUE(gpu_.device->set_output(0, {width, 600, true})); }
    void ask() { gpu_.ask({.type = kCmdGetDisplayInfo}); }
    void clear() {
        const uint32_t clear = kEventDisplay;
        gpu_.device->write_config(offsetof(Config, events_clear), bytes_of(clear));
    }
    size_t interrupts() { return gpu_.host.config_interrupts; }

    Harness gpu_{three_outputs()};
};

TEST_F(DisplayEvent, ChangeBetweenQuestionAndClearIsAnEventOfItsOwn) {
    change(800);
    ask();
    change(900);
    EXPECT_EQ(interrupts(), 2u);
    clear();
    EXPECT_EQ(events(), kEventDisplay);
    EXPECT_EQ(interrupts(), 3u);
    ask();
    clear();
    EXPECT_EQ(events(), 0u);
    EXPECT_EQ(interrupts(), 3u);
}

TEST_F(DisplayEvent, ChangeBehindTheFirstQuestionCounts) {
    change(800);
    gpu_.ask({.type = kCmdGetEdid}, GetEdid{0, 0});  // Linux asks for this first
    change(900);
    ask();
    clear();
    EXPECT_EQ(events(), kEventDisplay);
}

TEST_F(DisplayEvent, ChangesBeforeTheQuestionAreOneEvent) {
    change(800);
    change(900);
    ask();
    clear();
    EXPECT_EQ(events(), 0u);
    EXPECT_EQ(interrupts(), 2u);
}

TEST_F(DisplayEvent, DriverThatNeverAsksIsNotToldForEver) {
    change(800);
    clear();
    change(900);
    clear();
    clear();
    EXPECT_EQ(events(), 0u);
    EXPECT_EQ(interrupts(), 2u);
}

TEST_F(DisplayEvent, ResetForgetsIt) {
    change(800);
    ask();
    change(900);
    gpu_.device->reset([] {});
    clear();
    EXPECT_EQ(events(), 0u);
}

TEST(Config, OnlyEventsClearCanBeWritten) {
    Harness gpu(three_outputs());
    EXPECT_TRUE(gpu.device->set_output(0, {800, 600, true}));
    const std::vector<std::byte> ones(32, std::byte{0xff});
    const auto read = [&](uint32_t offset, size_t size) {
        std::vector<std::byte> bytes(size, std::byte{0xee});
        gpu.device->read_config(offset, bytes);
        return bytes;
    };
    const auto before = read(0, 16);
    gpu.device->write_config(0, std::span(ones).first(4));
    gpu.device->write_config(8, std::span(ones).first(8));
    gpu.device->write_config(16, ones);
    gpu.device->write_config(~0u, ones);
    gpu.device->write_config(~0u - 2, std::span(ones).first(4));
    EXPECT_EQ(read(0, 16), before);
    gpu.device->write_config(7, std::span(ones).first(1));  // the clear field's last byte
    EXPECT_EQ(read(0, 16), before);
    gpu.device->write_config(4, std::span(ones).first(1));  // its first
    EXPECT_EQ(read(0, 1)[0], std::byte{0});
}

TEST(Config, ReadsAsZeroPastItsEnd) {
    Harness gpu(three_outputs());
    for (const uint32_t offset : {0u, 12u, 15u, 16u, 17u, 4096u, ~0u, ~0u - 3}) {
        std::vector<std::byte> bytes(64, std::byte{0xee});
        gpu.device->read_config(offset, bytes);
        for (size_t i = 0; i < bytes.size(); ++i)
            EXPECT_TRUE(uint64_t{offset} + i < sizeof(Config) || bytes[i] == std::byte{0});
    }
}

TEST(SetOutput, RefusesOutputsAndSizesThatThereAreNot) {
    Harness gpu(three_outputs());
    EXPECT_EQ(gpu.device->set_output(3, {800, 600, true}).error().code, ErrorCode::kInvalidScanout);
    EXPECT_FALSE(gpu.device->set_output(0, {0, 600, true}));
    EXPECT_FALSE(gpu.device->set_output(0, {800, 16385, true}));
    EXPECT_EQ(gpu.host.config_interrupts, 0u);
}

TEST(Create, RefusesNoOutputsOrTooMany) {
    const auto loop = EventLoop::create().value();
    virtio::GuestMemory memory;
    NoWindow window;
    RecordingHost host;
    RecordingSink sink;
    for (const size_t count : {0, 17}) {
        Options options;
        options.outputs.assign(count, OutputSize{});
        EXPECT_FALSE(GpuDevice::create(*loop, options, {}, memory, window, host, sink));
    }
}

TEST(Scanout2d, ShowsWhatTheGuestTransferred) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 64, 32), kRespOkNodata);
    const uint64_t ram = gpu.attach_backing(1, 64 * 32 * 4);
    gpu.guest.store<uint32_t>(ram + (3 * 64 + 5) * 4, 0x00c0ffee);
    ASSERT_EQ(gpu.set_scanout(0, 1, {0, 0, 64, 32}), kRespOkNodata);
    ASSERT_EQ(gpu.transfer(1, {0, 0, 64, 32}, 0), kRespOkNodata);
    ASSERT_EQ(gpu.flush(1, {4, 2, 8, 4}), kRespOkNodata);
    ASSERT_NE(gpu.sink.frames[0], nullptr);
    EXPECT_EQ(gpu.sink.frames[0]->width(), 64u);
    EXPECT_EQ(pixel(*gpu.sink.frames[0], 5, 3), 0x00c0ffeeu);
    ASSERT_EQ(gpu.sink.flushes.size(), 1u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.x, 4u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.width, 8u);
}

TEST(Scanout2d, FlushReachesTheScanoutsThatShowTheResourceAndOnlyTheirParts_D9) {
    Harness gpu(three_outputs());
    ASSERT_EQ(gpu.create_2d(1, 100, 100), kRespOkNodata);
    ASSERT_EQ(gpu.create_2d(2, 100, 100), kRespOkNodata);
    // A resource that was never scanned out: no scanout hears of it.
    EXPECT_EQ(gpu.flush(2, {0, 0, 100, 100}), kRespOkNodata);
    EXPECT_TRUE(gpu.sink.flushes.empty());

    ASSERT_EQ(gpu.set_scanout(0, 1, {0, 0, 50, 100}), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(2, 1, {40, 20, 60, 60}), kRespOkNodata);
    EXPECT_EQ(gpu.flush(2, {0, 0, 100, 100}), kRespOkNodata);
    EXPECT_TRUE(gpu.sink.flushes.empty());

    EXPECT_EQ(gpu.flush(1, {30, 10, 30, 30}), kRespOkNodata);
    ASSERT_EQ(gpu.sink.flushes.size(), 2u);
    const auto& left = gpu.sink.flushes[0];
    EXPECT_EQ(left.scanout, 0u);
    EXPECT_EQ(left.damage.x, 30u);
    EXPECT_EQ(left.damage.y, 10u);
    EXPECT_EQ(left.damage.width, 20u);
    EXPECT_EQ(left.damage.height, 30u);
    const auto& right = gpu.sink.flushes[1];  // in the scanout's own coordinates
    EXPECT_EQ(right.scanout, 2u);
    EXPECT_EQ(right.damage.x, 0u);
    EXPECT_EQ(right.damage.y, 0u);
    EXPECT_EQ(right.damage.width, 20u);
    EXPECT_EQ(right.damage.height, 20u);

    gpu.sink.flushes.clear();
    EXPECT_EQ(gpu.flush(1, {0, 0, 10, 10}), kRespOkNodata);  // outside the second scanout
    ASSERT_EQ(gpu.sink.flushes.size(), 1u);
    EXPECT_EQ(gpu.sink.flushes[0].scanout, 0u);
}

TEST(Scanout2d, FlushWithAnyRectangleStaysInsideTheFrame) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 100, 100), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(0, 1, {10, 10, 80, 80}), kRespOkNodata);
    for (const Rect rect : {Rect{0, 0, ~0u, ~0u}, Rect{~0u, ~0u, ~0u, ~0u}, Rect{89, 89, ~0u, 1},
                            Rect{0, 0, 0, 0}, Rect{90, 90, 10, 10}, Rect{1, 1, ~0u, ~0u - 1}})
        gpu.flush(1, rect);
    for (const auto& flush : gpu.sink.flushes)
        EXPECT_TRUE(rutabaga::rect_inside(flush.damage, 80, 80));
    EXPECT_GE(gpu.sink.flushes.size(), 2u);
}

TEST(Scanout2d, FlushOfNoResourceIsAnError) {
    Harness gpu;
    EXPECT_EQ(gpu.flush(0, {0, 0, 1, 1}), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.flush(9, {0, 0, 1, 1}), kRespErrInvalidResourceId);
}

TEST(Scanout2d, AScanoutThatTheDeviceHasNotIsAnError_D10_CVE_2016_10029) {
    Harness gpu(three_outputs());
    ASSERT_EQ(gpu.create_2d(1, 100, 100), kRespOkNodata);
    for (const uint32_t scanout : {3u, 4u, 15u, 16u, 17u, 0x7fffffffu, ~0u}) {
        EXPECT_EQ(gpu.set_scanout(scanout, 1, {0, 0, 100, 100}), kRespErrInvalidScanoutId);
        EXPECT_EQ(gpu.set_scanout(scanout, 0, {}), kRespErrInvalidScanoutId);
        EXPECT_EQ(gpu.type_of({.type = kCmdSetScanoutBlob},
                              SetScanoutBlob{{0, 0, 1, 1}, scanout, 1, 1, 1, 1, 0, {}, {}}),
                  kRespErrInvalidScanoutId);
        EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, {{scanout, 0, 0, 0}, 0, 0, 0, 0}),
                  kRespErrInvalidScanoutId);
        EXPECT_EQ(gpu.cursor_type_of(kCmdMoveCursor, {{scanout, 0, 0, 0}, 0, 0, 0, 0}),
                  kRespErrInvalidScanoutId);
    }
    EXPECT_EQ(gpu.sink.scanout_calls, 0u);
}

TEST(Scanout2d, ARectangleOutsideTheResourceIsAnError) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 100, 100), kRespOkNodata);
    for (const Rect rect : {Rect{0, 0, 101, 1}, Rect{0, 0, 0, 0}, Rect{100, 0, 1, 1},
                            Rect{99, 99, 2, 1}, Rect{~0u, 0, 2, 1}, Rect{1, 1, ~0u, ~0u}})
        EXPECT_EQ(gpu.set_scanout(0, 1, rect), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.set_scanout(0, 7, {0, 0, 1, 1}), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.sink.scanout_calls, 0u);
}

TEST(Scanout2d, UnrefTurnsTheScanoutOffAndAHeldFrameStaysReadable) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 100, 100), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(0, 1, {0, 0, 100, 100}), kRespOkNodata);
    const auto held = gpu.sink.frames[0];
    EXPECT_EQ(gpu.unref(1), kRespOkNodata);
    EXPECT_EQ(gpu.sink.frames[0], nullptr);
    EXPECT_EQ(pixel(*held, 99, 99), 0u);
    EXPECT_EQ(gpu.unref(1), kRespErrInvalidResourceId);
    gpu.create_2d(1, 100, 100);  // the same id again is another resource
    EXPECT_EQ(gpu.flush(1, {0, 0, 100, 100}), kRespOkNodata);
    EXPECT_TRUE(gpu.sink.flushes.empty());
}

TEST(Scanout2d, ResourceZeroTurnsTheScanoutOff) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 100, 100), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(0, 1, {0, 0, 100, 100}), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(0, 0, {}), kRespOkNodata);
    EXPECT_EQ(gpu.sink.frames[0], nullptr);
}

TEST(Resource2d, SizesThatWrapOrCannotBePaidAreOutOfMemory_D5) {
    Harness gpu;
    EXPECT_EQ(gpu.create_2d(1, 0x40000000, 1), kRespErrOutOfMemory);
    EXPECT_EQ(gpu.create_2d(1, 0x40000001, 0x40000001), kRespErrOutOfMemory);
    EXPECT_EQ(gpu.create_2d(1, ~0u, ~0u), kRespErrOutOfMemory);
    EXPECT_EQ(gpu.create_2d(1, 65536, 65536), kRespErrOutOfMemory);
    EXPECT_EQ(gpu.device->census().resources, 0u);
    EXPECT_EQ(gpu.device->census().host_bytes, 0u);
    EXPECT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);  // for that command and nothing else
}

TEST(Resource2d, BackingListsAreCheckedAgainstTheRequest) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);
    const MemEntry entry{gpu.guest.allocate(4096), 4096, 0};
    const auto attach = [&](uint32_t count) {
        return gpu.type_of({.type = kCmdResourceAttachBacking}, ResourceAttachBacking{1, count},
                           entry);
    };
    EXPECT_EQ(attach(0), kRespErrInvalidParameter);
    EXPECT_EQ(attach(2), kRespErrInvalidParameter);
    EXPECT_EQ(attach(~0u), kRespErrInvalidParameter);
    EXPECT_EQ(attach(0x10000000), kRespErrInvalidParameter);  // x 16 wraps 32 bits to 0
    EXPECT_EQ(attach(1), kRespOkNodata);
    EXPECT_EQ(attach(1), kRespErrInvalidParameter);  // CVE-2021-3544: a second one leaked the first
    EXPECT_EQ(gpu.type_of({.type = kCmdResourceDetachBacking}, ResourceDetachBacking{1, 0}),
              kRespOkNodata);
    EXPECT_EQ(attach(1), kRespOkNodata);
}

TEST(Resource2d, BackingOutsideGuestMemoryIsAnError) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);
    const uint64_t end = gpu.guest.base() + gpu.guest.size();
    for (const MemEntry entry : {MemEntry{0, 4096, 0}, MemEntry{end, 1, 0}, MemEntry{end - 1, 2, 0},
                                 MemEntry{~uint64_t{0}, 4096, 0}, MemEntry{gpu.guest.base(), 0, 0}})
        EXPECT_NE(
            gpu.type_of({.type = kCmdResourceAttachBacking}, ResourceAttachBacking{1, 1}, entry),
            kRespOkNodata);
}

TEST(Resource2d, TransfersOutsideResourceOrBackingAreErrors) {
    Harness gpu;
    ASSERT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);
    EXPECT_NE(gpu.transfer(1, {0, 0, 64, 64}, 0), kRespOkNodata);  // no backing yet
    gpu.attach_backing(1, 64 * 64 * 4);
    EXPECT_EQ(gpu.transfer(1, {0, 0, 65, 1}, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.transfer(1, {~0u, ~0u, 2, 2}, 0), kRespErrInvalidParameter);
    EXPECT_NE(gpu.transfer(1, {0, 0, 64, 64}, 4), kRespOkNodata);
    EXPECT_NE(gpu.transfer(1, {0, 0, 1, 1}, ~uint64_t{0}), kRespOkNodata);
    EXPECT_EQ(gpu.transfer(9, {0, 0, 1, 1}, 0), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.transfer(1, {0, 0, 64, 64}, 0), kRespOkNodata);
}

TEST(Uuid, IsTheSameEachTimeAndAnotherForEachResource) {
    Harness gpu;
    gpu.create_2d(1, 8, 8);
    gpu.create_2d(2, 8, 8);
    const auto uuid = [&](uint32_t id) {
        const auto answer = gpu.ask({.type = kCmdResourceAssignUuid}, ResourceAssignUuid{id, 0})
                                .as<RespResourceUuid>();
        EXPECT_EQ(answer.header.type, kRespOkResourceUuid);
        return std::vector<uint8_t>(answer.uuid, answer.uuid + 16);
    };
    EXPECT_EQ(uuid(1), uuid(1));
    EXPECT_NE(uuid(1), uuid(2));
    EXPECT_EQ(gpu.type_of({.type = kCmdResourceAssignUuid}, ResourceAssignUuid{3, 0}),
              kRespErrInvalidResourceId);
}

// Cursors.

UpdateCursor cursor(uint32_t resource, int32_t x, int32_t y, uint32_t hot_x = 0,
                    uint32_t hot_y = 0) {
    return {{0, static_cast<uint32_t>(x), static_cast<uint32_t>(y), 0}, resource, hot_x, hot_y, 0};
}

TEST(Cursor, IsACopyThatTheGuestMayDrawOver) {
    Harness gpu;
    ASSERT_EQ(
        gpu.type_of({.type = kCmdResourceCreate2d}, ResourceCreate2d{1, kFormatB8G8R8A8, 64, 64}),
        kRespOkNodata);
    const uint64_t ram = gpu.attach_backing(1, 64 * 64 * 4);
    gpu.guest.store<uint32_t>(ram + (2 * 64 + 1) * 4, 0x80112233);
    gpu.transfer(1, {0, 0, 64, 64}, 0);
    ASSERT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(1, 100, 50, 4, 5)), kRespOkNodata);
    gpu.guest.store<uint32_t>(ram + (2 * 64 + 1) * 4, 0);
    gpu.transfer(1, {0, 0, 64, 64}, 0);
    const auto& shown = gpu.sink.cursors[0];
    ASSERT_NE(shown.image, nullptr);
    EXPECT_EQ(shown.image->pixels[2 * 64 + 1], 0x80112233u);
    EXPECT_EQ(shown.image->hot_x, 4u);
    EXPECT_EQ(shown.x, 104);  // of the hot spot; the guest gives the corner
    EXPECT_EQ(shown.y, 55);
}

TEST(Cursor, KeepsAlphaInAFormatWithout) {
    Harness gpu;
    ASSERT_EQ(
        gpu.type_of({.type = kCmdResourceCreate2d}, ResourceCreate2d{1, kFormatB8G8R8X8, 64, 64}),
        kRespOkNodata);
    const uint64_t ram = gpu.attach_backing(1, 64 * 64 * 4);
    gpu.guest.store<uint32_t>(ram, 0x80112233);
    gpu.transfer(1, {0, 0, 64, 64}, 0);
    ASSERT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(1, 0, 0)), kRespOkNodata);
    EXPECT_EQ(gpu.sink.cursors[0].image->pixels[0], 0x80112233u);  // Linux's dumb buffers are X8
}

TEST(Cursor, MovesAndHidesAndMayBeOutsideTheScreen) {
    Harness gpu;
    gpu.create_2d(1, 64, 64);
    ASSERT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(1, 10, 10, 8, 8)), kRespOkNodata);
    EXPECT_EQ(gpu.cursor_type_of(kCmdMoveCursor, cursor(1, -20, -3)), kRespOkNodata);
    EXPECT_EQ(gpu.sink.cursors[0].x, -12);
    EXPECT_EQ(gpu.sink.cursors[0].y, 5);
    EXPECT_EQ(gpu.cursor_type_of(kCmdMoveCursor, cursor(1, INT32_MAX, INT32_MIN)), kRespOkNodata);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(0, 0, 0)), kRespOkNodata);
    EXPECT_EQ(gpu.sink.cursors[0].image, nullptr);
}

TEST(Cursor, ComesWithoutRoomForAResponseAsLinuxSendsIt) {
    Harness gpu;
    gpu.create_2d(1, 64, 64);
    for (const uint32_t room : {0u, 8u}) {
        gpu.sink.cursors.clear();
        const auto head = gpu.cursor->add_request(
            Harness::request({.type = kCmdUpdateCursor}, cursor(1, 1, 1)), room);
        ASSERT_TRUE(head);
        gpu.kick(kCursorQueue);
        gpu.turn();
        const auto used = gpu.cursor->take_used();
        ASSERT_TRUE(used);
        EXPECT_EQ(used->written, 0u);
        EXPECT_NE(gpu.sink.cursors[0].image, nullptr);
    }
}

TEST(Cursor, OfTheWrongSizeIsAnError_D15) {
    Harness gpu;
    gpu.create_2d(1, 63, 64);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(1, 0, 0)), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(3, 0, 0)), kRespErrInvalidResourceId);
    EXPECT_TRUE(gpu.sink.cursors.empty());
}

TEST(Cursor, AHotSpotOutsideTheImageIsTakenAsItsEdge) {
    Harness gpu;
    gpu.create_2d(1, 64, 64);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(1, 10, 20, 64, ~0u)), kRespOkNodata);
    const auto& shown = gpu.sink.cursors[0];
    EXPECT_EQ(shown.image->hot_x, 63u);
    EXPECT_EQ(shown.image->hot_y, 63u);
    EXPECT_EQ(shown.x, 73);
    EXPECT_EQ(shown.y, 83);
}

// Guest blobs.

SetScanoutBlob scanout_blob(uint32_t id, const Rect& rect, uint32_t width, uint32_t height,
                            uint32_t stride, uint32_t offset = 0) {
    SetScanoutBlob request{};
    request.rect = rect;
    request.resource_id = id;
    request.width = width;
    request.height = height;
    request.format = kFormatB8G8R8X8;
    request.strides[0] = stride;
    request.offsets[0] = offset;
    return request;
}

class GuestBlob : public ::testing::Test {
  protected:
    /// A blob of `size` bytes in two pieces of guest memory; gives the first one's address.
    uint64_t create(uint32_t id, uint64_t size) {
        const uint64_t first = gpu.guest.allocate(4096);
        const uint64_t second = gpu.guest.allocate(size);
        EXPECT_EQ(
            gpu.type_of({.type = kCmdResourceCreateBlob},
                        ResourceCreateBlob{id, kBlobMemGuest, kBlobFlagUseShareable, 2, 0, size},
                        MemEntry{first, 4096, 0},
                        MemEntry{second, static_cast<uint32_t>(size - 4096), 0}),
            kRespOkNodata);
        return first;
    }
    uint32_t show(const SetScanoutBlob& request) {
        return gpu.type_of({.type = kCmdSetScanoutBlob}, request);
    }
    Harness gpu;
};

TEST_F(GuestBlob, IsScannedOutStraightFromGuestMemory) {
    const uint64_t ram = create(1, 64 * 64 * 4);
    ASSERT_EQ(show(scanout_blob(1, {0, 0, 64, 64}, 64, 64, 256)), kRespOkNodata);
    gpu.guest.store<uint32_t>(ram + 4 * 4, 0x00123456);
    EXPECT_EQ(pixel(*gpu.sink.frames[0], 4, 0), 0x00123456u);  // no transfer in between
    EXPECT_EQ(gpu.flush(1, {0, 0, 8, 8}), kRespOkNodata);
    EXPECT_EQ(gpu.sink.flushes.size(), 1u);
}

TEST_F(GuestBlob, RectangleStrideAndOffsetSayWhereTheScanoutLies) {
    const uint64_t ram = create(1, 128 * 128 * 4);
    ASSERT_EQ(show(scanout_blob(1, {10, 2, 16, 4}, 64, 32, 512, 64)), kRespOkNodata);
    gpu.guest.store<uint32_t>(ram + 64 + 2 * 512 + 13 * 4, 0x00abcdef);
    EXPECT_EQ(pixel(*gpu.sink.frames[0], 3, 0), 0x00abcdefu);
    EXPECT_EQ(gpu.sink.frames[0]->width(), 16u);
    EXPECT_EQ(gpu.flush(1, {0, 0, 64, 32}), kRespOkNodata);
    ASSERT_EQ(gpu.sink.flushes.size(), 1u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.width, 16u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.height, 4u);
}

TEST_F(GuestBlob, ALayoutOutsideTheBlobIsAnError_D15) {
    create(1, 64 * 64 * 4);
    EXPECT_EQ(show(scanout_blob(1, {0, 0, 64, 65}, 64, 65, 256)), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {0, 0, 64, 64}, 64, 64, 256, 4)), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {0, 0, 64, 64}, 64, 64, 252)), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {0, 0, 64, 64}, 64, 64, 0)), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {0, 0, 65, 64}, 64, 64, 256)), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {0, 0, 0, 0}, 64, 64, 256)), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {0, ~0u - 1, 1, 1}, ~0u, ~0u, ~0u, ~0u)),
              kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(1, {~0u - 1, ~0u - 1, 1, 1}, ~0u, ~0u, ~0u, ~0u)),
              kRespErrInvalidParameter);
    SetScanoutBlob request = scanout_blob(1, {0, 0, 64, 64}, 64, 64, 256);
    request.format = 99;
    EXPECT_EQ(show(request), kRespErrInvalidParameter);
    EXPECT_EQ(show(scanout_blob(2, {0, 0, 64, 64}, 64, 64, 256)), kRespErrInvalidResourceId);
    EXPECT_EQ(gpu.sink.scanout_calls, 0u);
}

TEST_F(GuestBlob, NeedsMemoryForAllOfItsBytes) {
    const MemEntry entry{gpu.guest.allocate(4096), 4096, 0};
    const auto create = [&](uint32_t entries, uint64_t size) {
        return gpu.type_of({.type = kCmdResourceCreateBlob},
                           ResourceCreateBlob{1, kBlobMemGuest, 0, entries, 0, size}, entry);
    };
    EXPECT_EQ(create(0, 4096), kRespErrInvalidParameter);
    EXPECT_EQ(create(2, 4096), kRespErrInvalidParameter);
    EXPECT_EQ(create(0x10000001, 4096), kRespErrInvalidParameter);
    EXPECT_EQ(create(1, 4097), kRespErrInvalidParameter);
    EXPECT_EQ(create(1, 0), kRespErrInvalidParameter);
    EXPECT_EQ(create(1, ~uint64_t{0}), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.device->census().resources, 0u);
    EXPECT_EQ(create(1, 4096), kRespOkNodata);
}

TEST_F(GuestBlob, IsACursorToo) {
    const uint64_t ram = create(1, 64 * 64 * 4);
    gpu.guest.store<uint32_t>(ram, 0x7f010203);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(1, 5, 6)), kRespOkNodata);
    ASSERT_NE(gpu.sink.cursors[0].image, nullptr);
    EXPECT_EQ(gpu.sink.cursors[0].image->pixels[0], 0x7f010203u);
    create(2, 64 * 63 * 4);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, cursor(2, 5, 6)), kRespErrInvalidParameter);
}

TEST_F(GuestBlob, CannotBeMappedAndTransfersOfItDoNothing) {
    create(1, 64 * 64 * 4);
    EXPECT_EQ(gpu.map_blob(1, 0), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.transfer(1, {0, 0, 64, 64}, 0), kRespOkNodata);  // Linux 6.1 asks for it
}

TEST_F(GuestBlob, ShowsNoMemoryThatTheVmmHasTakenAway) {
    create(1, 64 * 64 * 4);
    ASSERT_EQ(show(scanout_blob(1, {0, 0, 64, 64}, 64, 64, 256)), kRespOkNodata);
    const auto frame = gpu.sink.frames[0];
    gpu.guest.unplug();
    uint32_t value = 0;
    EXPECT_FALSE(frame->read({0, 0, 1, 1}, reinterpret_cast<std::byte*>(&value), 4));
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
