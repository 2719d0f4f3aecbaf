// SPDX-License-Identifier: Apache-2.0
// Samplers. One that names a colour of its own for the border has to bring it.
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

/// A custom border colour without the structure that says which. Drivers rely on it (lavapipe of
/// Mesa 25.0.7 reads through null), and honest guests send this: the guest's drivers of Mesa 25.0.7
/// and 26.1.6 offer VK_EXT_custom_border_color and leave the whole chain out in
/// ResourceTracker::on_vkCreateSampler; 26.2.6 sends it. What was wanted is not known then;
/// transparent black is drawn.
void replace_missing_border_color(VkSamplerCreateInfo& info) {
    const auto* const color = find_in_chain<VkSamplerCustomBorderColorCreateInfoEXT>(
        info.pNext, VK_STRUCTURE_TYPE_SAMPLER_CUSTOM_BORDER_COLOR_CREATE_INFO_EXT);
    if (color != nullptr) return;
    if (info.borderColor == VK_BORDER_COLOR_FLOAT_CUSTOM_EXT)
        info.borderColor = VK_BORDER_COLOR_FLOAT_TRANSPARENT_BLACK;
    else if (info.borderColor == VK_BORDER_COLOR_INT_CUSTOM_EXT)
        info.borderColor = VK_BORDER_COLOR_INT_TRANSPARENT_BLACK;
}

}  // namespace

VkResult Session::vkCreateSampler(Call&, Object& device, const VkSamplerCreateInfo* pCreateInfo,
                                  uint64_t* pSampler) {
    VkSamplerCreateInfo info = *pCreateInfo;
    replace_missing_border_color(info);
    VkSampler made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateSampler(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pSampler = adopt(ObjectType::kSampler, raw(made), device, result);
    return result;
}

}  // namespace swede::gfxstream::vulkan
