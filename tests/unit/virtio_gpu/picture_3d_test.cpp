// SPDX-License-Identifier: Apache-2.0
// Scanouts and cursors of 3D resources: what a guest shows that draws with the GPU.
#include <gtest/gtest.h>

#include <array>

#include "unit/virtio_gpu/harness.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;

class Pictures3d : public ::testing::Test {
  protected:
    static Harness::Setup with_renderer() {
        Harness::Setup setup;
        setup.renderer = true;
        return setup;
    }
    uint32_t create(uint32_t id, uint32_t width, uint32_t height,
                    uint32_t format = kFormatB8G8R8A8) {
        return gpu.type_of({.type = kCmdResourceCreate3d},
                           ResourceCreate3d{id, 2, format, 0, width, height, 1, 1, 0, 0, 0, 0});
    }
    /// First byte of a pixel; -1 when the scanout is off.
    int seen(uint32_t x, uint32_t y) {
        const auto& frame = gpu.sink.frames[0];
        if (!frame) return -1;
        std::array<std::byte, 4> pixel{};
        EXPECT_TRUE(frame->read({x, y, 1, 1}, pixel.data(), 4));
        return static_cast<int>(pixel[0]);
    }
    Harness gpu{with_renderer()};
};

TEST_F(Pictures3d, ScanoutReadsWhatTheRendererDraws) {
    ASSERT_EQ(create(7, 60, 50), kRespOkNodata);
    ASSERT_EQ(gpu.set_scanout(0, 7, {10, 5, 50, 45}), kRespOkNodata);
    EXPECT_EQ(gpu.sink.frames[0]->width(), 50u);
    EXPECT_EQ(seen(3, 3), 7);
    gpu.renderer->picture_bytes(7)[(5 + 3) * (60 * 4 + FakeRenderer::kRowGap) + (10 + 3) * 4] =
        std::byte{99};
    EXPECT_EQ(seen(3, 3), 99);
    EXPECT_EQ(gpu.type_of({.type = kCmdResourceFlush}, ResourceFlush{{0, 0, 60, 50}, 7, 0}),
              kRespOkNodata);
    ASSERT_EQ(gpu.sink.flushes.size(), 1u);
    EXPECT_EQ(gpu.sink.flushes[0].damage.width, 50u);
}

TEST_F(Pictures3d, FlipsAreShownInOrderThoughOneExportIsSlow) {
    ASSERT_EQ(create(7, 32, 32), kRespOkNodata);
    ASSERT_EQ(create(8, 32, 32), kRespOkNodata);
    gpu.renderer->held = {"export_blob"};
    const uint16_t first =
        gpu.send(Header{.type = kCmdSetScanout}, SetScanout{{0, 0, 32, 32}, 0, 7});
    gpu.run();
    EXPECT_FALSE(gpu.answer(first));
    EXPECT_EQ(seen(0, 0), -1);
    const uint16_t second =
        gpu.send(Header{.type = kCmdSetScanout}, SetScanout{{0, 0, 32, 32}, 0, 8});
    gpu.run();
    gpu.renderer->held.clear();
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_EQ(gpu.answer(first)->type(), kRespOkNodata);
    EXPECT_EQ(gpu.answer(second)->type(), kRespOkNodata);
    EXPECT_EQ(seen(0, 0), 8);
}

TEST_F(Pictures3d, WhatCannotBeShownIsAnErrorAndLeavesTheOldPicture) {
    ASSERT_EQ(create(7, 32, 32), kRespOkNodata);
    ASSERT_EQ(create(8, 32, 32, 8), kRespOkNodata);  // a format that scanout does not know
    ASSERT_EQ(gpu.set_scanout(0, 7, {0, 0, 32, 32}), kRespOkNodata);
    EXPECT_EQ(gpu.set_scanout(0, 8, {0, 0, 32, 32}), kRespErrInvalidParameter);
    EXPECT_EQ(gpu.set_scanout(0, 7, {0, 0, 33, 32}), kRespErrInvalidParameter);
    gpu.renderer->failing["export_blob"] = Error{ErrorCode::kOutOfMemory, "The test refuses."};
    EXPECT_EQ(gpu.set_scanout(0, 7, {0, 0, 16, 16}), kRespErrOutOfMemory);
    EXPECT_EQ(seen(31, 31), 7);
    EXPECT_EQ(gpu.unref(7), kRespOkNodata);
    EXPECT_EQ(seen(0, 0), -1);
}

TEST_F(Pictures3d, ACursorIsACopy) {
    ASSERT_EQ(create(7, 64, 64), kRespOkNodata);
    const UpdateCursor show{{0, 0, 0, 0}, 7, 0, 0, 0};
    ASSERT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, show), kRespOkNodata);
    gpu.renderer->picture_bytes(7)[0] = std::byte{99};
    ASSERT_NE(gpu.sink.cursors[0].image, nullptr);
    EXPECT_EQ(gpu.sink.cursors[0].image->pixels[0], 0x07070707u);
    ASSERT_EQ(create(8, 32, 64), kRespOkNodata);
    EXPECT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, {{0, 0, 0, 0}, 8, 0, 0, 0}),
              kRespErrInvalidParameter);
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
