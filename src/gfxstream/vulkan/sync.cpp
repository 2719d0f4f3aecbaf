// SPDX-License-Identifier: Apache-2.0
// Fences, semaphores and all that waits. No wait blocks in the driver for longer than a slice, so
// that abandon() ends it.
#include <algorithm>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"
#include "gfxstream/vulkan/sync_data.h"

namespace swede::gfxstream::vulkan {
namespace {

using Clock = std::chrono::steady_clock;

/// While an exported fence is waited for, it cannot be reset for so long at most.
constexpr std::chrono::milliseconds kExportSlice{2};

Clock::time_point deadline_after(uint64_t nanoseconds) {
    const auto now = Clock::now();
    const auto room =
        std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::time_point::max() - now);
    if (nanoseconds >= static_cast<uint64_t>(room.count())) return Clock::time_point::max();
    return now + std::chrono::nanoseconds(nanoseconds);
}

/// How long the next slice is, in ns; 0 when the deadline has passed.
uint64_t next_slice(Clock::time_point deadline) {
    const auto now = Clock::now();
    if (now >= deadline) return 0;
    const auto slice = std::chrono::duration_cast<std::chrono::nanoseconds>(Session::kSlice);
    if (deadline - now >= slice) return static_cast<uint64_t>(slice.count());
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - now).count());
}

/// The sequence of slices of every wait: `attempt(ns)` is the driver's.
template <typename MustReturn, typename Attempt>
VkResult wait_in_slices(Clock::time_point deadline, DeviceData& data, MustReturn&& must_return,
                        Attempt&& attempt) {
    for (;;) {
        if (data.lost || must_return()) return VK_ERROR_DEVICE_LOST;
        const uint64_t slice = next_slice(deadline);
        const VkResult result = attempt(slice);
        if (result == VK_ERROR_DEVICE_LOST) data.lost = true;
        if (result != VK_TIMEOUT || slice == 0) return result;
    }
}

}  // namespace

VkResult Session::wait_for_fences(Object& device, std::span<const VkFence> fences, bool all,
                                  Clock::time_point deadline) {
    DeviceData& data = device_data(device);
    return wait_in_slices(
        deadline, data, [this] { return must_return(); },
        [&](uint64_t slice) {
            return data.vk.vkWaitForFences(device.as<VkDevice>(),
                                           static_cast<uint32_t>(fences.size()), fences.data(),
                                           all ? VK_TRUE : VK_FALSE, slice);
        });
}

VkResult Session::wait_until_idle(Object& device, std::span<Object* const> queues,
                                  Clock::time_point deadline) {
    // vkQueueWaitIdle cannot be ended; a fence behind everything on the queue says the same.
    DeviceData& data = device_data(device);
    for (Object* const queue : queues) {
        if (data.lost) return VK_ERROR_DEVICE_LOST;
        VkFenceCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
        VkFence fence = VK_NULL_HANDLE;
        VkResult result = data.vk.vkCreateFence(device.as<VkDevice>(), &info, nullptr, &fence);
        if (result != VK_SUCCESS) return result;
        {
            const std::lock_guard lock(queue->get<QueueData>().mutex);
            result = data.vk.vkQueueSubmit(queue->as<VkQueue>(), 0, nullptr, fence);
        }
        if (result == VK_SUCCESS)
            result = wait_for_fences(device, std::span(&fence, 1), true, deadline);
        if (result == VK_ERROR_DEVICE_LOST && !must_return()) data.lost = true;
        if (data.vk.vkGetFenceStatus(device.as<VkDevice>(), fence) == VK_NOT_READY && !data.lost) {
            // Still in use: it goes with the device, and with a full table it is left behind.
            (void)table_.add(ObjectType::kFence, raw(fence), &device, &device,
                             std::make_unique<FenceData>());
        } else {
            data.vk.vkDestroyFence(device.as<VkDevice>(), fence, nullptr);
        }
        if (result != VK_SUCCESS) return result;
    }
    return VK_SUCCESS;
}

VkResult Session::wait_until_device_is_idle(Object& device, Clock::time_point deadline) {
    std::vector<uint64_t> ids;
    {
        DeviceData& data = device_data(device);
        const std::lock_guard lock(data.queues_mutex);
        for (const DeviceData::Queue& queue : data.queues) ids.push_back(queue.id);
    }
    VkResult result = VK_SUCCESS;
    for (const uint64_t id : ids) {
        Object* const queue = table_.pin(ObjectType::kQueue, id);
        if (queue == nullptr) continue;
        result = wait_until_idle(device, std::span(&queue, 1), deadline);
        table_.unpin(queue);
        if (result != VK_SUCCESS) break;
    }
    return result;
}

VkResult Session::wait_until_instance_is_idle(Object& instance, Clock::time_point deadline) {
    std::vector<uint64_t> ids;
    const auto collect = [&](Object& physical_device) {
        table_.for_each_child(physical_device, ObjectType::kDevice,
                              [&](Object& device) { ids.push_back(device.id); });
    };
    Object* const physical_device =
        table_.pin(ObjectType::kPhysicalDevice, instance.get<InstanceData>().physical_device);
    if (physical_device == nullptr) return VK_SUCCESS;
    collect(*physical_device);
    table_.unpin(physical_device);
    VkResult result = VK_SUCCESS;
    for (const uint64_t id : ids) {
        Object* const device = table_.pin(ObjectType::kDevice, id);
        if (device == nullptr) continue;
        const VkResult one = wait_until_device_is_idle(*device, deadline);
        table_.unpin(device);
        if (one != VK_SUCCESS && result != VK_TIMEOUT) result = one;
    }
    return result;
}

VkResult Session::vkCreateFence(Call&, Object& device, const VkFenceCreateInfo* pCreateInfo,
                                uint64_t* pFence) {
    VkFenceCreateInfo info = *pCreateInfo;
    info.pNext = nullptr;  // exports are the guest driver's: sync files of virtio fences
    VkFence made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateFence(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pFence = adopt(ObjectType::kFence, raw(made), device, result, std::make_unique<FenceData>());
    return result;
}

void Session::vkDestroyFence(Call&, Object&, Object* fence) {
    if (fence != nullptr) table_.remove(fence->id, fence->type);
}

VkResult Session::vkResetFences(Call& call, Object& device, uint32_t fenceCount,
                                std::span<Object* const> pFences) {
    const VkFence* const fences = handles_of<VkFence>(call, pFences);
    if (fences == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    for (Object* const fence : pFences) {
        auto& data = fence->get<FenceData>();
        const std::lock_guard lock(data.mutex);
        ++data.resets;  // from here on, no wait of an export uses the fence
    }
    return functions_of(device).vkResetFences(device.as<VkDevice>(), fenceCount, fences);
}

VkResult Session::vkGetFenceStatus(Call&, Object& device, Object& fence) {
    DeviceData& data = device_data(device);
    if (data.lost) return VK_ERROR_DEVICE_LOST;
    const VkResult result = data.vk.vkGetFenceStatus(device.as<VkDevice>(), fence.as<VkFence>());
    if (result == VK_ERROR_DEVICE_LOST) data.lost = true;
    return result;
}

VkResult Session::vkWaitForFences(Call& call, Object& device, uint32_t,
                                  std::span<Object* const> pFences, VkBool32 waitAll,
                                  uint64_t timeout) {
    const VkFence* const fences = handles_of<VkFence>(call, pFences);
    if (fences == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (pFences.empty()) return VK_SUCCESS;
    return wait_for_fences(device, std::span(fences, pFences.size()), waitAll != VK_FALSE,
                           deadline_after(timeout));
}

VkResult Session::vkCreateSemaphore(Call&, Object& device, const VkSemaphoreCreateInfo* pCreateInfo,
                                    uint64_t* pSemaphore) {
    VkSemaphoreCreateInfo info = *pCreateInfo;
    drop_from_chain(info, [](VkStructureType type) {
        return type != VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    });
    VkSemaphore made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateSemaphore(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pSemaphore = adopt(ObjectType::kSemaphore, raw(made), device, result);
    return result;
}

void Session::vkDestroySemaphore(Call&, Object&, Object* semaphore) {
    if (semaphore != nullptr) table_.remove(semaphore->id, semaphore->type);
}

VkResult Session::vkWaitSemaphores(Call& call, Object& device, const VkSemaphoreWaitInfo* pWaitInfo,
                                   uint64_t timeout) {
    DeviceData& data = device_data(device);
    if (data.vk.vkWaitSemaphores == nullptr) {
        call.in.fail("The device has no timeline semaphores.");
        return VK_ERROR_UNKNOWN;
    }
    VkSemaphoreWaitInfo info = *pWaitInfo;
    info.pNext = nullptr;
    if (info.semaphoreCount == 0) return VK_SUCCESS;
    return wait_in_slices(
        deadline_after(timeout), data, [this] { return must_return(); },
        [&](uint64_t slice) {
            return data.vk.vkWaitSemaphores(device.as<VkDevice>(), &info, slice);
        });
}

FenceMark Session::mark_fence(uint64_t fence) {
    // The guest may give a semaphore's id here, when it exports one as a sync file.
    Object* const object = table_.pin(ObjectType::kFence, fence);
    if (object == nullptr) return {};
    FenceMark mark{.fence = fence};
    {
        auto& data = object->get<FenceData>();
        const std::lock_guard lock(data.mutex);
        mark.resets = data.resets;
    }
    table_.unpin(object);
    return mark;
}

bool Session::wait_for_fence(const FenceMark& mark, std::chrono::nanoseconds limit) {
    const auto deadline =
        deadline_after(static_cast<uint64_t>(std::max<int64_t>(limit.count(), 0)));
    for (;;) {
        // Pinned for one slice only: a fence that the guest destroys meanwhile is done.
        Object* const object = table_.pin(ObjectType::kFence, mark.fence);
        if (object == nullptr) return true;
        VkResult result = VK_SUCCESS;
        const uint64_t slice = next_slice(deadline);
        {
            DeviceData& device = device_data(*object);
            auto& data = object->get<FenceData>();
            const std::lock_guard lock(data.mutex);
            if (data.resets == mark.resets && !device.lost && !must_return()) {
                const auto fence = object->as<VkFence>();
                const auto longest = std::chrono::nanoseconds(kExportSlice).count();
                result = device.vk.vkWaitForFences(device_handle(*object), 1, &fence, VK_TRUE,
                                                   std::min(slice, static_cast<uint64_t>(longest)));
            }
        }
        table_.unpin(object);
        if (result != VK_TIMEOUT) return true;
        if (slice == 0) return false;
    }
}

}  // namespace swede::gfxstream::vulkan
