// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <chrono>
#include <cstdint>

#include "gfxstream/vulkan/device_data.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {

// No wait blocks in the driver for longer than a slice, so that abandon() ends it.

[[nodiscard]] inline Session::Clock::time_point deadline_after(uint64_t nanoseconds) {
    using Clock = Session::Clock;
    const auto now = Clock::now();
    const auto room =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::time_point::max() - now);
    if (nanoseconds >= static_cast<uint64_t>(room.count())) return Clock::time_point::max();
    return now + std::chrono::nanoseconds(nanoseconds);
}

/// How long the next slice is, in ns; 0 when the deadline has passed.
[[nodiscard]] inline uint64_t next_slice(Session::Clock::time_point deadline) {
    const auto now = Session::Clock::now();
    if (now >= deadline) return 0;
    const auto slice = std::chrono::duration_cast<std::chrono::nanoseconds>(Session::kSlice);
    if (deadline - now >= slice) return static_cast<uint64_t>(slice.count());
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - now).count());
}

/// The sequence of slices of every wait: `attempt(ns)` is the driver's.
template <typename IsOver, typename Attempt>
[[nodiscard]] VkResult wait_in_slices(Session::Clock::time_point deadline, DeviceData& data,
                                      IsOver&& is_over, Attempt&& attempt) {
    for (;;) {
        if (is_over()) return VK_ERROR_DEVICE_LOST;
        const uint64_t slice = next_slice(deadline);
        const VkResult result = data.heard(attempt(slice));
        if (result != VK_TIMEOUT || slice == 0) return result;
    }
}

}  // namespace swede::gfxstream::vulkan
