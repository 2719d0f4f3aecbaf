// SPDX-License-Identifier: Apache-2.0
// Makes samplers with border colours of their own, then works on: vk_border
#include "vk_lab.h"

using namespace swede::lab;

namespace {

constexpr std::array kExtensions{VK_EXT_CUSTOM_BORDER_COLOR_EXTENSION_NAME};

Sampler make(const Gpu& gpu, VkBorderColor color) {
    const VkSamplerCustomBorderColorCreateInfoEXT custom{
        .sType = VK_STRUCTURE_TYPE_SAMPLER_CUSTOM_BORDER_COLOR_CREATE_INFO_EXT,
        .customBorderColor = {.float32 = {0.25F, 0.5F, 0.75F, 1}},
        .format = VK_FORMAT_R8G8B8A8_UNORM};
    return {gpu.device(),
            VkSamplerCreateInfo{.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
                                .pNext = &custom,
                                .addressModeU = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER,
                                .addressModeV = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER,
                                .addressModeW = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_BORDER,
                                .borderColor = color}};
}

}  // namespace

int main() {
    VkPhysicalDeviceCustomBorderColorFeaturesEXT features{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_CUSTOM_BORDER_COLOR_FEATURES_EXT,
        .customBorderColors = VK_TRUE};
    const Gpu gpu({.extensions = {kExtensions.begin(), kExtensions.end()}, .next = &features});
    const Sampler floats = make(gpu, VK_BORDER_COLOR_FLOAT_CUSTOM_EXT);
    const Sampler integers = make(gpu, VK_BORDER_COLOR_INT_CUSTOM_EXT);
    gpu.run(full_barrier);
    say({{"program", "vk_border"}});
}
