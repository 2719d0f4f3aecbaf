// SPDX-License-Identifier: Apache-2.0
// What a host takes decisions by: limits, memory, queues, formats; and objects that own others.
#include "vulkan_null/null_driver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/generated/layouts.h"
#include "vulkan_null/objects.h"

namespace swede::vulkan_null {

using gfxstream::vulkan::find_in_chain;

namespace {

constexpr uint32_t kQueues = 2;
constexpr uint64_t kHeapSize = uint64_t{1} << 32;
constexpr VkDeviceSize kPageSize = 4096;
constexpr VkMemoryRequirements kRequirements{.size = 65536, .alignment = 256, .memoryTypeBits = 3};
constexpr VkSubresourceLayout kRows{
    .offset = 0, .size = 65536, .rowPitch = 1024, .arrayPitch = 65536, .depthPitch = 65536};
constexpr VkFormatProperties kFormat{.linearTilingFeatures = 0x7fff'ffff,
                                     .optimalTilingFeatures = 0x7fff'ffff,
                                     .bufferFeatures = 0x7fff'ffff};
constexpr VkImageFormatProperties kImageFormat{.maxExtent = {16384, 16384, 2048},
                                               .maxMipLevels = 15,
                                               .maxArrayLayers = 2048,
                                               .sampleCounts = 0x7f,
                                               .maxResourceSize = kHeapSize};
constexpr VkQueueFamilyProperties kFamily{
    .queueFlags = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT,
    .queueCount = kQueues,
    .timestampValidBits = 64,
    .minImageTransferGranularity = {1, 1, 1}};

std::atomic<uint64_t> live = 0;

std::atomic<int64_t> calls_to_failure = 0;  ///< 0: none is wanted
std::atomic<VkResult> wanted_failure = VK_SUCCESS;

void count_queue_families(uint32_t* count, const void* to) {
    *count = to != nullptr ? std::min(*count, 1U) : 1;
}

/// Reads the memory that the caller said is there.
void touch_imported(const Base& memory) {
    if (memory.imported == nullptr) return;
    (void)memory.imported[0];
    (void)memory.imported[memory.size - 1];
}

}  // namespace

void broken(const char* what, ObjectType type) {
    std::fprintf(stderr, "runtime error: null driver: %s (%s).\n", what,
                 gfxstream::vulkan::name_of(type));
    std::abort();
}

Base* new_object(ObjectType type, Base* owner) {
    auto* const object = new Base;
    object->marker = Base::kAlive + static_cast<uint64_t>(type);
    object->owner = owner;
    if (owner != nullptr) ++owner->children;
    ++live;
    return object;
}

void free_object(Base* object, ObjectType type) {
    if (object->children != 0) broken("An object goes before its children", type);
    if (object->pending != 0) broken("An object goes while a submission uses it", type);
    for (Base* const one : object->owned) free_object(one, type);
    if (object->owner != nullptr) --object->owner->children;
    object->marker = Base::kDead;
    delete object;
    --live;
}

void fail_after(uint32_t calls, VkResult failure) {
    wanted_failure = failure;
    calls_to_failure = failure == VK_SUCCESS ? 0 : int64_t{calls} + 1;
}

VkResult take_failure() {
    if (calls_to_failure == 0 || --calls_to_failure != 0) return VK_SUCCESS;
    if (wanted_failure == VK_ERROR_DEVICE_LOST) finish_all();  // nothing of it is in use
    return wanted_failure;
}

uint64_t live_objects() {
    return live;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_proc_addr(VkInstance instance, const char* name) {
    touch(instance);
    const std::span all(kFunctions, kFunctionCount);
    const auto found =
        std::ranges::lower_bound(all, std::string_view(name), {},
                                 [](const Function& one) { return std::string_view(one.name); });
    return found != all.end() && std::string_view(found->name) == name ? found->function : nullptr;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetDeviceProcAddr(VkDevice device, const char* pName) {
    use(device);
    return get_proc_addr(nullptr, pName);
}

// --- instances and what they say -----------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkEnumerateInstanceVersion(uint32_t* pApiVersion) {
    *pApiVersion = VK_API_VERSION_1_3;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateInstance(const VkInstanceCreateInfo*,
                                                const VkAllocationCallbacks*,
                                                VkInstance* pInstance) {
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    Base* const instance = new_object(ObjectType::kInstance, nullptr);
    instance->owned.push_back(new_object(ObjectType::kPhysicalDevice, nullptr));
    *pInstance = reinterpret_cast<VkInstance>(instance);
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyInstance(VkInstance instance, const VkAllocationCallbacks*) {
    destroy(instance);
}

VKAPI_ATTR VkResult VKAPI_CALL vkEnumeratePhysicalDevices(VkInstance instance,
                                                          uint32_t* pPhysicalDeviceCount,
                                                          VkPhysicalDevice* pPhysicalDevices) {
    use(instance);
    if (pPhysicalDevices != nullptr && *pPhysicalDeviceCount != 0)
        *pPhysicalDevices = reinterpret_cast<VkPhysicalDevice>(base_of(instance)->owned.front());
    *pPhysicalDeviceCount = 1;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL
vkEnumerateDeviceExtensionProperties(VkPhysicalDevice physicalDevice, const char*,
                                     uint32_t* pPropertyCount, VkExtensionProperties* pProperties) {
    use(physicalDevice);
    std::vector<std::string_view> names(std::begin(gfxstream::vulkan::kKnownDeviceExtensions),
                                        std::end(gfxstream::vulkan::kKnownDeviceExtensions));
    constexpr std::string_view kHostMemory = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    if (std::ranges::find(names, kHostMemory) == names.end()) names.push_back(kHostMemory);
    if (pProperties == nullptr) {
        *pPropertyCount = static_cast<uint32_t>(names.size());
        return VK_SUCCESS;
    }
    *pPropertyCount = std::min(*pPropertyCount, static_cast<uint32_t>(names.size()));
    for (uint32_t i = 0; i < *pPropertyCount; ++i) {
        pProperties[i] = {};
        names[i].copy(pProperties[i].extensionName, VK_MAX_EXTENSION_NAME_SIZE - 1);
        pProperties[i].specVersion = 1;
    }
    return *pPropertyCount == names.size() ? VK_SUCCESS : VK_INCOMPLETE;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceProperties(VkPhysicalDevice physicalDevice,
                                                         VkPhysicalDeviceProperties* pProperties) {
    use(physicalDevice);
    *pProperties = {};
    pProperties->apiVersion = VK_API_VERSION_1_3;
    pProperties->deviceType = VK_PHYSICAL_DEVICE_TYPE_CPU;
    std::strcpy(pProperties->deviceName, "null");
    VkPhysicalDeviceLimits& limits = pProperties->limits;
    limits.maxImageDimension1D = limits.maxImageDimension2D = 16384;
    limits.maxImageDimension3D = limits.maxImageArrayLayers = 2048;
    limits.maxFramebufferWidth = limits.maxFramebufferHeight = 16384;
    limits.maxFramebufferLayers = 2048;
    limits.maxMemoryAllocationCount = 1 << 20;
    limits.maxBoundDescriptorSets = 8;
    limits.nonCoherentAtomSize = 64;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceProperties2(
    VkPhysicalDevice physicalDevice, VkPhysicalDeviceProperties2* pProperties) {
    clear_chain(pProperties->pNext);
    vkGetPhysicalDeviceProperties(physicalDevice, &pProperties->properties);
    const void* const next = pProperties->pNext;
    if (auto* const ids = find_in_chain<VkPhysicalDeviceIDProperties>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES))
        std::ranges::fill(ids->deviceUUID, uint8_t{0x4e});
    if (auto* const memory = find_in_chain<VkPhysicalDeviceExternalMemoryHostPropertiesEXT>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT))
        memory->minImportedHostPointerAlignment = kPageSize;
    if (auto* const limits = find_in_chain<VkPhysicalDeviceMaintenance3Properties>(
            next, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES))
        limits->maxMemoryAllocationSize = kHeapSize;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties(
    VkPhysicalDevice physicalDevice, VkPhysicalDeviceMemoryProperties* pMemoryProperties) {
    use(physicalDevice);
    *pMemoryProperties = {};
    pMemoryProperties->memoryTypeCount = 2;
    pMemoryProperties->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                      VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
                                                      VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    pMemoryProperties->memoryTypes[1].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    pMemoryProperties->memoryHeapCount = 1;
    pMemoryProperties->memoryHeaps[0] = {kHeapSize, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice physicalDevice, VkPhysicalDeviceMemoryProperties2* pMemoryProperties) {
    clear_chain(pMemoryProperties->pNext);
    vkGetPhysicalDeviceMemoryProperties(physicalDevice, &pMemoryProperties->memoryProperties);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties(
    VkPhysicalDevice physicalDevice, uint32_t* pQueueFamilyPropertyCount,
    VkQueueFamilyProperties* pQueueFamilyProperties) {
    use(physicalDevice);
    count_queue_families(pQueueFamilyPropertyCount, pQueueFamilyProperties);
    if (pQueueFamilyProperties != nullptr && *pQueueFamilyPropertyCount != 0)
        *pQueueFamilyProperties = kFamily;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceQueueFamilyProperties2(
    VkPhysicalDevice physicalDevice, uint32_t* pQueueFamilyPropertyCount,
    VkQueueFamilyProperties2* pQueueFamilyProperties) {
    use(physicalDevice);
    count_queue_families(pQueueFamilyPropertyCount, pQueueFamilyProperties);
    if (pQueueFamilyProperties == nullptr || *pQueueFamilyPropertyCount == 0) return;
    clear_chain(pQueueFamilyProperties->pNext);
    pQueueFamilyProperties->queueFamilyProperties = kFamily;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFormatProperties(
    VkPhysicalDevice physicalDevice, VkFormat, VkFormatProperties* pFormatProperties) {
    use(physicalDevice);
    *pFormatProperties = kFormat;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFormatProperties2(
    VkPhysicalDevice physicalDevice, VkFormat, VkFormatProperties2* pFormatProperties) {
    use(physicalDevice);
    clear_chain(pFormatProperties->pNext);
    pFormatProperties->formatProperties = kFormat;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceImageFormatProperties(
    VkPhysicalDevice physicalDevice, VkFormat, VkImageType, VkImageTiling, VkImageUsageFlags,
    VkImageCreateFlags, VkImageFormatProperties* pImageFormatProperties) {
    use(physicalDevice);
    *pImageFormatProperties = kImageFormat;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetPhysicalDeviceImageFormatProperties2(
    VkPhysicalDevice physicalDevice, const VkPhysicalDeviceImageFormatInfo2* pImageFormatInfo,
    VkImageFormatProperties2* pImageFormatProperties) {
    use(physicalDevice);
    touch_chain(pImageFormatInfo->pNext);
    clear_chain(pImageFormatProperties->pNext);
    pImageFormatProperties->imageFormatProperties = kImageFormat;
    if (auto* const external = find_in_chain<VkExternalImageFormatProperties>(
            pImageFormatProperties->pNext, VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES))
        external->externalMemoryProperties.externalMemoryFeatures =
            VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceExternalBufferProperties(
    VkPhysicalDevice physicalDevice, const VkPhysicalDeviceExternalBufferInfo*,
    VkExternalBufferProperties* pExternalBufferProperties) {
    use(physicalDevice);
    pExternalBufferProperties->externalMemoryProperties = {
        .externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
        .exportFromImportedHandleTypes = 0,
        .compatibleHandleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT};
}

// --- devices and queues --------------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkCreateDevice(VkPhysicalDevice physicalDevice,
                                              const VkDeviceCreateInfo* pCreateInfo,
                                              const VkAllocationCallbacks*, VkDevice* pDevice) {
    touch_chain(pCreateInfo->pNext);
    for (uint32_t i = 0; i < pCreateInfo->enabledExtensionCount; ++i)
        (void)std::string_view(pCreateInfo->ppEnabledExtensionNames[i]).size();
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    make(physicalDevice, pDevice, 1);
    for (uint32_t i = 0; i < kQueues; ++i)
        base_of(*pDevice)->owned.push_back(new_object(ObjectType::kQueue, nullptr));
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkDestroyDevice(VkDevice device, const VkAllocationCallbacks*) {
    destroy(device);
}

VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue(VkDevice device, uint32_t queueFamilyIndex,
                                            uint32_t queueIndex, VkQueue* pQueue) {
    use(device);
    if (queueFamilyIndex != 0 || queueIndex >= kQueues)
        broken("There is no such queue", ObjectType::kQueue);
    *pQueue = reinterpret_cast<VkQueue>(base_of(device)->owned[queueIndex]);
}

VKAPI_ATTR void VKAPI_CALL vkGetDeviceQueue2(VkDevice device, const VkDeviceQueueInfo2* pQueueInfo,
                                             VkQueue* pQueue) {
    vkGetDeviceQueue(device, pQueueInfo->queueFamilyIndex, pQueueInfo->queueIndex, pQueue);
}

// --- memory and what lies in it ------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL vkAllocateMemory(VkDevice device,
                                                const VkMemoryAllocateInfo* pAllocateInfo,
                                                const VkAllocationCallbacks*,
                                                VkDeviceMemory* pMemory) {
    use(device);
    touch_chain(pAllocateInfo->pNext);
    if (pAllocateInfo->memoryTypeIndex >= 2 || pAllocateInfo->allocationSize == 0)
        broken("There is no such memory", ObjectType::kDeviceMemory);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    make(device, pMemory, 1);
    Base* const memory = base_of(*pMemory);
    memory->size = pAllocateInfo->allocationSize;
    if (const auto* const pointer = find_in_chain<VkImportMemoryHostPointerInfoEXT>(
            pAllocateInfo->pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT)) {
        memory->imported = static_cast<std::byte*>(pointer->pHostPointer);
        if (memory->size % kPageSize != 0 ||
            reinterpret_cast<uintptr_t>(pointer->pHostPointer) % kPageSize != 0)
            broken("Imported memory is not whole pages", ObjectType::kDeviceMemory);
    }
    touch_imported(*memory);
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkFreeMemory(VkDevice device, VkDeviceMemory memory,
                                        const VkAllocationCallbacks*) {
    use(device);
    if (memory != VK_NULL_HANDLE) touch_imported(*base_of(memory));
    destroy(memory);
}

VKAPI_ATTR VkResult VKAPI_CALL vkMapMemory(VkDevice device, VkDeviceMemory memory, VkDeviceSize,
                                           VkDeviceSize, VkMemoryMapFlags, void**) {
    use(device);
    use(memory);
    return VK_ERROR_MEMORY_MAP_FAILED;
}

VKAPI_ATTR VkResult VKAPI_CALL vkGetMemoryHostPointerPropertiesEXT(
    VkDevice device, VkExternalMemoryHandleTypeFlagBits, const void*,
    VkMemoryHostPointerPropertiesEXT* pMemoryHostPointerProperties) {
    use(device);
    pMemoryHostPointerProperties->memoryTypeBits = 1;
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkGetBufferMemoryRequirements(VkDevice device, VkBuffer buffer,
                                                         VkMemoryRequirements* pRequirements) {
    use(device);
    use(buffer);
    *pRequirements = kRequirements;
}
VKAPI_ATTR void VKAPI_CALL
vkGetBufferMemoryRequirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* pInfo,
                               VkMemoryRequirements2* pRequirements) {
    clear_chain(pRequirements->pNext);
    vkGetBufferMemoryRequirements(device, pInfo->buffer, &pRequirements->memoryRequirements);
}
VKAPI_ATTR void VKAPI_CALL vkGetImageMemoryRequirements(VkDevice device, VkImage image,
                                                        VkMemoryRequirements* pRequirements) {
    use(device);
    use(image);
    *pRequirements = kRequirements;
}
VKAPI_ATTR void VKAPI_CALL
vkGetImageMemoryRequirements2(VkDevice device, const VkImageMemoryRequirementsInfo2* pInfo,
                              VkMemoryRequirements2* pRequirements) {
    touch_chain(pInfo->pNext);
    clear_chain(pRequirements->pNext);
    vkGetImageMemoryRequirements(device, pInfo->image, &pRequirements->memoryRequirements);
}
VKAPI_ATTR void VKAPI_CALL
vkGetDeviceBufferMemoryRequirements(VkDevice device, const VkDeviceBufferMemoryRequirements*,
                                    VkMemoryRequirements2* pRequirements) {
    use(device);
    clear_chain(pRequirements->pNext);
    pRequirements->memoryRequirements = kRequirements;
}
VKAPI_ATTR void VKAPI_CALL vkGetDeviceImageMemoryRequirements(
    VkDevice device, const VkDeviceImageMemoryRequirements*, VkMemoryRequirements2* pRequirements) {
    use(device);
    clear_chain(pRequirements->pNext);
    pRequirements->memoryRequirements = kRequirements;
}
VKAPI_ATTR void VKAPI_CALL vkGetImageSubresourceLayout(VkDevice device, VkImage image,
                                                       const VkImageSubresource*,
                                                       VkSubresourceLayout* pLayout) {
    use(device);
    use(image);
    *pLayout = kRows;
}
VKAPI_ATTR void VKAPI_CALL vkGetImageSubresourceLayout2(VkDevice device, VkImage image,
                                                        const VkImageSubresource2*,
                                                        VkSubresourceLayout2* pLayout) {
    clear_chain(pLayout->pNext);
    vkGetImageSubresourceLayout(device, image, nullptr, &pLayout->subresourceLayout);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreateQueryPool(VkDevice device,
                                                 const VkQueryPoolCreateInfo* pCreateInfo,
                                                 const VkAllocationCallbacks*,
                                                 VkQueryPool* pQueryPool) {
    use(device);
    if (pCreateInfo->queryType == VK_QUERY_TYPE_PIPELINE_STATISTICS &&
        pCreateInfo->pipelineStatistics > 0x7ff)
        broken("There is no such statistic", ObjectType::kQueryPool);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    make(device, pQueryPool, 1);
    base_of(*pQueryPool)->size = pCreateInfo->queryCount;
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkResetQueryPool(VkDevice device, VkQueryPool queryPool,
                                            uint32_t firstQuery, uint32_t queryCount) {
    use(device);
    use(queryPool);
    if (uint64_t{firstQuery} + queryCount > base_of(queryPool)->size)
        broken("Queries are reset that are not there", ObjectType::kQueryPool);
}

VKAPI_ATTR VkResult VKAPI_CALL vkCreatePipelineCache(VkDevice device,
                                                     const VkPipelineCacheCreateInfo* pCreateInfo,
                                                     const VkAllocationCallbacks*,
                                                     VkPipelineCache* pPipelineCache) {
    use(device);
    if (pCreateInfo->flags != 0 || pCreateInfo->initialDataSize != 0)
        broken("A cache is made as a guest wants it", ObjectType::kPipelineCache);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    make(device, pPipelineCache, 1);
    return VK_SUCCESS;
}

// --- what comes from pools -----------------------------------------------------------------------

VKAPI_ATTR VkResult VKAPI_CALL
vkAllocateCommandBuffers(VkDevice device, const VkCommandBufferAllocateInfo* pAllocateInfo,
                         VkCommandBuffer* pCommandBuffers) {
    use(device);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    make(pAllocateInfo->commandPool, pCommandBuffers, pAllocateInfo->commandBufferCount);
    for (uint32_t i = 0; i < pAllocateInfo->commandBufferCount; ++i)
        base_of(pAllocateInfo->commandPool)->buffers.insert(base_of(pCommandBuffers[i]));
    return VK_SUCCESS;
}

VKAPI_ATTR void VKAPI_CALL vkFreeCommandBuffers(VkDevice device, VkCommandPool commandPool,
                                                uint32_t commandBufferCount,
                                                const VkCommandBuffer* pCommandBuffers) {
    use(device);
    use(commandPool);
    for (uint32_t i = 0; i < commandBufferCount; ++i) {
        base_of(commandPool)->buffers.erase(base_of(pCommandBuffers[i]));
        destroy(pCommandBuffers[i]);
    }
}

VKAPI_ATTR VkResult VKAPI_CALL
vkAllocateDescriptorSets(VkDevice device, const VkDescriptorSetAllocateInfo* pAllocateInfo,
                         VkDescriptorSet* pDescriptorSets) {
    use(device);
    touch(*pAllocateInfo);
    if (const VkResult failure = take_failure(); failure != VK_SUCCESS) return failure;
    Base* const pool = base_of(pAllocateInfo->descriptorPool);
    for (uint32_t i = 0; i < pAllocateInfo->descriptorSetCount; ++i) {
        pool->owned.push_back(new_object(ObjectType::kDescriptorSet, nullptr));
        pDescriptorSets[i] = reinterpret_cast<VkDescriptorSet>(pool->owned.back());
    }
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkFreeDescriptorSets(VkDevice device,
                                                    VkDescriptorPool descriptorPool,
                                                    uint32_t descriptorSetCount,
                                                    const VkDescriptorSet* pDescriptorSets) {
    use(device);
    Base* const pool = base_of(descriptorPool);
    for (uint32_t i = 0; i < descriptorSetCount; ++i) {
        Base* const set = base_of(pDescriptorSets[i]);
        if (std::erase(pool->owned, set) != 1)
            broken("A set is not of its pool", ObjectType::kDescriptorSet);
        free_object(set, ObjectType::kDescriptorSet);
    }
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL vkResetDescriptorPool(VkDevice device,
                                                     VkDescriptorPool descriptorPool,
                                                     VkDescriptorPoolResetFlags) {
    use(device);
    Base* const pool = base_of(descriptorPool);
    for (Base* const set : pool->owned) free_object(set, ObjectType::kDescriptorSet);
    pool->owned.clear();
    return VK_SUCCESS;
}

}  // namespace swede::vulkan_null
