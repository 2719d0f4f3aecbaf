// SPDX-License-Identifier: Apache-2.0
// Pipelines, their shaders and caches.
#include <mutex>
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

struct PipelineCacheData : ObjectData {
    std::mutex mutex;
    Budget::Charge charge;  ///< for what the driver keeps in it; guarded by mutex
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

/// False: `cache` is to be given no more. It has no size that we could ask for cheaply, and what
/// the driver finds in it is counted again.
bool Session::keep_in(Object& cache, uint64_t bytes) {
    auto& data = cache.get<PipelineCacheData>();
    const std::lock_guard lock(data.mutex);
    Budget::Charge charge;
    if (data.charge.amount() + bytes > cost::kMostCached || !pay(bytes, charge)) return false;
    data.charge.add(std::move(charge));
    return true;
}

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
    uint64_t price = 0;
    for (const Info& info : infos) {
        if (!has_subpass(call, info)) return VK_ERROR_UNKNOWN;
        data.push_back(std::make_unique<PipelineData>());
        if constexpr (std::is_same_v<Info, VkComputePipelineCreateInfo>)
            data.back()->point = VK_PIPELINE_BIND_POINT_COMPUTE;
        if (!pay(price_of(call, info), data.back()->charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
        price += price_of(call, info);
    }
    if (cache != nullptr && !keep_in(*cache, price / cost::kCachedPart)) cache = nullptr;
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
    *pPipelineCache = adopt(ObjectType::kPipelineCache, raw(made), device, result,
                            std::make_unique<PipelineCacheData>());
    return result;
}

VkResult Session::vkMergePipelineCaches(Call& call, Object& device, Object& dstCache,
                                        uint32_t srcCacheCount,
                                        std::span<Object* const> pSrcCaches) {
    const VkPipelineCache* const sources = handles_of<VkPipelineCache>(call, pSrcCaches);
    if (sources == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    uint64_t kept = 0;
    for (Object* const source : pSrcCaches) {
        if (source == &dstCache) {
            call.in.fail("The pipeline cache {:#x} is merged into itself.", dstCache.id);
            return VK_ERROR_UNKNOWN;
        }
        auto& data = source->get<PipelineCacheData>();
        const std::lock_guard lock(data.mutex);
        kept += data.charge.amount();
    }
    // What is not there is compiled when it is needed.
    if (!keep_in(dstCache, kept)) return VK_SUCCESS;
    DeviceData& parent = device_data(device);
    const std::lock_guard lock(parent.merging);
    return parent.vk.vkMergePipelineCaches(device.as<VkDevice>(), dstCache.as<VkPipelineCache>(),
                                           srcCacheCount, sources);
}

}  // namespace swede::gfxstream::vulkan
