// SPDX-License-Identifier: Apache-2.0
// Formats, and which memory and synchronisation guests may share. The modifier LINEAR and file
// handles are emulated: see image_plan.h, and Mesa 25.0.7's ResourceTracker.cpp for the other side.
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/image_plan.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

/// Lists LINEAR where the format has LINEAR images, in either version of the structure.
template <typename List, typename Features>
void list_linear(List* list, Features features, decltype(List::pDrmFormatModifierProperties) to) {
    if (list == nullptr) return;
    const uint32_t room = list->drmFormatModifierCount;
    list->drmFormatModifierCount = features != 0 ? 1 : 0;
    if (to == nullptr || features == 0) return;
    if (room == 0) {
        list->drmFormatModifierCount = 0;
        return;
    }
    *to = {};
    to->drmFormatModifier = kLinearModifier;
    to->drmFormatModifierPlaneCount = 1;
    to->drmFormatModifierTilingFeatures = features;
}

/// Formats whose planes could lie apart: the guest's driver knows one plane only.
bool has_planes(VkFormat format) {
    return format >= VK_FORMAT_G8B8G8R8_422_UNORM &&
           format <= VK_FORMAT_G16_B16_R16_3PLANE_444_UNORM;
}

VkExternalMemoryProperties shared_memory(VkExternalMemoryHandleTypeFlagBits type) {
    // The guest's driver makes one resource for each dedicated image or buffer.
    return {.externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT |
                                      VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT |
                                      VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
            .exportFromImportedHandleTypes = static_cast<VkExternalMemoryHandleTypeFlags>(type),
            .compatibleHandleTypes = static_cast<VkExternalMemoryHandleTypeFlags>(type)};
}

bool is_external(VkStructureType type) {
    return type == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO ||
           type == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT;
}

}  // namespace

void Session::vkGetPhysicalDeviceFormatProperties2(Call&, Object& physicalDevice, VkFormat format,
                                                   VkFormatProperties2* pFormatProperties) {
    const Detached<VkDrmFormatModifierPropertiesListEXT> list(
        *pFormatProperties, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT);
    const Detached<VkDrmFormatModifierPropertiesList2EXT> list2(
        *pFormatProperties, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_2_EXT);
    functions_of_physical(physicalDevice)
        .vkGetPhysicalDeviceFormatProperties2(physicalDevice.as<VkPhysicalDevice>(), format,
                                              pFormatProperties);
    const VkFormatFeatureFlags features =
        has_planes(format) ? 0 : pFormatProperties->formatProperties.linearTilingFeatures;
    const auto* const wide = find_in_chain<VkFormatProperties3>(
        pFormatProperties->pNext, VK_STRUCTURE_TYPE_FORMAT_PROPERTIES_3);
    list_linear(list.get(), features, list ? list->pDrmFormatModifierProperties : nullptr);
    list_linear(list2.get(),
                features != 0 && wide != nullptr ? wide->linearTilingFeatures
                                                 : VkFormatFeatureFlags2{features},
                list2 ? list2->pDrmFormatModifierProperties : nullptr);
}

VkResult Session::vkGetPhysicalDeviceImageFormatProperties2(
    Call&, Object& physicalDevice, const VkPhysicalDeviceImageFormatInfo2* pImageFormatInfo,
    VkImageFormatProperties2* pImageFormatProperties) {
    const InstanceFunctions& vk = functions_of_physical(physicalDevice);
    const auto physical = physicalDevice.as<VkPhysicalDevice>();
    VkPhysicalDeviceImageFormatInfo2 info = *pImageFormatInfo;
    const auto* const external = find_in_chain<VkPhysicalDeviceExternalImageFormatInfo>(
        info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO);
    const auto* const modifier = find_in_chain<VkPhysicalDeviceImageDrmFormatModifierInfoEXT>(
        info.pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT);
    const VkExternalMemoryHandleTypeFlagBits handles =
        external != nullptr ? external->handleType : VkExternalMemoryHandleTypeFlagBits{};
    const bool shared = handles != 0;
    drop_from_chain(info, is_external);

    const Detached<VkExternalImageFormatProperties> answer(
        *pImageFormatProperties, VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES);
    if (answer) answer->externalMemoryProperties = {};
    if (shared && (handles & kGuestHandleTypes) == 0) return VK_ERROR_FORMAT_NOT_SUPPORTED;
    if (info.tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT) {
        if (modifier == nullptr || modifier->drmFormatModifier != kLinearModifier ||
            has_planes(info.format))
            return VK_ERROR_FORMAT_NOT_SUPPORTED;
        info.tiling = VK_IMAGE_TILING_LINEAR;
    } else if (shared && info.tiling == VK_IMAGE_TILING_OPTIMAL) {
        // As plan_image() does, so that limits are those of the image that will be made.
        VkImageFormatProperties limits{};
        if (vk.vkGetPhysicalDeviceImageFormatProperties(physical, info.format, info.type,
                                                        VK_IMAGE_TILING_LINEAR, info.usage,
                                                        info.flags, &limits) == VK_SUCCESS)
            info.tiling = VK_IMAGE_TILING_LINEAR;
        else if (handles == VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT)
            return VK_ERROR_FORMAT_NOT_SUPPORTED;
    }
    const VkResult result =
        vk.vkGetPhysicalDeviceImageFormatProperties2(physical, &info, pImageFormatProperties);
    if (result == VK_SUCCESS && shared && answer)
        answer->externalMemoryProperties = shared_memory(handles);
    return result;
}

void Session::vkGetPhysicalDeviceExternalBufferProperties(
    Call&, Object&, const VkPhysicalDeviceExternalBufferInfo* pExternalBufferInfo,
    VkExternalBufferProperties* pExternalBufferProperties) {
    const bool offered = (pExternalBufferInfo->handleType & kGuestHandleTypes) != 0;
    pExternalBufferProperties->externalMemoryProperties =
        offered ? shared_memory(pExternalBufferInfo->handleType) : VkExternalMemoryProperties{};
}

void Session::vkGetPhysicalDeviceExternalFenceProperties(
    Call&, Object&, const VkPhysicalDeviceExternalFenceInfo* pExternalFenceInfo,
    VkExternalFenceProperties* pExternalFenceProperties) {
    // The guest's driver makes sync files of virtio fences.
    const bool offered =
        pExternalFenceInfo->handleType == VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT;
    const VkExternalFenceHandleTypeFlags types =
        offered ? VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT : 0;
    pExternalFenceProperties->exportFromImportedHandleTypes = types;
    pExternalFenceProperties->compatibleHandleTypes = types;
    pExternalFenceProperties->externalFenceFeatures =
        offered
            ? VK_EXTERNAL_FENCE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_FENCE_FEATURE_IMPORTABLE_BIT
            : 0;
}

void Session::vkGetPhysicalDeviceExternalSemaphoreProperties(
    Call&, Object&, const VkPhysicalDeviceExternalSemaphoreInfo* pExternalSemaphoreInfo,
    VkExternalSemaphoreProperties* pExternalSemaphoreProperties) {
    const auto* const type = find_in_chain<VkSemaphoreTypeCreateInfo>(
        pExternalSemaphoreInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
    const bool offered =
        pExternalSemaphoreInfo->handleType == VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT &&
        (type == nullptr || type->semaphoreType == VK_SEMAPHORE_TYPE_BINARY);
    const VkExternalSemaphoreHandleTypeFlags types =
        offered ? VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT : 0;
    pExternalSemaphoreProperties->exportFromImportedHandleTypes = types;
    pExternalSemaphoreProperties->compatibleHandleTypes = types;
    pExternalSemaphoreProperties->externalSemaphoreFeatures =
        offered ? VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT |
                      VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT
                : 0;
}

}  // namespace swede::gfxstream::vulkan
