// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct FenceData : ObjectData {
    /// Of a slice of a wait for an export. The guest does not know of these, so that resets are
    /// kept apart from them: whoever resets counts itself into `resetting` and takes the mutex
    /// once; no other slice begins then.
    std::mutex mutex;
    std::atomic<uint32_t> resetting = 0;
    std::atomic<uint32_t> resets = 0;
    /// Submitted, and the submission may not be done yet.
    std::atomic<bool> pending = false;
};

struct SemaphoreData : ObjectData {
    explicit SemaphoreData(bool timeline) : is_timeline(timeline) {}
    const bool is_timeline;
    // The highest values that submissions wait for and signal.
    std::atomic<uint64_t> waited_for = 0;
    std::atomic<uint64_t> signalled = 0;

    static void raise(std::atomic<uint64_t>& highest, uint64_t value) {
        uint64_t before = highest;
        while (before < value && !highest.compare_exchange_weak(before, value)) {
        }
    }
};

}  // namespace swede::gfxstream::vulkan
