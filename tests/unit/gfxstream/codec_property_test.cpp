// SPDX-License-Identifier: Apache-2.0
// What a guest encodes, decodes to what it meant: each structure and each command, with random
// contents; and cut off anywhere it fails.
#include <gtest/gtest.h>

#include <memory>

#include "gfxstream/vulkan/reply.h"
#include "guest.h"
#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {
namespace {

using guest::GuestCommand;
using guest::GuestStruct;
using guest::Random;
using guest::Writer;

class CodecProperty : public testing::Test {
  protected:
    World world_;
    Reply reply_;

    void forget() {
        world_.arena.reset();
        world_.pins.release_all();
        reply_.clear();
    }
};

constexpr uint64_t kSeeds = 40;

TEST_F(CodecProperty, EveryStructureDecodesToWhatWasEncoded) {
    for (const GuestStruct& one : std::span(guest::kGuestStructs, guest::kGuestStructCount)) {
        const Layout& layout = layout_of(one.layout);
        for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
            Random random(seed);
            world_.offer_to(random);
            const auto original = std::make_unique<std::byte[]>(one.size);
            one.fill(random, original.get());
            Writer first;
            one.encode(first, original.get());
            ASSERT_GE(first.bytes().size(), layout.wire_minimum) << layout.name;

            void* const decoded = world_.arena.allocate(layout.size, layout.alignment);
            Decoder in(first.bytes(), world_.arena, world_.pins);
            ASSERT_TRUE(in.structure(layout, decoded)) << layout.name << ' ' << in.sentence();
            ASSERT_EQ(in.remaining(), 0U) << layout.name << " with seed " << seed;
            Writer second;
            one.encode(second, decoded);
            ASSERT_EQ(first.bytes(), second.bytes()) << layout.name << " with seed " << seed;
            forget();
        }
    }
}

TEST_F(CodecProperty, EveryCommandDecodesToWhatWasEncoded) {
    for (const GuestCommand& one : std::span(guest::kGuestCommands, guest::kGuestCommandCount)) {
        const size_t index = find_command_layout(one.opcode);
        ASSERT_LT(index, kCommandLayoutCount);
        const CommandLayout& command = kCommandLayouts[index];
        const Layout& layout = layout_of(command.arguments);
        for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
            Random random(seed);
            world_.offer_to(random);
            Writer first;
            one.random(random, first);

            void* const arguments = world_.arena.allocate(layout.size, layout.alignment);
            Decoder in(first.bytes(), world_.arena, world_.pins);
            Object* const buffer =
                command.self == ObjectType::kCommandBuffer ? world_.command_buffer : nullptr;
            ASSERT_TRUE(in.arguments(layout, command.self, buffer, arguments))
                << layout.name << " with seed " << seed << ": " << in.sentence();
            Writer second;
            one.again(random, arguments, second);
            ASSERT_EQ(first.bytes(), second.bytes()) << layout.name << " with seed " << seed;

            reply_.outputs(layout, arguments);
            ASSERT_FALSE(reply_.failed()) << layout.name;
            Writer outputs;
            one.outputs(random, arguments, outputs);
            const std::vector<std::byte> replied(reply_.bytes().begin(), reply_.bytes().end());
            ASSERT_EQ(replied, outputs.bytes()) << layout.name << " with seed " << seed;
            forget();
        }
    }
}

TEST_F(CodecProperty, EveryStructureFailsWhereverItIsCutOff) {
    for (const GuestStruct& one : std::span(guest::kGuestStructs, guest::kGuestStructCount)) {
        const Layout& layout = layout_of(one.layout);
        Random random(7);
        world_.offer_to(random);
        const auto original = std::make_unique<std::byte[]>(one.size);
        one.fill(random, original.get());
        Writer whole;
        one.encode(whole, original.get());
        for (size_t size = 0; size < whole.bytes().size(); ++size) {
            // Memory of its own, so that a sanitizer sees a read past the end.
            const std::vector<std::byte> part(whole.bytes().begin(),
                                              whole.bytes().begin() + static_cast<long>(size));
            void* const decoded = world_.arena.allocate(layout.size, layout.alignment);
            Decoder in(part, world_.arena, world_.pins);
            ASSERT_FALSE(in.structure(layout, decoded)) << layout.name << " of " << size;
            ASSERT_TRUE(in.failed());
            forget();
        }
    }
}

TEST_F(CodecProperty, EveryCommandFailsWhereverItIsCutOff) {
    for (const GuestCommand& one : std::span(guest::kGuestCommands, guest::kGuestCommandCount)) {
        const CommandLayout& command = kCommandLayouts[find_command_layout(one.opcode)];
        const Layout& layout = layout_of(command.arguments);
        Object* const buffer =
            command.self == ObjectType::kCommandBuffer ? world_.command_buffer : nullptr;
        Random random(11);
        world_.offer_to(random);
        Writer whole;
        one.random(random, whole);
        for (size_t size = 0; size < whole.bytes().size(); ++size) {
            const std::vector<std::byte> part(whole.bytes().begin(),
                                              whole.bytes().begin() + static_cast<long>(size));
            void* const arguments = world_.arena.allocate(layout.size, layout.alignment);
            Decoder in(part, world_.arena, world_.pins);
            ASSERT_FALSE(in.arguments(layout, command.self, buffer, arguments))
                << layout.name << " of " << size;
            forget();
        }
        std::vector<std::byte> longer = whole.bytes();
        longer.push_back({});
        void* const arguments = world_.arena.allocate(layout.size, layout.alignment);
        Decoder in(longer, world_.arena, world_.pins);
        ASSERT_FALSE(in.arguments(layout, command.self, buffer, arguments)) << layout.name;
        forget();
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
