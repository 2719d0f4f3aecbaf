// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "base/budget.h"
#include "gfxstream/vulkan/generated/dispatch.h"
#include "gfxstream/vulkan/object.h"
#include "gfxstream/vulkan/pending_work.h"
#include "gfxstream/vulkan/pipeline_cache.h"

namespace swede::gfxstream::vulkan {

struct InstanceData : ObjectData {
    InstanceFunctions vk;
    uint64_t physical_device = 0;  ///< id of the one that guests see
    Budget::Charge charge;
};

/// Of a VkQueue. Guests ask for a queue many times and get the same id.
struct QueueData : ObjectData {
    std::mutex mutex;  ///< Vulkan wants a queue's submissions from one thread at a time
    // Guarded by mutex:
    VkSemaphore done = VK_NULL_HANDLE;  ///< a timeline: batches that are done; made when needed
    uint64_t submitted = 0;             ///< what `done` counts to once all is done
    PendingWork pending;
    std::vector<Object*> spare;  ///< empty; keeps its memory
    bool closed = false;         ///< takes no more submissions: its device is about to go
};

struct DeviceData : ObjectData {
    struct Queue {
        uint32_t family = 0;
        uint32_t index = 0;
        VkDeviceQueueCreateFlags flags = 0;
        uint64_t id = 0;
    };

    DeviceFunctions vk;
    Budget::Charge charge;
    std::mutex queues_mutex;
    std::vector<Queue> queues;  ///< guarded by queues_mutex; the ids stay
    DevicePipelineCache pipelines;
    /// Drivers lock the caches that they merge one after the other: two threads that merge each
    /// into the other's would wait for ever.
    std::mutex merging;
    /// Layouts that the guest destroyed, the oldest first. It may do that once its own recording is
    /// complete, which it sends only when it submits: until then their ids are still to be known.
    std::mutex layouts_mutex;
    std::deque<uint64_t> destroyed_layouts;  ///< ids, guarded by layouts_mutex
    /// Submissions and recordings have no reply, so that their failures stick here.
    std::atomic<bool> lost = false;
    /// The driver said so itself: nothing that it was given runs any more.
    std::atomic<bool> gone = false;

    /// Takes a driver's answer, and gives it back.
    VkResult heard(VkResult result) {
        if (result == VK_ERROR_DEVICE_LOST) lost = gone = true;
        return result;
    }
};

[[nodiscard]] inline DeviceData& device_data(const Object& object) {
    return object.device->get<DeviceData>();
}
[[nodiscard]] inline VkDevice device_handle(const Object& object) {
    return object.device->as<VkDevice>();
}

/// A driver's handle as an Object keeps it.
template <typename T>
[[nodiscard]] uint64_t raw(T handle) {
    return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(handle));
}
/// A guest's id that the decoder left in a handle's place (commands that are `raw`).
template <typename T>
[[nodiscard]] uint64_t guest_id(T handle) {
    return raw(handle);
}

}  // namespace swede::gfxstream::vulkan
