// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <mutex>

#include "base/budget.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct CommandPoolData : ObjectData {
    /// Guests record by themselves and send it when they submit, which two threads may do at the
    /// same time with command buffers of one pool. Recursive: a recording may let go of a command
    /// buffer that another ring freed.
    std::recursive_mutex mutex;
};

/// "Command Buffer Lifecycle" of the specification, as far as the guest must not choose.
enum class Recording : uint8_t {
    kInitial,
    kRecording,
    kExecutable,
    kInvalid,  ///< the driver failed to record it; its device counts as lost
};

struct CommandBufferData : ObjectData {
    explicit CommandBufferData(bool is_primary) : primary(is_primary) {}
    const bool primary;
    std::atomic<Recording> state = Recording::kInitial;
    // Guarded by the pool's mutex:
    uint32_t next_subpasses = 0;  ///< that the render pass in hand has left
    Budget::Charge recorded;      ///< what the driver keeps of the recording
};

}  // namespace swede::gfxstream::vulkan
