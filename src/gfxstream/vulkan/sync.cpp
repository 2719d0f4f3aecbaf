// SPDX-License-Identifier: Apache-2.0
// Fences, semaphores, events and what waits for them.
#include <algorithm>
#include <thread>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"
#include "gfxstream/vulkan/sync_data.h"
#include "gfxstream/vulkan/waiting.h"

namespace swede::gfxstream::vulkan {
namespace {

/// While an exported fence is waited for, it cannot be reset for so long at most.
constexpr std::chrono::milliseconds kExportSlice{2};

/// Drivers ask a semaphore for what only a timeline has.
bool is_timeline(Call& call, const Object& semaphore) {
    return semaphore.get<SemaphoreData>().is_timeline ||
           call.in.fail("The semaphore {:#x} has no values.", semaphore.id);
}
/// All that the packet names.
bool are_timelines(Call& call) {
    return std::ranges::all_of(call.ring.pins.since(0), [&](const Object* object) {
        return object->type != ObjectType::kSemaphore || is_timeline(call, *object);
    });
}

}  // namespace

VkResult Session::wait_for_fences(Object& device, std::span<const VkFence> fences, bool all,
                                  Clock::time_point deadline) {
    DeviceData& data = device_data(device);
    return wait_in_slices(
        deadline, data, [&] { return data.lost || must_return(); },
        [&](uint64_t slice) {
            return data.vk.vkWaitForFences(device.as<VkDevice>(),
                                           static_cast<uint32_t>(fences.size()), fences.data(),
                                           all ? VK_TRUE : VK_FALSE, slice);
        });
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
    const auto is_pending = [](Object* fence) { return fence->get<FenceData>().pending.load(); };
    // A guest may have seen it signalled before we have seen the submission done.
    if (std::ranges::any_of(pFences, is_pending) &&
        !wait_for_work(device, [&] { return std::ranges::none_of(pFences, is_pending); }))
        return VK_ERROR_DEVICE_LOST;
    for (Object* const fence : pFences) {
        auto& data = fence->get<FenceData>();
        ++data.resetting;
        ++data.resets;
        const std::lock_guard lock(data.mutex);  // the slice in hand is over
    }
    const VkResult result =
        functions_of(device).vkResetFences(device.as<VkDevice>(), fenceCount, fences);
    for (Object* const fence : pFences) --fence->get<FenceData>().resetting;
    return result;
}

VkResult Session::vkGetFenceStatus(Call&, Object& device, Object& fence) {
    DeviceData& data = device_data(device);
    if (data.lost) return VK_ERROR_DEVICE_LOST;
    const VkResult result =
        data.heard(data.vk.vkGetFenceStatus(device.as<VkDevice>(), fence.as<VkFence>()));
    if (result == VK_SUCCESS) let_go_of_finished_work(device, Unfinished::kKeep);
    return result;
}

VkResult Session::vkWaitForFences(Call& call, Object& device, uint32_t,
                                  std::span<Object* const> pFences, VkBool32 waitAll,
                                  uint64_t timeout) {
    const VkFence* const fences = handles_of<VkFence>(call, pFences);
    if (fences == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (pFences.empty()) return VK_SUCCESS;
    const VkResult result = wait_for_fences(device, std::span(fences, pFences.size()),
                                            waitAll != VK_FALSE, deadline_after(timeout));
    if (result == VK_SUCCESS) let_go_of_finished_work(device, Unfinished::kKeep);
    return result;
}

VkResult Session::vkCreateSemaphore(Call&, Object& device, const VkSemaphoreCreateInfo* pCreateInfo,
                                    uint64_t* pSemaphore) {
    VkSemaphoreCreateInfo info = *pCreateInfo;
    drop_from_chain(info, [](VkStructureType type) {
        return type != VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    });
    const auto* const type = find_in_chain<VkSemaphoreTypeCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
    const bool is_timeline = type != nullptr && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE;
    VkSemaphore made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateSemaphore(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pSemaphore = adopt(ObjectType::kSemaphore, raw(made), device, result,
                        std::make_unique<SemaphoreData>(is_timeline));
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
    if (!are_timelines(call)) return VK_ERROR_UNKNOWN;
    const VkResult result = wait_in_slices(
        deadline_after(timeout), data, [&] { return data.lost || must_return(); },
        [&](uint64_t slice) {
            return data.vk.vkWaitSemaphores(device.as<VkDevice>(), &info, slice);
        });
    if (result == VK_SUCCESS) let_go_of_finished_work(device, Unfinished::kKeep);
    return result;
}

VkResult Session::vkSignalSemaphore(Call& call, Object& device,
                                    const VkSemaphoreSignalInfo* pSignalInfo) {
    DeviceData& data = device_data(device);
    if (data.vk.vkSignalSemaphore == nullptr) {
        call.in.fail("The device has no timeline semaphores.");
        return VK_ERROR_UNKNOWN;
    }
    if (!are_timelines(call)) return VK_ERROR_UNKNOWN;
    VkSemaphoreSignalInfo info = *pSignalInfo;
    info.pNext = nullptr;
    return data.heard(data.vk.vkSignalSemaphore(device.as<VkDevice>(), &info));
}

VkResult Session::vkGetSemaphoreCounterValue(Call& call, Object& device, Object& semaphore,
                                             uint64_t* pValue) {
    DeviceData& data = device_data(device);
    if (data.vk.vkGetSemaphoreCounterValue == nullptr) {
        call.in.fail("The device has no timeline semaphores.");
        return VK_ERROR_UNKNOWN;
    }
    if (!is_timeline(call, semaphore)) return VK_ERROR_UNKNOWN;
    if (data.lost) return VK_ERROR_DEVICE_LOST;  // else a program that polls it never ends
    return data.heard(data.vk.vkGetSemaphoreCounterValue(device.as<VkDevice>(),
                                                         semaphore.as<VkSemaphore>(), pValue));
}

VkResult Session::vkGetEventStatus(Call&, Object& device, Object& event) {
    DeviceData& data = device_data(device);
    if (data.lost) return VK_ERROR_DEVICE_LOST;  // what would set it may never run
    return data.heard(data.vk.vkGetEventStatus(device.as<VkDevice>(), event.as<VkEvent>()));
}

FenceMark Session::mark_fence(uint64_t fence) {
    // The guest may give a semaphore's id here, when it exports one as a sync file.
    Object* const object = table_.pin(ObjectType::kFence, fence);
    if (object == nullptr) return {};
    // No lock: this is the thread of the control queue, and another one may wait for the fence.
    const FenceMark mark{.fence = fence, .resets = object->get<FenceData>().resets};
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
        const std::chrono::nanoseconds longest(
            std::min(slice, static_cast<uint64_t>(std::chrono::nanoseconds(kExportSlice).count())));
        DeviceData& device = device_data(*object);
        auto& data = object->get<FenceData>();
        const auto is_over = [&] {
            return data.resets != mark.resets || device.lost || must_return();
        };
        if (!is_over()) {
            std::unique_lock lock(data.mutex);
            if (data.resetting != 0) {  // it was marked meanwhile
                lock.unlock();
                std::this_thread::sleep_for(longest);
                result = VK_TIMEOUT;
            } else if (!is_over()) {
                const auto fence = object->as<VkFence>();
                result = device.vk.vkWaitForFences(device_handle(*object), 1, &fence, VK_TRUE,
                                                   static_cast<uint64_t>(longest.count()));
            }
        }
        table_.unpin(object);
        if (result != VK_TIMEOUT) return true;
        if (slice == 0) return false;
    }
}

}  // namespace swede::gfxstream::vulkan
