// SPDX-License-Identifier: Apache-2.0
// Packets of real guests decode to their last byte, and replies get the length that they wait for.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "gfxstream/vulkan/reply.h"
#include "guest.h"
#include "unit/gfxstream/recorded_ids.h"
#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {
namespace {

struct Recorded {
    std::string command;
    size_t reply = 0;
    std::vector<std::byte> parameters;
};

std::vector<std::byte> bytes_of(const std::string& text) {
    std::vector<std::byte> bytes;
    for (size_t at = 0; at < text.size() && text != "-";) {
        if (text[at] == '(') {
            const size_t end = text.find(')', at);
            bytes.resize(bytes.size() + std::stoul(text.substr(at + 1, end - at - 1)));
            at = end + 1;
        } else {
            bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(at, 2), nullptr, 16)));
            at += 2;
        }
    }
    return bytes;
}

std::vector<Recorded> load() {
    std::ifstream file(SWEDE_RECORDED_PACKETS);
    std::vector<Recorded> packets;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with('#')) continue;
        std::istringstream words(line);
        Recorded packet;
        std::string parameters;
        words >> packet.command >> packet.reply >> parameters;
        packet.parameters = bytes_of(parameters);
        packets.push_back(std::move(packet));
    }
    return packets;
}

const CommandLayout* find(const std::string& name) {
    const auto commands = std::span(kCommandLayouts, kCommandLayoutCount);
    const auto found = std::ranges::find_if(commands, [&](const CommandLayout& command) {
        return layout_of(command.arguments).name == name;
    });
    return found != commands.end() ? &*found : nullptr;
}

TEST(RecordedPackets, DecodeToTheirEnd) {
    const std::vector<Recorded> packets = load();
    ASSERT_GT(packets.size(), 100U);
    for (const Recorded& packet : packets) {
        SCOPED_TRACE(packet.command);
        const CommandLayout* const command = find(packet.command);
        ASSERT_NE(command, nullptr);
        const Layout& layout = layout_of(command->arguments);
        World world;
        Object* const buffer =
            command->self == ObjectType::kCommandBuffer ? world.command_buffer : nullptr;
        std::vector<std::byte> bytes = packet.parameters;
        void* const arguments = world.arena.allocate(layout.size, layout.alignment);
        for (int tries = 0;; ++tries) {
            Decoder in = world.decoder(bytes);
            if (in.arguments(layout, command->self, buffer, arguments)) break;
            ASSERT_TRUE(tries < 20 && replace_missing_id(bytes, in.sentence(), world))
                << in.sentence();
        }
        Reply reply;
        reply.outputs(layout, arguments);
        const auto commands = std::span(guest::kGuestCommands, guest::kGuestCommandCount);
        const auto known =
            std::ranges::find(commands, command->opcode, &guest::GuestCommand::opcode);
        ASSERT_NE(known, commands.end());
        EXPECT_EQ(reply.bytes().size() + known->result_size, packet.reply);
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
