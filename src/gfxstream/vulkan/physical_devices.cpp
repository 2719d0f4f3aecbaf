// SPDX-License-Identifier: Apache-2.0
// What a physical device says of itself: the host's answers, without what guests cannot have.
#include <algorithm>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

/// A memory object of the guest is a file and a mapping of ours.
constexpr uint32_t kMaxAllocations = 4096;  // the least that Vulkan allows

void restrict_features(VkPhysicalDeviceFeatures& features) {
    features.sparseBinding = VK_FALSE;
    features.sparseResidencyBuffer = VK_FALSE;
    features.sparseResidencyImage2D = VK_FALSE;
    features.sparseResidencyImage3D = VK_FALSE;
    features.sparseResidency2Samples = VK_FALSE;
    features.sparseResidency4Samples = VK_FALSE;
    features.sparseResidency8Samples = VK_FALSE;
    features.sparseResidency16Samples = VK_FALSE;
    features.sparseResidencyAliased = VK_FALSE;
}

template <typename T>
T* find(const void* next, VkStructureType type) {
    return find_in_chain<T>(next, type);
}

void restrict_feature_chain(void* next) {
    if (auto* const core = find<VkPhysicalDeviceVulkan11Features>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES))
        core->protectedMemory = VK_FALSE;
    if (auto* const own = find<VkPhysicalDeviceProtectedMemoryFeatures>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROTECTED_MEMORY_FEATURES))
        own->protectedMemory = VK_FALSE;
    // Imported memory has no address to replay; nor would the guest's tools meet the same device.
    if (auto* const core = find<VkPhysicalDeviceVulkan12Features>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES)) {
        core->bufferDeviceAddressCaptureReplay = VK_FALSE;
        core->bufferDeviceAddressMultiDevice = VK_FALSE;
    }
    if (auto* const own = find<VkPhysicalDeviceBufferDeviceAddressFeatures>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES)) {
        own->bufferDeviceAddressCaptureReplay = VK_FALSE;
        own->bufferDeviceAddressMultiDevice = VK_FALSE;
    }
    // Private data is ours (private_data.cpp), whatever the driver has.
    if (auto* const core = find<VkPhysicalDeviceVulkan13Features>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES))
        core->privateData = VK_TRUE;
    if (auto* const own = find<VkPhysicalDevicePrivateDataFeatures>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PRIVATE_DATA_FEATURES))
        own->privateData = VK_TRUE;
}

void restrict_properties(const Host& host, VkPhysicalDeviceProperties& properties) {
    properties.apiVersion = host.device_version();
    properties.limits.maxMemoryAllocationCount =
        std::min(properties.limits.maxMemoryAllocationCount, kMaxAllocations);
    properties.limits.sparseAddressSpaceSize = 0;
    properties.sparseProperties = {};
}

/// Bytes that one context may hold; heaps look no larger, so that programs plan for it.
uint64_t memory_limit(const std::shared_ptr<Budget>& budget) {
    return budget != nullptr ? budget->limit(BudgetKind::kHostBytes) : UINT64_MAX;
}

void limit_heaps(VkPhysicalDeviceMemoryProperties& properties, uint64_t limit) {
    for (uint32_t i = 0; i < properties.memoryHeapCount; ++i)
        properties.memoryHeaps[i].size = std::min(properties.memoryHeaps[i].size, limit);
}

}  // namespace

void Session::vkGetPhysicalDeviceFeatures(Call&, Object& physicalDevice,
                                          VkPhysicalDeviceFeatures* pFeatures) {
    functions_of_physical(physicalDevice)
        .vkGetPhysicalDeviceFeatures(physicalDevice.as<VkPhysicalDevice>(), pFeatures);
    restrict_features(*pFeatures);
}

void Session::vkGetPhysicalDeviceFeatures2(Call&, Object& physicalDevice,
                                           VkPhysicalDeviceFeatures2* pFeatures) {
    functions_of_physical(physicalDevice)
        .vkGetPhysicalDeviceFeatures2(physicalDevice.as<VkPhysicalDevice>(), pFeatures);
    restrict_features(pFeatures->features);
    restrict_feature_chain(pFeatures->pNext);
}

void Session::vkGetPhysicalDeviceProperties(Call&, Object& physicalDevice,
                                            VkPhysicalDeviceProperties* pProperties) {
    functions_of_physical(physicalDevice)
        .vkGetPhysicalDeviceProperties(physicalDevice.as<VkPhysicalDevice>(), pProperties);
    restrict_properties(host_, *pProperties);
}

void Session::vkGetPhysicalDeviceProperties2(Call&, Object& physicalDevice,
                                             VkPhysicalDeviceProperties2* pProperties) {
    functions_of_physical(physicalDevice)
        .vkGetPhysicalDeviceProperties2(physicalDevice.as<VkPhysicalDevice>(), pProperties);
    restrict_properties(host_, pProperties->properties);
    const uint64_t limit = memory_limit(services_.budget());
    if (auto* const core = find<VkPhysicalDeviceVulkan11Properties>(
            pProperties->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)) {
        core->maxMemoryAllocationSize = std::min(core->maxMemoryAllocationSize, limit);
        core->protectedNoFault = VK_FALSE;
    }
    if (auto* const own = find<VkPhysicalDeviceMaintenance3Properties>(
            pProperties->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES))
        own->maxMemoryAllocationSize = std::min(own->maxMemoryAllocationSize, limit);
}

void Session::vkGetPhysicalDeviceMemoryProperties(
    Call&, Object&, VkPhysicalDeviceMemoryProperties* pMemoryProperties) {
    *pMemoryProperties = host_.memory().guest;
    limit_heaps(*pMemoryProperties, memory_limit(services_.budget()));
}

void Session::vkGetPhysicalDeviceMemoryProperties2(
    Call&, Object& physicalDevice, VkPhysicalDeviceMemoryProperties2* pMemoryProperties) {
    functions_of_physical(physicalDevice)
        .vkGetPhysicalDeviceMemoryProperties2(physicalDevice.as<VkPhysicalDevice>(),
                                              pMemoryProperties);
    VkPhysicalDeviceMemoryProperties& properties = pMemoryProperties->memoryProperties;
    const std::shared_ptr<Budget>& budget = services_.budget();
    const uint64_t limit = memory_limit(budget);
    properties = host_.memory().guest;
    limit_heaps(properties, limit);
    if (auto* const heaps = find<VkPhysicalDeviceMemoryBudgetPropertiesEXT>(
            pMemoryProperties->pNext,
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)) {
        const uint64_t used = budget != nullptr ? budget->used(BudgetKind::kHostBytes) : 0;
        for (uint32_t i = 0; i < properties.memoryHeapCount; ++i) {
            heaps->heapUsage[i] = used;
            heaps->heapBudget[i] = std::min(heaps->heapBudget[i], properties.memoryHeaps[i].size);
        }
    }
}

void Session::vkGetPhysicalDeviceQueueFamilyProperties(
    Call& call, Object&, uint32_t* pQueueFamilyPropertyCount,
    VkQueueFamilyProperties* pQueueFamilyProperties) {
    (void)enumerate(call, host_.queue_families(), pQueueFamilyPropertyCount,
                    pQueueFamilyProperties);
}

void Session::vkGetPhysicalDeviceQueueFamilyProperties2(
    Call& call, Object& physicalDevice, uint32_t* pQueueFamilyPropertyCount,
    VkQueueFamilyProperties2* pQueueFamilyProperties) {
    if (pQueueFamilyPropertyCount != nullptr && pQueueFamilyProperties != nullptr) {
        functions_of_physical(physicalDevice)
            .vkGetPhysicalDeviceQueueFamilyProperties2(physicalDevice.as<VkPhysicalDevice>(),
                                                       pQueueFamilyPropertyCount,
                                                       pQueueFamilyProperties);
    }
    (void)enumerate(call, host_.queue_families(), pQueueFamilyPropertyCount, pQueueFamilyProperties,
                    [](VkQueueFamilyProperties2& to, const VkQueueFamilyProperties& from) {
                        to.queueFamilyProperties = from;
                    });
}

VkResult Session::vkGetPhysicalDeviceToolProperties(
    Call& call, Object&, uint32_t* pToolCount, VkPhysicalDeviceToolProperties* pToolProperties) {
    return enumerate<VkPhysicalDeviceToolProperties>(call, {}, pToolCount, pToolProperties);
}

}  // namespace swede::gfxstream::vulkan
