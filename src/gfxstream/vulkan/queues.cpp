// SPDX-License-Identifier: Apache-2.0
// Submissions. Guests send them without waiting for an answer, so that failures stick to the device
// and come out of the next wait. Structures keep the guest's ids, since whether a command buffer
// may run is ours to check: drivers trust it.
#include <algorithm>

#include "base/log.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/command_data.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"
#include "gfxstream/vulkan/sync_data.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

/// Room for one more: batches may name one command buffer, with all that it executes, many times.
bool may_hold_more(Call& call) {
    return call.ring.held.size() < PendingWork::kBound ||
           call.in.fail("A submission uses more than {} objects.", PendingWork::kBound);
}

/// An object that the submission holds until it is done; null, and the call has failed.
Object* hold(Call& call, ObjectType type, uint64_t id, const Object& device) {
    if (!may_hold_more(call) || look_up(call, type, id, device) == nullptr) return nullptr;
    Object* const object = call.session.table().pin(type, id);
    if (object == nullptr) {
        call.in.fail("There is no {} {:#x} any more.", name_of(type), id);
        return nullptr;
    }
    call.ring.held.push_back(object);
    return object;
}

/// The value of SemaphoreData that a use of semaphores raises.
using SemaphoreUse = std::atomic<uint64_t> SemaphoreData::*;

/// `values`: one for each; null without any.
VkResult replace_ids(Call& call, const Object& device, VkSemaphore* handles, uint32_t count,
                     SemaphoreUse use, const uint64_t* values) {
    for (uint32_t i = 0; i < count; ++i) {
        const Object* const object =
            hold(call, ObjectType::kSemaphore, guest_id(handles[i]), device);
        if (object == nullptr) return VK_ERROR_UNKNOWN;
        handles[i] = object->as<VkSemaphore>();
        if (values != nullptr) SemaphoreData::raise(object->get<SemaphoreData>().*use, values[i]);
    }
    return VK_SUCCESS;
}

/// Has a command buffer's recording hold what it names. `recording`: the one that is meant; 0: any.
bool hold_recording(Call& call, const Object& device, uint64_t id, uint64_t recording) {
    if (!may_hold_more(call)) return false;
    HandleTable& table = call.session.table();
    Object* const object = table.pin(ObjectType::kCommandBuffer, id);
    if (object == nullptr) return false;
    if (object->device != device.device ||
        !object->get<CommandBufferData>().start_use(table, recording)) {
        table.unpin(object);
        return false;
    }
    call.ring.held.push_back(object);
    return true;
}

/// The driver's handle of a command buffer that may be submitted.
VkResult replace_command_buffer(Call& call, const Object& device, VkCommandBuffer& handle) {
    const Object* const object =
        look_up(call, ObjectType::kCommandBuffer, guest_id(handle), device);
    if (object == nullptr) return VK_ERROR_UNKNOWN;
    const auto& data = object->get<CommandBufferData>();
    switch (data.state()) {
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
    bool held = hold_recording(call, device, object->id, 0);
    if (held)
        for (const CommandBufferData::Secondary& one : data.secondaries())
            held = held && hold_recording(call, device, one.id, one.recording);
    if (held) return VK_SUCCESS;
    if (call.in.failed()) return VK_ERROR_UNKNOWN;
    log_.warn("A command buffer of the guest is submitted, and something that it names has gone.");
    return VK_ERROR_DEVICE_LOST;
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
    const auto* const timeline = find_in_chain<VkTimelineSemaphoreSubmitInfo>(
        info.pNext, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
    VkResult result = replace_ids(call, device, const_cast<VkSemaphore*>(info.pWaitSemaphores),
                                  info.waitSemaphoreCount, &SemaphoreData::waited_for,
                                  timeline != nullptr ? timeline->pWaitSemaphoreValues : nullptr);
    for (uint32_t i = 0; result == VK_SUCCESS && i < info.commandBufferCount; ++i)
        result = replace_command_buffer(call, device,
                                        const_cast<VkCommandBuffer&>(info.pCommandBuffers[i]));
    if (result != VK_SUCCESS) return result;
    return replace_ids(call, device, const_cast<VkSemaphore*>(info.pSignalSemaphores),
                       info.signalSemaphoreCount, &SemaphoreData::signalled,
                       timeline != nullptr ? timeline->pSignalSemaphoreValues : nullptr);
}

VkResult prepare(Call& call, const Object& device, const VkSemaphoreSubmitInfo* infos,
                 uint32_t count, SemaphoreUse use) {
    for (uint32_t i = 0; i < count; ++i) {
        auto& info = const_cast<VkSemaphoreSubmitInfo&>(infos[i]);
        info.pNext = nullptr;
        info.deviceIndex = 0;
        const VkResult result = replace_ids(call, device, &info.semaphore, 1, use, &info.value);
        if (result != VK_SUCCESS) return result;
    }
    return VK_SUCCESS;
}

VkResult prepare(Call& call, const Object& device, VkSubmitInfo2& info) {
    info.pNext = nullptr;
    info.flags = 0;
    VkResult result = prepare(call, device, info.pWaitSemaphoreInfos, info.waitSemaphoreInfoCount,
                              &SemaphoreData::waited_for);
    for (uint32_t i = 0; result == VK_SUCCESS && i < info.commandBufferInfoCount; ++i) {
        auto& buffer = const_cast<VkCommandBufferSubmitInfo&>(info.pCommandBufferInfos[i]);
        buffer.pNext = nullptr;
        buffer.deviceMask = 0;
        result = replace_command_buffer(call, device, buffer.commandBuffer);
    }
    if (result != VK_SUCCESS) return result;
    return prepare(call, device, info.pSignalSemaphoreInfos, info.signalSemaphoreInfoCount,
                   &SemaphoreData::signalled);
}

template <typename Info>
constexpr VkStructureType kSubmitInfoType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
template <>
constexpr VkStructureType kSubmitInfoType<VkSubmitInfo2> = VK_STRUCTURE_TYPE_SUBMIT_INFO_2;

/// Has a batch set the queue's timeline to `value` as well: a signal covers all that was submitted
/// to the queue before. False: no room.
bool add_signal(Call& call, VkSubmitInfo& info, VkSemaphore timeline, uint64_t value) {
    const uint32_t count = info.signalSemaphoreCount;
    auto* const semaphores = room_for<VkSemaphore>(call, size_t{count} + 1);
    auto* const values = room_for<uint64_t>(call, size_t{count} + 1);
    auto* chained = find_in_chain<VkTimelineSemaphoreSubmitInfo>(
        info.pNext, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
    if (chained == nullptr) {
        chained = room_for<VkTimelineSemaphoreSubmitInfo>(call, 1);
        if (chained == nullptr) return false;
        chained->sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
        push_to_chain(info, *chained);
    }
    if (semaphores == nullptr || values == nullptr) return false;
    std::copy_n(info.pSignalSemaphores, count, semaphores);
    if (chained->signalSemaphoreValueCount != 0)  // then there are enough: check_values()
        std::copy_n(chained->pSignalSemaphoreValues, count, values);
    semaphores[count] = timeline;
    values[count] = value;
    info.signalSemaphoreCount = count + 1;
    info.pSignalSemaphores = semaphores;
    chained->signalSemaphoreValueCount = count + 1;
    chained->pSignalSemaphoreValues = values;
    return true;
}

bool add_signal(Call& call, VkSubmitInfo2& info, VkSemaphore timeline, uint64_t value) {
    const uint32_t count = info.signalSemaphoreInfoCount;
    auto* const signals = room_for<VkSemaphoreSubmitInfo>(call, size_t{count} + 1);
    if (signals == nullptr) return false;
    std::copy_n(info.pSignalSemaphoreInfos, count, signals);
    signals[count].sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO;
    signals[count].semaphore = timeline;
    signals[count].value = value;
    signals[count].stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
    info.signalSemaphoreInfoCount = count + 1;
    info.pSignalSemaphoreInfos = signals;
    return true;
}

VkResult make_timeline(const Object& queue, VkSemaphore& made) {
    VkSemaphoreTypeCreateInfo type{};
    type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    info.pNext = &type;
    return functions_of(queue).vkCreateSemaphore(device_handle(queue), &info, nullptr, &made);
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
    if (submits.empty() && fence == nullptr) return VK_SUCCESS;
    Info alone{};
    alone.sType = kSubmitInfoType<Info>;
    if (submits.empty()) submits = std::span(&alone, 1);
    auto* const ends = room_for<size_t>(call, submits.size());
    if (ends == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = VK_SUCCESS;
    for (size_t i = 0; result == VK_SUCCESS && i < submits.size(); ++i) {
        result = prepare(call, queue, const_cast<Info&>(submits[i]));
        ends[i] = call.ring.held.size();
    }
    if (result == VK_SUCCESS && fence != nullptr) {
        result = hold_fence(call, *fence);
        ends[submits.size() - 1] = call.ring.held.size();
    }
    if (result == VK_SUCCESS)
        result =
            submit_prepared(call, queue, submits, std::span(ends, submits.size()), fence, function);
    while (!call.ring.held.empty()) {  // it came to no submission
        Object* const object = call.ring.held.back();
        call.ring.held.pop_back();
        let_go(*object);
    }
    return result;
}

VkResult Session::hold_fence(Call& call, Object& fence) {
    auto& pending = fence.get<FenceData>().pending;
    // Drivers take it as the fence of the later one, and free it with the first.
    if (pending.exchange(true)) {
        let_go_of_finished_work(*fence.device, Unfinished::kKeep);
        if (pending.exchange(true)) {
            call.in.fail("The fence {:#x} is submitted twice.", fence.id);
            return VK_ERROR_UNKNOWN;
        }
    }
    if (table_.pin(fence.type, fence.id) == nullptr) {
        pending = false;
        call.in.fail("There is no fence {:#x} any more.", fence.id);
        return VK_ERROR_UNKNOWN;
    }
    call.ring.held.push_back(&fence);
    return VK_SUCCESS;
}

template <typename Info, typename Function>
VkResult Session::submit_prepared(Call& call, Object& queue, std::span<const Info> submits,
                                  std::span<const size_t> ends, Object* fence,
                                  Function DeviceFunctions::* function) {
    /// So many unfinished ones are looked through when another one is submitted.
    constexpr size_t kMany = 8;
    DeviceData& device = device_data(queue);
    auto& data = queue.get<QueueData>();
    std::vector<Object*>& held = call.ring.held;
    VkResult result = VK_SUCCESS;
    bool many = false;
    {
        const std::lock_guard lock(data.mutex);
        if (data.closed) return VK_ERROR_DEVICE_LOST;
        if (!data.pending.has_room_for(submits.size(), held.size()))
            return VK_ERROR_OUT_OF_HOST_MEMORY;
        if (data.done == VK_NULL_HANDLE) result = make_timeline(queue, data.done);
        if (result != VK_SUCCESS) return result;
        // Each batch says when it is done: a later one may wait for what the guest does after it
        // used again what an earlier one had.
        uint64_t value = data.submitted;
        for (const Info& info : submits)
            if (!add_signal(call, const_cast<Info&>(info), data.done, ++value))
                return VK_ERROR_OUT_OF_HOST_MEMORY;
        result = device.heard((device.vk.*function)(
            queue.as<VkQueue>(), static_cast<uint32_t>(submits.size()), submits.data(),
            fence != nullptr ? fence->as<VkFence>() : VK_NULL_HANDLE));
        if (result != VK_SUCCESS) return result;
        size_t begin = 0;
        for (const size_t end : ends) {
            data.pending.add(++data.submitted, std::span(held).subspan(begin, end - begin));
            begin = end;
        }
        held.clear();
        many = data.pending.batches() >= kMany;
    }
    if (many) let_go_of_finished(queue, Unfinished::kKeep);
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
    return wait_until_idle(queue, Clock::time_point::max(), &DeviceData::lost);
}

void Session::vkQueueWaitIdleAsyncGOOGLE(Call& call, Object& queue) {
    (void)vkQueueWaitIdle(call, queue);
}

VkResult Session::vkDeviceWaitIdle(Call&, Object& device) {
    return wait_until_device_is_idle(device, Clock::time_point::max(), &DeviceData::lost);
}

}  // namespace swede::gfxstream::vulkan
