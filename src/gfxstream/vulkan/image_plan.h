// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>

#include "gfxstream/vulkan/generated/dispatch.h"

namespace swede::gfxstream::vulkan {

class Host;

/// External handles that guests may have memory of: what their driver makes of virtio resources.
inline constexpr VkExternalMemoryHandleTypeFlags kGuestHandleTypes =
    VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT | VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
/// DRM_FORMAT_MOD_LINEAR (drm_fourcc.h): the only modifier that we offer, since rows are then where
/// the guest, scanout and other processes look for them.
inline constexpr uint64_t kLinearModifier = 0;

/// How a guest's image is made on the host. An image whose memory others see (handles of
/// kGuestHandleTypes, or tiling by modifier) is LINEAR on the host, since it comes to lie in a
/// colour buffer; one that may lie in imported memory says so to the driver.
struct ImagePlan {
    VkImageCreateInfo info{};  ///< what vkCreateImage takes, but for `external`
    VkExternalMemoryImageCreateInfo external{};
    bool shared = false;      ///< others see its memory
    bool importable = false;  ///< it may lie in imported memory: `external` is to be in the chain
    bool explicit_rows = false;
    uint64_t row_pitch = 0;  ///< bytes, when explicit_rows: what the guest's importer expects

    /// Puts `external` into the chain; afterwards `info` must not move.
    [[nodiscard]] const VkImageCreateInfo* create_info();
};

/// `guest` lies in the packet's arena; its chain is changed. Fails with the driver's answer when
/// the image cannot be had.
[[nodiscard]] VkResult plan_image(const Host& host, const InstanceFunctions& vk,
                                  VkPhysicalDevice physical, const VkImageCreateInfo& guest,
                                  ImagePlan& plan);

/// What plan_image() makes of the tiling of an image that others see.
[[nodiscard]] bool has_linear(const InstanceFunctions& vk, VkPhysicalDevice physical,
                              const VkImageCreateInfo& info);

}  // namespace swede::gfxstream::vulkan
