// SPDX-License-Identifier: Apache-2.0
// Submissions. Guests send them without waiting for an answer, so that failures stick to the device
// and come out of the next wait. Structures keep the guest's ids, since whether a command buffer
// may run is ours to check: drivers trust it.
#include <cstring>

#include "base/log.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/command_data.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

template <typename T>
VkResult replace_ids(Call& call, const Object& device, T* handles, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        const Object* const object = look_up(call, kObjectTypeOf<T>, guest_id(handles[i]), device);
        if (object == nullptr) return VK_ERROR_UNKNOWN;
        handles[i] = object->as<T>();
    }
    return VK_SUCCESS;
}

/// The driver's handle of a command buffer that may be submitted.
VkResult replace_command_buffer(Call& call, const Object& device, VkCommandBuffer& handle) {
    const Object* const object =
        look_up(call, ObjectType::kCommandBuffer, guest_id(handle), device);
    if (object == nullptr) return VK_ERROR_UNKNOWN;
    const auto& data = object->get<CommandBufferData>();
    switch (data.state.load()) {
        case Recording::kExecutable:
            break;
        case Recording::kInvalid:
            return VK_ERROR_DEVICE_LOST;
        default:
            call.in.fail("The command buffer {:#x} is submitted before it is complete.",
                         object->id);
            return VK_ERROR_UNKNOWN;
    }
    if (!data.primary) {
        call.in.fail("The secondary command buffer {:#x} is submitted.", object->id);
        return VK_ERROR_UNKNOWN;
    }
    handle = object->as<VkCommandBuffer>();
    return VK_SUCCESS;
}

bool is_timeline(VkStructureType type) {
    return type == VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
}

/// Drivers read a value for each semaphore, whatever the counts say.
void check_values(const void* next, uint32_t waits, uint32_t signals) {
    auto* const timeline = find_in_chain<VkTimelineSemaphoreSubmitInfo>(
        next, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
    if (timeline == nullptr) return;
    if (timeline->waitSemaphoreValueCount < waits || timeline->pWaitSemaphoreValues == nullptr) {
        timeline->waitSemaphoreValueCount = 0;
        timeline->pWaitSemaphoreValues = nullptr;
    }
    if (timeline->signalSemaphoreValueCount < signals ||
        timeline->pSignalSemaphoreValues == nullptr) {
        timeline->signalSemaphoreValueCount = 0;
        timeline->pSignalSemaphoreValues = nullptr;
    }
}

VkResult prepare(Call& call, const Object& device, VkSubmitInfo& info) {
    drop_from_chain(info, [](VkStructureType type) { return !is_timeline(type); });
    check_values(info.pNext, info.waitSemaphoreCount, info.signalSemaphoreCount);
    VkResult result = replace_ids(call, device, const_cast<VkSemaphore*>(info.pWaitSemaphores),
                                  info.waitSemaphoreCount);
    for (uint32_t i = 0; result == VK_SUCCESS && i < info.commandBufferCount; ++i)
        result = replace_command_buffer(call, device,
                                        const_cast<VkCommandBuffer&>(info.pCommandBuffers[i]));
    if (result != VK_SUCCESS) return result;
    return replace_ids(call, device, const_cast<VkSemaphore*>(info.pSignalSemaphores),
                       info.signalSemaphoreCount);
}

VkResult prepare(Call& call, const Object& device, const VkSemaphoreSubmitInfo* infos,
                 uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        auto& info = const_cast<VkSemaphoreSubmitInfo&>(infos[i]);
        info.pNext = nullptr;
        info.deviceIndex = 0;
        const VkResult result = replace_ids(call, device, &info.semaphore, 1);
        if (result != VK_SUCCESS) return result;
    }
    return VK_SUCCESS;
}

VkResult prepare(Call& call, const Object& device, VkSubmitInfo2& info) {
    info.pNext = nullptr;
    info.flags = 0;
    VkResult result = prepare(call, device, info.pWaitSemaphoreInfos, info.waitSemaphoreInfoCount);
    for (uint32_t i = 0; result == VK_SUCCESS && i < info.commandBufferInfoCount; ++i) {
        auto& buffer = const_cast<VkCommandBufferSubmitInfo&>(info.pCommandBufferInfos[i]);
        buffer.pNext = nullptr;
        buffer.deviceMask = 0;
        result = replace_command_buffer(call, device, buffer.commandBuffer);
    }
    if (result != VK_SUCCESS) return result;
    return prepare(call, device, info.pSignalSemaphoreInfos, info.signalSemaphoreInfoCount);
}

/// For submissions whose failure nobody hears: what the application waits for would never come.
void remember(Call& call, const Object& queue, VkResult result) {
    if (result == VK_SUCCESS || call.in.failed()) return;
    log_.warn("A submission of the guest failed ({}); its device counts as lost.",
              static_cast<int>(result));
    device_data(queue).lost = true;
}

}  // namespace

template <typename Info, typename Function>
VkResult Session::submit(Call& call, Object& queue, std::span<const Info> submits, Object* fence,
                         Function DeviceFunctions::* function) {
    DeviceData& data = device_data(queue);
    if (data.lost) return VK_ERROR_DEVICE_LOST;
    if (data.vk.*function == nullptr) {
        call.in.fail("The device has no such submission.");
        return VK_ERROR_UNKNOWN;
    }
    for (const Info& info : submits) {
        const VkResult result = prepare(call, queue, const_cast<Info&>(info));
        if (result != VK_SUCCESS) return result;
    }
    const std::lock_guard lock(queue.get<QueueData>().mutex);
    const VkResult result = (data.vk.*function)(
        queue.as<VkQueue>(), static_cast<uint32_t>(submits.size()), submits.data(),
        fence != nullptr ? fence->as<VkFence>() : VK_NULL_HANDLE);
    if (result == VK_ERROR_DEVICE_LOST) data.lost = true;
    return result;
}

VkResult Session::vkQueueSubmit(Call& call, Object& queue, uint32_t submitCount,
                                const VkSubmitInfo* pSubmits, Object* fence) {
    return submit(call, queue, std::span(pSubmits, submitCount), fence,
                  &DeviceFunctions::vkQueueSubmit);
}

VkResult Session::vkQueueSubmit2(Call& call, Object& queue, uint32_t submitCount,
                                 const VkSubmitInfo2* pSubmits, Object* fence) {
    return submit(call, queue, std::span(pSubmits, submitCount), fence,
                  &DeviceFunctions::vkQueueSubmit2);
}

void Session::vkQueueSubmitAsyncGOOGLE(Call& call, Object& queue, uint32_t submitCount,
                                       const VkSubmitInfo* pSubmits, Object* fence) {
    remember(call, queue, vkQueueSubmit(call, queue, submitCount, pSubmits, fence));
}

void Session::vkQueueSubmitAsync2GOOGLE(Call& call, Object& queue, uint32_t submitCount,
                                        const VkSubmitInfo2* pSubmits, Object* fence) {
    remember(call, queue, vkQueueSubmit2(call, queue, submitCount, pSubmits, fence));
}

VkResult Session::vkQueueBindSparse(Call& call, Object& queue, uint32_t, const VkBindSparseInfo*,
                                    Object*) {
    // No guest is told of a queue or a feature that allows it; a fence of it would never come.
    remember(call, queue, VK_ERROR_FEATURE_NOT_PRESENT);
    return VK_ERROR_DEVICE_LOST;
}

void Session::vkQueueBindSparseAsyncGOOGLE(Call& call, Object& queue, uint32_t bindInfoCount,
                                           const VkBindSparseInfo* pBindInfo, Object* fence) {
    (void)vkQueueBindSparse(call, queue, bindInfoCount, pBindInfo, fence);
}

VkResult Session::vkQueueWaitIdle(Call&, Object& queue) {
    Object* const one = &queue;
    return wait_until_idle(*queue.device, std::span(&one, 1),
                           std::chrono::steady_clock::time_point::max());
}

void Session::vkQueueWaitIdleAsyncGOOGLE(Call& call, Object& queue) {
    (void)vkQueueWaitIdle(call, queue);
}

VkResult Session::vkDeviceWaitIdle(Call&, Object& device) {
    return wait_until_device_is_idle(device, std::chrono::steady_clock::time_point::max());
}

}  // namespace swede::gfxstream::vulkan
