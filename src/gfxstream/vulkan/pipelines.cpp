// SPDX-License-Identifier: Apache-2.0
// Pipelines, their shaders and caches.
#include <algorithm>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

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
    // Guarded by mutex:
    uint64_t kept = 0;      ///< bytes that the driver keeps in it, by our estimate
    Budget::Charge charge;  ///< for them
    uint64_t measured = 0;  ///< `kept` when the driver was last asked
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

/// False: the driver is not to fill `cache`. What it finds there is counted once more, so that when
/// a cache seems full the driver is asked, which may take it long, how large it is.
bool Session::keep_in(Object& cache, uint64_t bytes) {
    auto& data = cache.get<PipelineCacheData>();
    const std::lock_guard lock(data.mutex);
    if (data.kept + bytes > cost::kMostCached &&
        data.kept >= data.measured + cost::kMostCached / 8) {
        size_t size = 0;
        if (functions_of(cache).vkGetPipelineCacheData(
                device_handle(cache), cache.as<VkPipelineCache>(), &size, nullptr) == VK_SUCCESS) {
            const uint64_t real = std::min<uint64_t>(data.kept, size * cost::kCachedBytes);
            data.charge.reduce(data.kept - real);
            data.kept = real;
        }
        data.measured = data.kept;
    }
    Budget::Charge charge;
    if (data.kept + bytes > cost::kMostCached || !pay(bytes, charge)) return false;
    data.kept += bytes;
    data.charge.add(std::move(charge));
    return true;
}

void Session::take_out_of(Object& cache, uint64_t bytes) {
    auto& data = cache.get<PipelineCacheData>();
    const std::lock_guard lock(data.mutex);
    bytes = std::min(bytes, data.kept);
    data.charge.reduce(bytes);
    data.kept -= bytes;
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
    const uint64_t kept = price / cost::kCachedPart;
    if (cache != nullptr && !keep_in(*cache, kept)) cache = nullptr;
    DeviceData& parent = device_data(device);
    std::optional<DevicePipelineCache::Use> own;
    if (Budget::Charge charge; cache == nullptr && pay(kept, charge))
        own.emplace(parent.pipelines, parent.vk, device.as<VkDevice>(), kept, std::move(charge));
    VkPipelineCache used = VK_NULL_HANDLE;
    if (cache != nullptr)
        used = cache->as<VkPipelineCache>();
    else if (own)
        used = own->handle();
    VkResult result =
        (parent.vk.*function)(device.as<VkDevice>(), used, static_cast<uint32_t>(infos.size()),
                              infos.data(), nullptr, made);
    // Of what failed otherwise, some stages may have been compiled.
    if (cache != nullptr && result == VK_PIPELINE_COMPILE_REQUIRED &&
        std::ranges::all_of(std::span(made, infos.size()),
                            [](VkPipeline pipeline) { return pipeline == VK_NULL_HANDLE; }))
        take_out_of(*cache, kept);
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
    std::vector<PipelineCacheData*> from;
    for (Object* const source : pSrcCaches) {
        if (source == &dstCache) {
            call.in.fail("The pipeline cache {:#x} is merged into itself.", dstCache.id);
            return VK_ERROR_UNKNOWN;
        }
        from.push_back(&source->get<PipelineCacheData>());
    }
    std::ranges::sort(from);
    const auto twice = std::ranges::unique(from);
    from.erase(twice.begin(), twice.end());
    DeviceData& parent = device_data(device);
    const std::lock_guard merging(parent.merging);
    // Nothing is put into them, for it is paid for before, between our count and the driver's.
    std::vector<std::unique_lock<std::mutex>> locks;
    uint64_t kept = 0;
    for (PipelineCacheData* const data : from) {
        locks.emplace_back(data->mutex);
        kept += data->kept;
    }
    // What is not there is compiled when it is needed.
    if (!keep_in(dstCache, kept)) return VK_SUCCESS;
    return parent.vk.vkMergePipelineCaches(device.as<VkDevice>(), dstCache.as<VkPipelineCache>(),
                                           srcCacheCount, sources);
}

}  // namespace swede::gfxstream::vulkan
