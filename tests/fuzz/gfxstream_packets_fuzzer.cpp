// SPDX-License-Identifier: Apache-2.0
// Parameters of one gfxstream command: the input's own bytes, those with our objects for the ones
// that it names and we have not, or what a guest encodes for a seed and then edits. Seeds are what
// guests were recorded to send (make_gfxstream_packets_seeds.py). What decodes is encoded again by
// the guest's typed code, which walks every array to its end; after two rounds it must not change
// any more. Parsers: src/gfxstream/vulkan/decoder.cpp src/gfxstream/vulkan/layout.cpp
// src/gfxstream/vulkan/reply.cpp src/gfxstream/arena.cpp
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "gfxstream/vulkan/reply.h"
#include "guest.h"
#include "require.h"
#include "unit/gfxstream/recorded_ids.h"
#include "unit/gfxstream/world.h"

namespace {

using namespace swede::gfxstream::vulkan;
using swede::fuzz::require;

World& world() {
    static World world;
    return world;
}

/// As a ring keeps it.
Reply& world_reply() {
    static Reply reply;
    return reply;
}

/// One change to what a guest encoded.
void edit(FuzzedDataProvider& input, std::vector<std::byte>& bytes) {
    const size_t at = input.ConsumeIntegralInRange<size_t>(0, bytes.size());
    const auto overwrite = [&](auto value) {
        if (at + sizeof(value) <= bytes.size()) {
            std::memcpy(bytes.data() + at, &value, sizeof(value));
        }
    };
    switch (input.ConsumeIntegralInRange(0, 5)) {
        case 0:
            return overwrite(input.ConsumeIntegral<uint8_t>());
        case 1:
            return overwrite(input.PickValueInArray<uint32_t>(
                {0, 1, 2, 0x01000000, 0x02000000, 0xff, 0x7fffffff, 0xffffffff}));
        case 2:
            return overwrite(kLayouts[input.ConsumeIntegral<uint16_t>() % kLayoutCount].stype);
        case 3: {
            const auto& objects = world().objects;
            return overwrite(objects[input.ConsumeIntegral<uint8_t>() % objects.size()]->id);
        }
        case 4: {
            const std::string more = input.ConsumeRandomLengthString(64);
            const auto* const first = reinterpret_cast<const std::byte*>(more.data());
            bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), first, first + more.size());
            return;
        }
        default:
            return bytes.resize(at);
    }
}

/// What the input is, said by a byte.
enum InputKind : uint8_t {
    kGuestsOwn,  ///< a seed of the guest's encoder, and edits
    kBytes,
    kRecorded,  ///< bytes that name objects of another place
    kKinds,
};
constexpr int kFillings = 5;                    ///< of the arena, that is how full it is at first
constexpr size_t kFilling = size_t{400} << 10;  ///< bytes
constexpr int kMaxIds = 20;                     ///< that are replaced

std::vector<std::byte> packet(FuzzedDataProvider& input, const guest::GuestCommand& command,
                              InputKind kind) {
    if (kind != kGuestsOwn) {
        const std::vector<uint8_t> rest = input.ConsumeRemainingBytes<uint8_t>();
        const auto* const first = reinterpret_cast<const std::byte*>(rest.data());
        return {first, first + rest.size()};
    }
    guest::Random random(input.ConsumeIntegral<uint16_t>());
    world().offer_to(random);
    guest::Writer to;
    command.random(random, to);
    std::vector<std::byte> bytes = to.bytes();
    while (input.remaining_bytes() > 0) edit(input, bytes);
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    FuzzedDataProvider input(data, size);
    const auto& command =
        guest::kGuestCommands[input.ConsumeIntegral<uint16_t>() % guest::kGuestCommandCount];
    const CommandLayout& known = kCommandLayouts[find_command_layout(command.opcode)];
    const Layout& layout = layout_of(known.arguments);
    Object* const buffer =
        known.self == ObjectType::kCommandBuffer ? world().command_buffer : nullptr;
    alignas(16) std::byte arguments[256];
    const int head = input.ConsumeIntegralInRange(0, kKinds * kFillings - 1);
    const auto kind = static_cast<InputKind>(head % kKinds);
    // As what stood before in the same packet left it.
    (void)world().arena.allocate(static_cast<size_t>(head / kKinds) * kFilling, 16);
    std::vector<std::byte> bytes = packet(input, command, kind);
    for (int ids = 0; kind == kRecorded && ids < kMaxIds; ++ids) {
        Decoder in = world().decoder(bytes);
        const bool done = in.arguments(layout, known.self, buffer, arguments);
        const std::string sentence = in.sentence();
        world().forget();
        if (done || !replace_missing_id(bytes, sentence, world())) break;
    }
    guest::Random random(0);
    for (int round = 0; round < 4; ++round) {
        // Memory of its own, so that a read past the end is seen.
        const std::vector<std::byte> copy(bytes.begin(), bytes.end());
        Decoder in = world().decoder(copy);
        const bool done = in.arguments(layout, known.self, buffer, arguments);
        require(done == !in.failed() && done == in.sentence().empty());
        if (!done) {
            require(round == 0);
            require(in.remaining() == 0 && in.u64() == 0);
            break;
        }
        // More than is ever sent back, and parts that have no place in a reply.
        Reply& reply = world_reply();
        reply.structure(layout, arguments);
        reply.clear();
        reply.outputs(layout, arguments);
        require(!reply.failed());
        guest::Writer outputs;
        command.outputs(random, arguments, outputs);
        require(std::ranges::equal(reply.bytes(), outputs.bytes()));
        guest::Writer again;
        command.again(random, arguments, again);
        require(round < 3 || again.bytes() == bytes);
        bytes = again.bytes();
        world().forget();
    }
    world().forget();
    return 0;
}
