// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct FenceData : ObjectData {
    /// Keeps resets and the waits of exported fences, which the guest does not know of, apart.
    std::mutex mutex;
    uint32_t resets = 0;  ///< guarded by mutex
    /// Submitted, and the submission may not be done yet.
    std::atomic<bool> pending = false;
};

}  // namespace swede::gfxstream::vulkan
