// SPDX-License-Identifier: Apache-2.0
// Decoding and replying allocate nothing in steady state: this program counts every operator new.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "gfxstream/vulkan/reply.h"
#include "guest.h"
#include "unit/gfxstream/world.h"

namespace {
size_t allocations = 0;
}  // namespace

[[gnu::noinline]] void* operator new(size_t size) {
    ++allocations;
    if (void* const memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}

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
        const size_t before = allocations;
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
            EXPECT_EQ(allocations, before);
        }
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
