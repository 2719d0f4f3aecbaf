// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/image_plan.h"

#include <algorithm>
#include <bit>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/host.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr VkImageCreateFlags kRefusedFlags =
    VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT |
    VK_IMAGE_CREATE_SPARSE_ALIASED_BIT | VK_IMAGE_CREATE_PROTECTED_BIT;

bool is_ours(VkStructureType type) {
    return type == VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO ||
           type == VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT ||
           type == VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT;
}

/// True when the driver lets such an image lie in memory that is imported by pointer.
bool can_import(const InstanceFunctions& vk, VkPhysicalDevice physical,
                const VkImageCreateInfo& info) {
    VkPhysicalDeviceExternalImageFormatInfo external{};
    external.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO;
    external.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    VkPhysicalDeviceImageFormatInfo2 question{};
    question.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2;
    question.pNext = &external;
    question.format = info.format;
    question.type = info.imageType;
    question.tiling = info.tiling;
    question.usage = info.usage;
    question.flags = info.flags;
    VkExternalImageFormatProperties answer{};
    answer.sType = VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES;
    VkImageFormatProperties2 limits{};
    limits.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2;
    limits.pNext = &answer;
    return vk.vkGetPhysicalDeviceImageFormatProperties2(physical, &question, &limits) ==
               VK_SUCCESS &&
           (answer.externalMemoryProperties.externalMemoryFeatures &
            VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) != 0;
}

}  // namespace

namespace {

/// Drivers make such an image without looking how large it may be, and keep arrays for what their
/// limits allow.
VkResult look_at_limits(const InstanceFunctions& vk, VkPhysicalDevice physical,
                        const VkImageCreateInfo& info, VkImageTiling tiling) {
    VkImageFormatProperties limits{};
    const VkResult result = vk.vkGetPhysicalDeviceImageFormatProperties(
        physical, info.format, info.imageType, tiling, info.usage, info.flags, &limits);
    if (result != VK_SUCCESS) return result;
    const auto fits = [](uint32_t number, uint32_t most) { return number != 0 && number <= most; };
    // Down to a level of one texel.
    const auto whole_chain = static_cast<uint32_t>(
        std::bit_width(std::max({info.extent.width, info.extent.height, info.extent.depth})));
    return fits(info.extent.width, limits.maxExtent.width) &&
                   fits(info.extent.height, limits.maxExtent.height) &&
                   fits(info.extent.depth, limits.maxExtent.depth) &&
                   fits(info.mipLevels, std::min(limits.maxMipLevels, whole_chain)) &&
                   fits(info.arrayLayers, limits.maxArrayLayers) &&
                   std::has_single_bit(static_cast<uint32_t>(info.samples)) &&
                   (info.samples & limits.sampleCounts) != 0
               ? VK_SUCCESS
               : VK_ERROR_FORMAT_NOT_SUPPORTED;
}

}  // namespace

bool has_linear(const InstanceFunctions& vk, VkPhysicalDevice physical,
                const VkImageCreateInfo& info) {
    return look_at_limits(vk, physical, info, VK_IMAGE_TILING_LINEAR) == VK_SUCCESS;
}

const VkImageCreateInfo* ImagePlan::create_info() {
    if (importable) {
        external.pNext = info.pNext;
        info.pNext = &external;
    }
    return &info;
}

VkResult plan_image(const Host& host, const InstanceFunctions& vk, VkPhysicalDevice physical,
                    const VkImageCreateInfo& guest, ImagePlan& plan) {
    plan.info = guest;
    VkImageCreateInfo& info = plan.info;
    if ((info.flags & kRefusedFlags) != 0) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const auto* const external = find_in_chain<VkExternalMemoryImageCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO);
    const auto* const rows = find_in_chain<VkImageDrmFormatModifierExplicitCreateInfoEXT>(
        info.pNext, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT);
    const auto* const modifiers = find_in_chain<VkImageDrmFormatModifierListCreateInfoEXT>(
        info.pNext, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT);
    plan.shared = external != nullptr && (external->handleTypes & kGuestHandleTypes) != 0;
    drop_from_chain(info, is_ours);

    if (info.tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT) {
        bool linear = rows != nullptr && rows->drmFormatModifier == kLinearModifier;
        if (rows != nullptr && rows->drmFormatModifierPlaneCount == 1 &&
            rows->pPlaneLayouts != nullptr) {
            plan.explicit_rows = true;
            plan.row_pitch = rows->pPlaneLayouts[0].rowPitch;
        }
        for (uint32_t i = 0; modifiers != nullptr && i < modifiers->drmFormatModifierCount; ++i)
            linear |= modifiers->pDrmFormatModifiers[i] == kLinearModifier;
        if (!linear) return VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT;
        plan.shared = true;
        info.tiling = VK_IMAGE_TILING_LINEAR;
    } else if (plan.shared && info.tiling == VK_IMAGE_TILING_OPTIMAL &&
               has_linear(vk, physical, info)) {
        info.tiling = VK_IMAGE_TILING_LINEAR;
    }
    const VkResult possible = look_at_limits(vk, physical, info, info.tiling);
    // vkCreateImage() knows fewer failures.
    if (possible != VK_SUCCESS)
        return possible == VK_ERROR_FORMAT_NOT_SUPPORTED ? VK_ERROR_OUT_OF_DEVICE_MEMORY : possible;

    // An OPTIMAL image on a GPU is better off in the GPU's memory, where it may be compressed; it
    // is then kept out of types that the guest maps (Session::restrict_types).
    const MemoryTypes& memory = host.memory();
    const uint32_t all =
        memory.guest.memoryTypeCount < 32 ? (1U << memory.guest.memoryTypeCount) - 1 : UINT32_MAX;
    if (info.tiling == VK_IMAGE_TILING_LINEAR || plan.shared || (all & ~memory.importable) == 0)
        plan.importable = can_import(vk, physical, info);
    if (plan.importable) {
        plan.external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO;
        plan.external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
        // Vulkan has no other first layout for images with external memory.
        info.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
    }
    return VK_SUCCESS;
}

}  // namespace swede::gfxstream::vulkan
