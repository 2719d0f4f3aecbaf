// SPDX-License-Identifier: Apache-2.0
// Pipelines and their caches.
#include <optional>

#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {

/// Some of the pipelines may be there although the call failed, or although it only says that one
/// would have to be compiled (VK_PIPELINE_COMPILE_REQUIRED).
template <typename Info, typename Function>
VkResult Session::create_pipelines(Call& call, Object& device, Object* cache,
                                   std::span<const Info> infos, uint64_t* ids,
                                   Function DeviceFunctions::* function) {
    auto* const made = room_for<VkPipeline>(call, infos.size());
    if (made == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    for (size_t i = 0; i < infos.size(); ++i) ids[i] = 0;
    if (infos.empty()) return VK_SUCCESS;
    const auto count = static_cast<uint32_t>(infos.size());
    DeviceData& data = device_data(device);
    std::optional<DevicePipelineCache::Use> own;
    if (cache == nullptr) own.emplace(data.pipelines, data.vk, device.as<VkDevice>(), count);
    VkResult result = (data.vk.*function)(
        device.as<VkDevice>(), cache != nullptr ? cache->as<VkPipelineCache>() : own->handle(),
        count, infos.data(), nullptr, made);
    for (size_t i = 0; i < infos.size(); ++i) {
        if (made[i] == VK_NULL_HANDLE) continue;
        ids[i] = adopt(ObjectType::kPipeline, raw(made[i]), device, result);
    }
    return result;
}

VkResult Session::vkCreateGraphicsPipelines(Call& call, Object& device, Object* pipelineCache,
                                            uint32_t createInfoCount,
                                            const VkGraphicsPipelineCreateInfo* pCreateInfos,
                                            uint64_t* pPipelines) {
    return create_pipelines(call, device, pipelineCache, std::span(pCreateInfos, createInfoCount),
                            pPipelines, &DeviceFunctions::vkCreateGraphicsPipelines);
}

VkResult Session::vkCreateComputePipelines(Call& call, Object& device, Object* pipelineCache,
                                           uint32_t createInfoCount,
                                           const VkComputePipelineCreateInfo* pCreateInfos,
                                           uint64_t* pPipelines) {
    return create_pipelines(call, device, pipelineCache, std::span(pCreateInfos, createInfoCount),
                            pPipelines, &DeviceFunctions::vkCreateComputePipelines);
}

VkResult Session::vkCreatePipelineCache(Call&, Object& device,
                                        const VkPipelineCacheCreateInfo* pCreateInfo,
                                        uint64_t* pPipelineCache) {
    // Drivers check the header of a cache and trust the rest, binaries included: none comes from a
    // guest.
    VkPipelineCacheCreateInfo info = *pCreateInfo;
    info.pNext = nullptr;
    info.initialDataSize = 0;
    info.pInitialData = nullptr;
    VkPipelineCache made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreatePipelineCache(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pPipelineCache = adopt(ObjectType::kPipelineCache, raw(made), device, result);
    return result;
}

}  // namespace swede::gfxstream::vulkan
