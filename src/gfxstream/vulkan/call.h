// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "gfxstream/arena.h"
#include "gfxstream/vulkan/decoder.h"
#include "gfxstream/vulkan/object.h"
#include "gfxstream/vulkan/pins.h"
#include "gfxstream/vulkan/reply.h"

namespace swede::gfxstream::vulkan {

class Session;

/// What a ring's thread keeps from packet to packet, so that steady state allocates nothing. One
/// for each ring, used by its thread only.
struct RingState {
    Arena arena;                ///< everything decoded; reset after each packet
    Pins pins;                  ///< objects that the packet names; released after each packet
    Reply reply;                ///< empty for commands without one
    std::vector<Object*> held;  ///< empty between submissions; keeps its memory
};

/// One command that is being executed, on its ring's thread.
struct Call {
    Session& session;
    RingState& ring;
    Decoder& in;
    Reply& out;
    /// The command buffer of a vkQueueFlushCommandsGOOGLE payload; null elsewhere.
    Object* command_buffer = nullptr;

    template <typename T>
    [[nodiscard]] T* allocate(size_t count) {  ///< zeroed, in the arena; null when over its bound
        return ring.arena.allocate_array<T>(count);
    }
};

}  // namespace swede::gfxstream::vulkan
