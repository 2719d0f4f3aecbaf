// SPDX-License-Identifier: Apache-2.0
// What queues were given and may not have done yet. Each batch of a submission counts a semaphore
// of the queue's up, so that it is known exactly what is done: waiting for a queue to be empty
// could wait for what the guest has yet to signal.
#include <algorithm>
#include <array>
#include <limits>
#include <thread>

#include "gfxstream/vulkan/command_data.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"
#include "gfxstream/vulkan/sync_data.h"
#include "gfxstream/vulkan/waiting.h"

namespace swede::gfxstream::vulkan {
namespace {

/// More queues than that are not waited for at once.
constexpr size_t kMostQueues = 64;

/// For a device that is lost to its guest.
constexpr std::chrono::seconds kLostWait{1};

}  // namespace

void Session::let_go(Object& object) {
    if (object.type == ObjectType::kCommandBuffer)
        object.get<CommandBufferData>().end_use(table_);
    else if (object.type == ObjectType::kFence)
        object.get<FenceData>().pending = false;
    table_.unpin(&object);
}

void Session::let_go_of_finished(Object& queue, Unfinished unfinished) {
    auto& data = queue.get<QueueData>();
    const DeviceData& device = device_data(queue);
    std::vector<Object*> finished;
    {
        const std::lock_guard lock(data.mutex);
        if (unfinished == Unfinished::kClose) data.closed = true;
        if (data.pending.empty()) return;
        uint64_t value = std::numeric_limits<uint64_t>::max();
        // What is lost to the guest alone still runs.
        if (unfinished == Unfinished::kKeep && !device.gone &&
            device.vk.vkGetSemaphoreCounterValue(device_handle(queue), data.done, &value) !=
                VK_SUCCESS)
            return;
        finished.swap(data.spare);
        data.pending.take_finished(value, finished);
    }
    // Each may be the last to hold it: drivers are called, and locks of pools taken.
    while (!finished.empty()) {
        Object* const object = finished.back();
        finished.pop_back();
        let_go(*object);
    }
    const std::lock_guard lock(data.mutex);
    if (data.spare.capacity() < finished.capacity()) data.spare.swap(finished);
}

template <typename Visit>
void Session::for_each_queue(Object& device, Visit&& visit) {
    DeviceData& data = device_data(device);
    for (size_t i = 0;; ++i) {
        uint64_t id = 0;
        {
            const std::lock_guard lock(data.queues_mutex);
            if (i == data.queues.size()) return;
            id = data.queues[i].id;
        }
        Object* const queue = table_.pin(ObjectType::kQueue, id);
        if (queue == nullptr) continue;
        visit(*queue);
        table_.unpin(queue);
    }
}

void Session::let_go_of_finished_work(Object& device, Unfinished unfinished) {
    for_each_queue(device, [&](Object& queue) { let_go_of_finished(queue, unfinished); });
}

void Session::wait_for_some_work(Object& device) {
    std::array<VkSemaphore, kMostQueues> semaphores{};
    std::array<uint64_t, kMostQueues> values{};
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.flags = VK_SEMAPHORE_WAIT_ANY_BIT;
    info.pSemaphores = semaphores.data();
    info.pValues = values.data();
    for_each_queue(device, [&](Object& queue) {
        auto& data = queue.get<QueueData>();
        const std::lock_guard lock(data.mutex);
        if (data.pending.empty() || info.semaphoreCount == kMostQueues) return;
        semaphores[info.semaphoreCount] = data.done;
        values[info.semaphoreCount++] = data.pending.oldest();
    });
    if (info.semaphoreCount == 0) {  // it is in another ring's hands for a moment
        std::this_thread::sleep_for(kSlice / 10);
        return;
    }
    DeviceData& data = device_data(device);
    (void)data.heard(data.vk.vkWaitSemaphores(
        device.as<VkDevice>(), &info,
        std::chrono::duration_cast<std::chrono::nanoseconds>(kSlice).count()));
}

VkResult Session::wait_until_idle(Object& queue, Clock::time_point deadline,
                                  std::atomic<bool> DeviceData::* lost) {
    // vkQueueWaitIdle cannot be ended.
    DeviceData& device = device_data(queue);
    auto& data = queue.get<QueueData>();
    VkSemaphoreWaitInfo info{};
    uint64_t value = 0;
    {
        const std::lock_guard lock(data.mutex);
        if (device.*lost) return VK_ERROR_DEVICE_LOST;
        if (data.submitted == 0) return VK_SUCCESS;
        info.pSemaphores = &data.done;
        value = data.submitted;
    }
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pValues = &value;
    const VkResult result = wait_in_slices(
        deadline, device, [&] { return device.*lost || must_return(); },
        [&](uint64_t slice) {
            return device.vk.vkWaitSemaphores(device_handle(queue), &info, slice);
        });
    let_go_of_finished(queue, Unfinished::kKeep);
    return result;
}

VkResult Session::wait_until_device_is_idle(Object& device, Clock::time_point deadline,
                                            std::atomic<bool> DeviceData::* lost) {
    VkResult result = VK_SUCCESS;
    for_each_queue(device, [&](Object& queue) {
        if (result == VK_SUCCESS) result = wait_until_idle(queue, deadline, lost);
    });
    return result;
}

VkResult Session::close_device(Object& device, Clock::time_point deadline) {
    VkResult result = VK_SUCCESS;
    // What it runs may wait for a submission that failed. (The end of the context has its own
    // limit, behind which the process is given up.)
    if (device_data(device).lost && !closing_)
        deadline = std::min(deadline, Clock::now() + kLostWait);
    for_each_queue(device, [&](Object& queue) {
        auto& data = queue.get<QueueData>();
        const std::lock_guard lock(data.mutex);
        data.closed = true;
    });
    for (;;) {
        result = wait_until_device_is_idle(device, deadline, &DeviceData::gone);
        // Without memory a driver cannot wait; what runs still runs.
        if (result != VK_ERROR_OUT_OF_HOST_MEMORY && result != VK_ERROR_OUT_OF_DEVICE_MEMORY) break;
        if (Clock::now() >= deadline) result = VK_TIMEOUT;
        if (result == VK_TIMEOUT || must_return()) break;
        std::this_thread::sleep_for(kSlice);
    }
    if (result != VK_TIMEOUT && !must_return()) let_go_of_finished_work(device, Unfinished::kClose);
    return result;
}

template <typename Visit>
void Session::for_each_device(Object& instance, Visit&& visit) {
    std::vector<uint64_t> ids;
    const auto collect = [&](Object& physical_device) {
        table_.for_each_child(physical_device, ObjectType::kDevice,
                              [&](Object& device) { ids.push_back(device.id); });
    };
    Object* const physical_device =
        table_.pin(ObjectType::kPhysicalDevice, instance.get<InstanceData>().physical_device);
    if (physical_device == nullptr) return;
    collect(*physical_device);
    table_.unpin(physical_device);
    for (const uint64_t id : ids) {
        Object* const device = table_.pin(ObjectType::kDevice, id);
        if (device == nullptr) continue;
        visit(*device);
        table_.unpin(device);
    }
}

VkResult Session::close_devices(Object& instance, Clock::time_point deadline) {
    VkResult result = VK_SUCCESS;
    for_each_device(instance, [&](Object& device) {
        const VkResult one = close_device(device, deadline);
        if (one != VK_SUCCESS && result != VK_TIMEOUT) result = one;
    });
    return result;
}

void Session::end_waits(Object& instance) {
    for_each_device(instance, [&](Object& device) {
        const DeviceData& driver = device_data(device);
        for_each_queue(device, [&](Object& queue) {
            auto& data = queue.get<QueueData>();
            const std::lock_guard lock(data.mutex);
            for (Object* const object : data.pending.objects()) {
                if (object->type != ObjectType::kSemaphore) continue;
                const auto& semaphore = object->get<SemaphoreData>();
                uint64_t value = 0;
                if (!semaphore.is_timeline || semaphore.signalled >= semaphore.waited_for ||
                    driver.vk.vkGetSemaphoreCounterValue(
                        device.as<VkDevice>(), object->as<VkSemaphore>(), &value) != VK_SUCCESS ||
                    value >= semaphore.waited_for)
                    continue;
                VkSemaphoreSignalInfo info{};
                info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO;
                info.semaphore = object->as<VkSemaphore>();
                info.value = semaphore.waited_for;
                (void)driver.vk.vkSignalSemaphore(device.as<VkDevice>(), &info);
            }
        });
    });
}

}  // namespace swede::gfxstream::vulkan
