// SPDX-License-Identifier: Apache-2.0
// Devices and their queues.
#include <algorithm>
#include <string_view>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

/// Structures that ask for what we do ourselves, or for what no guest gets.
bool is_ours(VkStructureType type) {
    return type == VK_STRUCTURE_TYPE_DEVICE_PRIVATE_DATA_CREATE_INFO ||
           type == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRIVATE_DATA_FEATURES ||
           type == VK_STRUCTURE_TYPE_DEVICE_GROUP_DEVICE_CREATE_INFO ||
           type == VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT;
}

bool asks_for_sparse(const VkPhysicalDeviceFeatures& features) {
    return (features.sparseBinding | features.sparseResidencyBuffer |
            features.sparseResidencyImage2D | features.sparseResidencyImage3D |
            features.sparseResidency2Samples | features.sparseResidency4Samples |
            features.sparseResidency8Samples | features.sparseResidency16Samples |
            features.sparseResidencyAliased) != VK_FALSE;
}

/// Refuses what the features that we report do not have, and takes out what the driver may not
/// have, but we.
bool accept_features(VkDeviceCreateInfo& info) {
    if (info.pEnabledFeatures != nullptr && asks_for_sparse(*info.pEnabledFeatures)) return false;
    if (const auto* const all = find_in_chain<VkPhysicalDeviceFeatures2>(
            info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
        all != nullptr && asks_for_sparse(all->features))
        return false;
    if (const auto* const core = find_in_chain<VkPhysicalDeviceVulkan11Features>(
            info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
        core != nullptr && core->protectedMemory != VK_FALSE)
        return false;
    if (const auto* const own = find_in_chain<VkPhysicalDeviceProtectedMemoryFeatures>(
            info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROTECTED_MEMORY_FEATURES);
        own != nullptr && own->protectedMemory != VK_FALSE)
        return false;
    if (auto* const core = find_in_chain<VkPhysicalDeviceVulkan13Features>(
            info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES))
        core->privateData = VK_FALSE;
    return true;
}

/// Queues count what they have done by a timeline semaphore, whether or not the guest uses these.
/// `own` is put into the chain where it has to be, and must stay.
void enable_timelines(VkDeviceCreateInfo& info, VkPhysicalDeviceTimelineSemaphoreFeatures& own) {
    auto* const core = find_in_chain<VkPhysicalDeviceVulkan12Features>(
        info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    auto* const theirs = find_in_chain<VkPhysicalDeviceTimelineSemaphoreFeatures>(
        info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES);
    if (core != nullptr) core->timelineSemaphore = VK_TRUE;
    if (theirs != nullptr) theirs->timelineSemaphore = VK_TRUE;
    if (core != nullptr || theirs != nullptr) return;
    own.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
    own.timelineSemaphore = VK_TRUE;
    push_to_chain(info, own);
}

/// Drivers trust what the specification forbids here.
bool accept_queues(const VkDeviceCreateInfo& info,
                   std::span<const VkQueueFamilyProperties> families) {
    const std::span all(info.pQueueCreateInfos, info.queueCreateInfoCount);
    if (all.empty()) return false;
    for (const VkDeviceQueueCreateInfo& queues : all) {
        if (queues.queueFamilyIndex >= families.size() || queues.queueCount == 0 ||
            queues.queueCount > families[queues.queueFamilyIndex].queueCount || queues.flags != 0)
            return false;
        const auto same_family = [&](const VkDeviceQueueCreateInfo& other) {
            return other.queueFamilyIndex == queues.queueFamilyIndex;
        };
        if (std::ranges::count_if(all, same_family) != 1) return false;
    }
    return true;
}

}  // namespace

VkResult Session::vkCreateDevice(Call& call, Object& physicalDevice,
                                 const VkDeviceCreateInfo* pCreateInfo, uint64_t* pDevice) {
    const InstanceFunctions& vk = functions_of_physical(physicalDevice);
    VkDeviceCreateInfo info = *pCreateInfo;
    info.flags = 0;
    info.enabledLayerCount = 0;
    info.ppEnabledLayerNames = nullptr;
    drop_from_chain(info, is_ours);
    if (!accept_queues(info, host_.queue_families())) return VK_ERROR_INITIALIZATION_FAILED;
    if (!accept_features(info)) return VK_ERROR_FEATURE_NOT_PRESENT;
    VkPhysicalDeviceTimelineSemaphoreFeatures timelines{};
    enable_timelines(info, timelines);

    const char** const names = room_for<const char*>(call, size_t{info.enabledExtensionCount} + 1);
    if (names == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    uint32_t count = 0;
    names[count++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    for (uint32_t i = 0; i < info.enabledExtensionCount; ++i) {
        const std::string_view name = info.ppEnabledExtensionNames[i];
        if (is_emulated_extension(name)) continue;
        const bool offered = std::ranges::any_of(
            host_.device_extensions(),
            [name](const auto& extension) { return name == extension.extensionName; });
        if (!offered) return VK_ERROR_EXTENSION_NOT_PRESENT;
        // VK_EXT_private_data is ours as well; a driver that has it does not mind.
        names[count++] = info.ppEnabledExtensionNames[i];
    }
    info.enabledExtensionCount = count;
    info.ppEnabledExtensionNames = names;

    std::unique_ptr<ObjectData> owned = std::make_unique<DeviceData>();
    auto& data = static_cast<DeviceData&>(*owned);
    if (!pay(cost::kDevice, data.charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkDevice made = nullptr;
    const VkResult result =
        vk.vkCreateDevice(physicalDevice.as<VkPhysicalDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    data.vk.load(vk.vkGetDeviceProcAddr, made);
    const auto destroy = data.vk.vkDestroyDevice;
    const Object* const added =
        table_.add(ObjectType::kDevice, raw(made), &physicalDevice, nullptr, std::move(owned));
    if (added == nullptr) {
        destroy(made, nullptr);
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    const uint64_t id = added->id;
    Object* const device = call.ring.pins.pin(ObjectType::kDevice, id);
    if (device == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (!add_queues(*device, std::span(info.pQueueCreateInfos, info.queueCreateInfoCount))) {
        table_.remove(id, ObjectType::kDevice);
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    *pDevice = id;
    return VK_SUCCESS;
}

bool Session::add_queues(Object& device, std::span<const VkDeviceQueueCreateInfo> families) {
    DeviceData& data = device_data(device);
    const std::lock_guard lock(data.queues_mutex);
    for (const VkDeviceQueueCreateInfo& family : families) {
        for (uint32_t index = 0; index < family.queueCount; ++index) {
            VkQueue queue = nullptr;
            data.vk.vkGetDeviceQueue(device.as<VkDevice>(), family.queueFamilyIndex, index, &queue);
            const Object* const added = table_.add(ObjectType::kQueue, raw(queue), &device, &device,
                                                   std::make_unique<QueueData>());
            if (added == nullptr) return false;
            data.queues.push_back({.family = family.queueFamilyIndex,
                                   .index = index,
                                   .flags = family.flags,
                                   .id = added->id});
        }
    }
    return true;
}

void Session::vkDestroyDevice(Call&, Object& device) {
    // Guests rely on us to wait (their driver does not), and may leave children behind.
    const VkResult result = close_device(device, Clock::time_point::max());
    // What runs is left to the end of the context.
    if (result == VK_TIMEOUT || must_return()) return;
    table_.remove(device.id, ObjectType::kDevice);
}

void Session::vkGetDeviceQueue(Call&, Object& device, uint32_t queueFamilyIndex,
                               uint32_t queueIndex, uint64_t* pQueue) {
    DeviceData& data = device_data(device);
    const std::lock_guard lock(data.queues_mutex);
    *pQueue = 0;
    for (const DeviceData::Queue& queue : data.queues)
        if (queue.family == queueFamilyIndex && queue.index == queueIndex && queue.flags == 0)
            *pQueue = queue.id;
}

void Session::vkGetDeviceQueue2(Call& call, Object& device, const VkDeviceQueueInfo2* pQueueInfo,
                                uint64_t* pQueue) {
    *pQueue = 0;  // queues with flags are never made
    if (pQueueInfo->flags == 0)
        vkGetDeviceQueue(call, device, pQueueInfo->queueFamilyIndex, pQueueInfo->queueIndex,
                         pQueue);
}

}  // namespace swede::gfxstream::vulkan
