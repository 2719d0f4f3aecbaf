// SPDX-License-Identifier: Apache-2.0
// The hot path of the device allocates nothing in steady state: this program counts operator new.
#include <gtest/gtest.h>

#include "unit/base/allocation_counter.h"
#include "unit/virtio_gpu/harness.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;
using swede::testing::allocations;

class Allocations : public ::testing::Test {
  protected:
    Allocations() : gpu(setup()) {
        EXPECT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);
        gpu.attach_backing(1, 64 * 64 * 4);
        EXPECT_EQ(gpu.set_scanout(0, 1, {0, 0, 64, 64}), kRespOkNodata);
        EXPECT_EQ(gpu.create_context(1), kRespOkNodata);
        gpu.renderer->state.record = false;
        gpu.sink.record = false;
    }
    static Harness::Setup setup() {
        Harness::Setup setup;
        setup.renderer = true;
        return setup;
    }
    /// Offers commands, then counts what the device allocates while it serves them and what is
    /// posted; the first rounds are to fill its pools.
    template <typename Offer>
    uint64_t steady(uint16_t queue, Offer offer) {
        auto& driver = queue == kControlQueue ? *gpu.control : *gpu.cursor;
        uint64_t counted = 0;
        for (int round = 0; round < 20; ++round) {
            offer();
            const uint64_t before = allocations.load();
            gpu.kick(queue);
            gpu.turn();
            const uint64_t after = allocations.load();
            if (round >= 4) counted += after - before;
            while (driver.take_used()) {
            }
        }
        EXPECT_EQ(gpu.device->census().pending_commands, 0u);
        return counted;
    }
    Harness gpu;
};

TEST_F(Allocations, AreCounted) {
    const uint64_t before = allocations.load();
    int* volatile const made = new int(5);
    delete made;
    EXPECT_EQ(allocations.load(), before + 1);
    // Commands that answer later may allocate, and do: the harness sees the device's.
    EXPECT_NE(
        steady(kControlQueue, [&] { gpu.send(Header{.type = kCmdCtxDestroy, .ctx_id = 77}); }), 0u);
}

TEST_F(Allocations, TransferAndFlush_None) {
    const auto offer = [&](uint32_t flags) {
        return [&gpu = gpu, flags] {
            for (int i = 0; i < 8; ++i) {
                gpu.send(Header{.type = kCmdTransferToHost2d, .flags = flags, .fence_id = 5},
                         TransferToHost2d{{0, 0, 64, 64}, 0, 1, 0});
                gpu.send(Header{.type = kCmdResourceFlush, .flags = flags, .fence_id = 6},
                         ResourceFlush{{0, 0, 64, 64}, 1, 0});
            }
        };
    };
    EXPECT_EQ(steady(kControlQueue, offer(0)), 0u);
    EXPECT_EQ(steady(kControlQueue, offer(kFlagFence)), 0u);
}

TEST_F(Allocations, FencedSubmit_None) {
    EXPECT_EQ(steady(kControlQueue,
                     [&] {
                         for (uint64_t fence = 1; fence <= 16; ++fence)
                             gpu.submit(1, fence, static_cast<uint8_t>(fence % 4));
                     }),
              0u);
    EXPECT_EQ(gpu.renderer->state.submits, 320u);
}

TEST_F(Allocations, MoveCursor_None) {
    EXPECT_EQ(steady(kCursorQueue,
                     [&] {
                         for (uint32_t i = 0; i < 8; ++i)
                             gpu.cursor->add_request(
                                 Harness::request({.type = kCmdMoveCursor},
                                                  UpdateCursor{{0, i, i, 0}, 1, 0, 0, 0}),
                                 0);
                     }),
              0u);
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
