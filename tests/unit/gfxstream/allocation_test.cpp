// SPDX-License-Identifier: Apache-2.0
// Decoding, replying and a frame's commands allocate nothing in steady state: this program counts
// every operator new.
#include <gtest/gtest.h>

#include "gfxstream/vulkan/reply.h"
#include "guest.h"
#include "unit/base/allocation_counter.h"
#include "unit/gfxstream/program.h"
#include "unit/gfxstream/world.h"
#include "vulkan_null/null_driver.h"

namespace swede::gfxstream::vulkan {
namespace {

TEST(Allocations, SteadyStateAllocatesNothing) {
    World world;
    Reply reply;
    std::vector<std::pair<const CommandLayout*, std::vector<std::byte>>> packets;
    for (const auto& one : std::span(guest::kGuestCommands, guest::kGuestCommandCount)) {
        guest::Random random(3);
        world.offer_to(random);
        guest::Writer to;
        one.random(random, to);
        packets.emplace_back(&kCommandLayouts[find_command_layout(one.opcode)], to.bytes());
    }
    alignas(16) std::byte arguments[256];
    for (int round = 0; round < 3; ++round) {
        const uint64_t before = swede::testing::allocations.load();
        for (const auto& [command, bytes] : packets) {
            const Layout& layout = layout_of(command->arguments);
            ASSERT_LE(layout.size, sizeof(arguments));
            Decoder in = world.decoder(bytes);
            Object* const buffer =
                command->self == ObjectType::kCommandBuffer ? world.command_buffer : nullptr;
            ASSERT_TRUE(in.arguments(layout, command->self, buffer, arguments)) << layout.name;
            reply.outputs(layout, arguments);
            ASSERT_FALSE(reply.failed());
            reply.clear();
            world.forget();
        }
        if (round > 0) {
            EXPECT_EQ(swede::testing::allocations.load(), before);
        }
    }
}

// Recording, submitting, waiting and resetting; the null driver allocates nothing for them.
TEST(Allocations, AFrameAllocatesNothing) {
    const auto host = Host::open(Loader::open(vulkan_null::get_proc_addr).value(), "").value();
    Program program(*host);
    program.start();
    const VkBuffer buffer = program.make_buffer(4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
    const VkFence fence = program.make_fence();
    GuestRecording recording;
    recording.begin();
    for (int i = 0; i < 100; ++i)
        recording.add(guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 4096, .data = 1});
    recording.end();
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;

    std::vector<std::pair<uint32_t, std::vector<std::byte>>> frame;
    const auto add = [&frame](const auto& command) {
        frame.emplace_back(command.kOpcode, guest::parameters_of(command));
    };
    add(guest::vkQueueFlushCommandsGOOGLE{.self = program.queue,
                                          .commandBuffer = commands,
                                          .dataSize = recording.bytes().size(),
                                          .pData = recording.bytes().data()});
    add(guest::vkQueueSubmitAsyncGOOGLE{
        .self = program.queue, .submitCount = 1, .pSubmits = &submit, .fence = fence});
    add(guest::vkWaitForFences{.self = program.device,
                               .fenceCount = 1,
                               .pFences = &fence,
                               .waitAll = VK_TRUE,
                               .timeout = UINT64_MAX});
    add(guest::vkGetFenceStatus{.self = program.device, .fence = fence});
    add(guest::vkResetFences{.self = program.device, .fenceCount = 1, .pFences = &fence});
    for (int round = 0; round < 4; ++round) {
        const uint64_t before = swede::testing::allocations.load();
        for (const auto& [opcode, parameters] : frame)
            ASSERT_TRUE(program.session->execute(opcode, parameters, *program.ring)) << opcode;
        if (round > 0) {
            EXPECT_EQ(swede::testing::allocations.load(), before);
        }
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
