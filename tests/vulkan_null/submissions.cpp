// SPDX-License-Identifier: Apache-2.0
// Recordings and submissions. A driver follows pointers to all that a recording names when it is
// submitted and until it is done, so that all of it is looked at at both times.
#include <chrono>
#include <mutex>
#include <span>
#include <thread>

#include "gfxstream/vulkan/chain.h"
#include "vulkan_null/null_driver.h"
#include "vulkan_null/objects.h"

namespace swede::vulkan_null {

using gfxstream::vulkan::find_in_chain;

namespace {

struct Signal {
    Base* semaphore = nullptr;
    uint64_t value = 0;
};

struct Submission {
    std::vector<Base*> commands;
    std::vector<Named> others;  ///< fences and semaphores
    std::vector<Signal> signals;
};

std::mutex submissions_mutex;
std::vector<Submission> submissions;  ///< the first `used`; the others keep their memory for them
size_t used = 0;
std::atomic<bool> held = false;

void look_at(const Named& named) {
    if (named.object->marker != Base::kAlive + static_cast<uint64_t>(named.type))
        broken("A recording names what has gone", named.type);
}

void look_at_recording(const Base* commands) {
    for (const Named& named : commands->named) {
        look_at(named);
        if (named.type == ObjectType::kCommandBuffer) look_at_recording(named.object);
    }
}

/// False: they are held.
bool finish() {
    if (held) return false;
    finish_all();
    return true;
}

void start_recording(VkCommandBuffer handle) {
    use(handle);
    Base* const commands = base_of(handle);
    if (commands->pending != 0)
        broken("A recording changes while a submission uses it", ObjectType::kCommandBuffer);
    commands->named.clear();
}

void add_commands(Submission& to, VkCommandBuffer handle) {
    Base* const commands = base_of(handle);
    look_at_recording(commands);
    ++commands->pending;
    to.commands.push_back(commands);
}

template <typename T>
void add_other(Submission& to, T handle) {
    if (handle == VK_NULL_HANDLE) return;
    Base* const object = base_of(handle);
    ++object->pending;
    to.others.push_back({object, kObjectTypeOf<T>});
}

void add_fence(Submission& to, VkFence fence) {
    if (fence != VK_NULL_HANDLE && base_of(fence)->pending != 0)
        broken("A fence is submitted twice", ObjectType::kFence);
    add_other(to, fence);
}

/// Drivers call functions that a binary one does not have.
void use_timeline(VkSemaphore semaphore) {
    use(semaphore);
    if (!base_of(semaphore)->timeline)
        broken("A semaphore without values is asked for its value", ObjectType::kSemaphore);
}

/// submissions_mutex is held.
Submission& new_submission() {
    if (used == submissions.size()) submissions.emplace_back();
    return submissions[used++];
}

}  // namespace

void finish_all() {
    const std::lock_guard lock(submissions_mutex);
    for (Submission& one : std::span(submissions).first(used)) {
        for (Base* const commands : one.commands) {
            look_at({commands, ObjectType::kCommandBuffer});
            look_at_recording(commands);
            --commands->pending;
        }
        for (const Named& other : one.others) {
            look_at(other);
            --other.object->pending;
        }
        for (const Signal& signal : one.signals) signal.semaphore->value = signal.value;
        one.commands.clear();
        one.others.clear();
        one.signals.clear();
    }
    used = 0;
}

void hold_submissions(bool hold) {
    held = hold;
}

VKAPI_ATTR VkResult VKAPI_CALL vkBeginCommandBuffer(VkCommandBuffer commandBuffer,
                                                    const VkCommandBufferBeginInfo* pBeginInfo) {
    start_recording(commandBuffer);
    recorded_into = nullptr;  // what is inherited is not executed
    touch(*pBeginInfo);
    return take_failure();
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetCommandBuffer(VkCommandBuffer commandBuffer,
                                                    VkCommandBufferResetFlags) {
    start_recording(commandBuffer);
    return take_failure();
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetCommandPool(VkDevice device, VkCommandPool commandPool,
                                                  VkCommandPoolResetFlags) {
    use(device);
    for (Base* const commands : base_of(commandPool)->buffers)
        start_recording(reinterpret_cast<VkCommandBuffer>(commands));
    return take_failure();
}

VKAPI_ATTR VkResult VKAPI_CALL vkQueueSubmit(VkQueue queue, uint32_t submitCount,
                                             const VkSubmitInfo* pSubmits, VkFence fence) {
    use(queue);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    const std::lock_guard lock(submissions_mutex);
    Submission& submission = new_submission();
    for (const VkSubmitInfo& info : std::span(pSubmits, submitCount)) {
        touch_chain(info.pNext);
        const auto* const timeline = find_in_chain<VkTimelineSemaphoreSubmitInfo>(
            info.pNext, VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO);
        for (uint32_t i = 0; i < info.commandBufferCount; ++i)
            add_commands(submission, info.pCommandBuffers[i]);
        for (uint32_t i = 0; i < info.waitSemaphoreCount; ++i)
            add_other(submission, info.pWaitSemaphores[i]);
        for (uint32_t i = 0; i < info.signalSemaphoreCount; ++i) {
            add_other(submission, info.pSignalSemaphores[i]);
            if (timeline != nullptr && timeline->signalSemaphoreValueCount != 0)
                submission.signals.push_back(
                    {base_of(info.pSignalSemaphores[i]), timeline->pSignalSemaphoreValues[i]});
        }
    }
    add_fence(submission, fence);
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkQueueSubmit2(VkQueue queue, uint32_t submitCount,
                                              const VkSubmitInfo2* pSubmits, VkFence fence) {
    use(queue);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    const std::lock_guard lock(submissions_mutex);
    Submission& submission = new_submission();
    for (const VkSubmitInfo2& info : std::span(pSubmits, submitCount)) {
        for (uint32_t i = 0; i < info.commandBufferInfoCount; ++i)
            add_commands(submission, info.pCommandBufferInfos[i].commandBuffer);
        for (uint32_t i = 0; i < info.waitSemaphoreInfoCount; ++i)
            add_other(submission, info.pWaitSemaphoreInfos[i].semaphore);
        for (uint32_t i = 0; i < info.signalSemaphoreInfoCount; ++i) {
            const VkSemaphoreSubmitInfo& signal = info.pSignalSemaphoreInfos[i];
            add_other(submission, signal.semaphore);
            submission.signals.push_back({base_of(signal.semaphore), signal.value});
        }
    }
    add_fence(submission, fence);
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkQueueWaitIdle(VkQueue queue) {
    use(queue);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    return finish() ? VK_SUCCESS : VK_ERROR_DEVICE_LOST;
}

VKAPI_ATTR VkResult VKAPI_CALL vkDeviceWaitIdle(VkDevice device) {
    use(device);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    return finish() ? VK_SUCCESS : VK_ERROR_DEVICE_LOST;
}

VKAPI_ATTR VkResult VKAPI_CALL vkWaitForFences(VkDevice device, uint32_t fenceCount,
                                               const VkFence* pFences, VkBool32, uint64_t timeout) {
    use(device);
    use_all(pFences, fenceCount);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    if (finish()) return VK_SUCCESS;
    std::this_thread::sleep_for(std::chrono::nanoseconds(timeout));
    return VK_TIMEOUT;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetFenceStatus(VkDevice device, VkFence fence) {
    use(device);
    use(fence);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    return finish() ? VK_SUCCESS : VK_NOT_READY;
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetFences(VkDevice device, uint32_t fenceCount,
                                             const VkFence* pFences) {
    use(device);
    for (uint32_t i = 0; i < fenceCount; ++i)
        if (base_of(pFences[i])->pending != 0)
            broken("A fence is reset while a submission uses it", ObjectType::kFence);
    return take_failure();
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateSemaphore(VkDevice device,
                                                 const VkSemaphoreCreateInfo* pCreateInfo,
                                                 const VkAllocationCallbacks*,
                                                 VkSemaphore* pSemaphore) {
    use(device);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    make(device, pSemaphore, 1);
    const auto* const type = find_in_chain<VkSemaphoreTypeCreateInfo>(
        pCreateInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
    base_of(*pSemaphore)->timeline =
        type != nullptr && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkSignalSemaphore(VkDevice device,
                                                 const VkSemaphoreSignalInfo* pSignalInfo) {
    use(device);
    use_timeline(pSignalInfo->semaphore);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    base_of(pSignalInfo->semaphore)->value = pSignalInfo->value;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkWaitSemaphores(VkDevice device,
                                                const VkSemaphoreWaitInfo* pWaitInfo, uint64_t) {
    use(device);
    for (uint32_t i = 0; i < pWaitInfo->semaphoreCount; ++i)
        use_timeline(pWaitInfo->pSemaphores[i]);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    return finish() ? VK_SUCCESS : VK_TIMEOUT;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetSemaphoreCounterValue(VkDevice device, VkSemaphore semaphore,
                                                          uint64_t* pValue) {
    use(device);
    use_timeline(semaphore);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    *pValue = base_of(semaphore)->value;
    return VK_SUCCESS;
}

}  // namespace swede::vulkan_null
