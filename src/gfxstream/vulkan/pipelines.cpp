// SPDX-License-Identifier: Apache-2.0
// Pipelines, their shaders and caches.
#include <optional>
#include <span>
#include <type_traits>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/render_pass_data.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

struct PipelineData : ObjectData {
    VkPipelineBindPoint point = VK_PIPELINE_BIND_POINT_GRAPHICS;
    Budget::Charge charge;
};

struct ShaderModuleData : ObjectData {
    uint64_t code = 0;  ///< bytes
    Budget::Charge charge;
};

/// Bytes of a stage's code.
uint64_t code_of(const Call& call, const VkPipelineShaderStageCreateInfo& stage) {
    const Object* const module = call.ring.pins.find(ObjectType::kShaderModule, raw(stage.module));
    if (module != nullptr) return module->get<ShaderModuleData>().code;
    const auto* const own = find_in_chain<VkShaderModuleCreateInfo>(
        stage.pNext, VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
    return own != nullptr ? own->codeSize : 0;
}
uint64_t price_of(const Call& call, const VkGraphicsPipelineCreateInfo& info) {
    uint64_t code = 0;
    for (const VkPipelineShaderStageCreateInfo& stage : std::span(info.pStages, info.stageCount))
        code += code_of(call, stage);
    return cost::kPipeline + code * cost::kPipelineCode;
}
uint64_t price_of(const Call& call, const VkComputePipelineCreateInfo& info) {
    return cost::kPipeline + code_of(call, info.stage) * cost::kPipelineCode;
}

/// Drivers take the subpass as it comes.
bool has_subpass(Call& call, const VkGraphicsPipelineCreateInfo& info) {
    if (info.renderPass == VK_NULL_HANDLE) return true;
    const Object* const pass = call.ring.pins.find(ObjectType::kRenderPass, raw(info.renderPass));
    return (pass != nullptr && info.subpass < pass->get<RenderPassData>().subpasses) ||
           call.in.fail("A pipeline is for the subpass {}, which there is not.", info.subpass);
}
bool has_subpass(Call&, const VkComputePipelineCreateInfo&) {
    return true;
}

}  // namespace

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
    if (infos.size() > cost::kMostPipelines) return VK_ERROR_OUT_OF_HOST_MEMORY;
    std::vector<std::unique_ptr<PipelineData>> data;
    for (const Info& info : infos) {
        if (!has_subpass(call, info)) return VK_ERROR_UNKNOWN;
        data.push_back(std::make_unique<PipelineData>());
        if constexpr (std::is_same_v<Info, VkComputePipelineCreateInfo>)
            data.back()->point = VK_PIPELINE_BIND_POINT_COMPUTE;
        if (!pay(price_of(call, info), data.back()->charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    const auto count = static_cast<uint32_t>(infos.size());
    DeviceData& parent = device_data(device);
    std::optional<DevicePipelineCache::Use> own;
    if (cache == nullptr) own.emplace(parent.pipelines, parent.vk, device.as<VkDevice>(), count);
    VkResult result = (parent.vk.*function)(
        device.as<VkDevice>(), cache != nullptr ? cache->as<VkPipelineCache>() : own->handle(),
        count, infos.data(), nullptr, made);
    for (size_t i = 0; i < infos.size(); ++i) {
        if (made[i] == VK_NULL_HANDLE) continue;
        ids[i] = adopt(ObjectType::kPipeline, raw(made[i]), device, result, std::move(data[i]));
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

void Session::vkCmdBindPipeline(Call& call, Object& commandBuffer,
                                VkPipelineBindPoint pipelineBindPoint, Object& pipeline) {
    if (pipeline.get<PipelineData>().point != pipelineBindPoint) {
        call.in.fail("The pipeline {:#x} is bound as another kind.", pipeline.id);
        return;
    }
    functions_of(commandBuffer)
        .vkCmdBindPipeline(commandBuffer.as<VkCommandBuffer>(), pipelineBindPoint,
                           pipeline.as<VkPipeline>());
}

VkResult Session::vkCreateShaderModule(Call&, Object& device,
                                       const VkShaderModuleCreateInfo* pCreateInfo,
                                       uint64_t* pShaderModule) {
    auto data = std::make_unique<ShaderModuleData>();
    data->code = pCreateInfo->codeSize;
    // The code came in a packet, so that its size is no large number.
    if (!pay(pCreateInfo->codeSize * cost::kShaderCode, data->charge))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkShaderModule made = VK_NULL_HANDLE;
    VkResult result = functions_of(device).vkCreateShaderModule(device.as<VkDevice>(), pCreateInfo,
                                                                nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pShaderModule = adopt(ObjectType::kShaderModule, raw(made), device, result, std::move(data));
    return result;
}

VkResult Session::vkCreatePipelineCache(Call&, Object& device,
                                        const VkPipelineCacheCreateInfo* pCreateInfo,
                                        uint64_t* pPipelineCache) {
    // Drivers check the header of a cache and trust the rest, binaries included: none comes from a
    // guest.
    VkPipelineCacheCreateInfo info = *pCreateInfo;
    info.pNext = nullptr;
    info.flags = 0;  // a driver would not lock what rings use side by side
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
