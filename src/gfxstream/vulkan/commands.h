// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace swede::gfxstream::vulkan {

struct Call;
struct Object;

/// Flags of a Command.
inline constexpr uint8_t kSequenced = 1;  ///< its packet has a sequence number
inline constexpr uint8_t kRelaxed = 2;    ///< the number is passed on before it runs: it may wait
inline constexpr uint8_t kCommandBuffer = 4;  ///< stands in a vkQueueFlushCommandsGOOGLE payload
inline constexpr uint8_t kReply = 8;

/// A command that a guest may send.
struct Command {
    const char* name;
    /// Decodes call.in to its end, executes, and puts the reply in call.out. False: call.in says
    /// why, the context is lost.
    bool (*run)(Call& call);
    uint8_t flags;
};

/// Null: unknown, the context is lost.
[[nodiscard]] const Command* find_command(uint32_t opcode);

/// Calls the vkDestroyX (or vkFreeX) of an object's driver handle; nothing when that is 0 or when
/// its pool or device owns it. HandleTable calls this when the last pin of a removed object goes.
void destroy_driver_object(Object& object);

}  // namespace swede::gfxstream::vulkan
