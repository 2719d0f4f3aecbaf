// SPDX-License-Identifier: Apache-2.0
// Layouts of descriptor sets and of pipelines, and sets that are bound by them.
#include <algorithm>
#include <numeric>
#include <span>

#include "base/checked.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/descriptor_data.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr uint32_t kMostPushRanges = 32;  // MESA_VK_MAX_PUSH_CONSTANT_RANGES
constexpr uint32_t kMostPushBytes = 256;

bool is_dynamic(VkDescriptorType type) {
    return type == VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC ||
           type == VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC;
}

DescriptorCounts counts_of(const VkDescriptorSetLayoutCreateInfo& info) {
    const auto* const flags = find_in_chain<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
    DescriptorCounts counts;
    uint64_t dynamic = 0;
    for (uint32_t i = 0; i < info.bindingCount; ++i) {
        const VkDescriptorSetLayoutBinding& binding = info.pBindings[i];
        counts.all += binding.descriptorCount;
        if (is_dynamic(binding.descriptorType)) dynamic += binding.descriptorCount;
        if (flags != nullptr && i < flags->bindingCount &&
            (flags->pBindingFlags[i] & VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT) != 0)
            counts.variable = std::max(counts.variable, binding.descriptorCount);
    }
    counts.dynamic = static_cast<uint32_t>(std::min<uint64_t>(dynamic, cost::kMostDescriptors));
    return counts;
}

}  // namespace

VkResult Session::vkCreateDescriptorSetLayout(Call& call, Object& device,
                                              const VkDescriptorSetLayoutCreateInfo* pCreateInfo,
                                              uint64_t* pSetLayout) {
    auto data = std::make_unique<SetLayoutData>(table_);
    data->counts = counts_of(*pCreateInfo);
    if (data->counts.all > cost::kMostDescriptors) return VK_ERROR_OUT_OF_HOST_MEMORY;
    const auto* const flags = find_in_chain<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
        pCreateInfo->pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
    auto bindings =
        SetBindings::of({pCreateInfo->pBindings, pCreateInfo->bindingCount},
                        flags != nullptr ? std::span(flags->pBindingFlags, flags->bindingCount)
                                         : std::span<const VkDescriptorBindingFlags>());
    if (!bindings) {
        call.in.fail("Two bindings of a descriptor set's layout have one number.");
        return VK_ERROR_UNKNOWN;
    }
    data->bindings = std::make_shared<const SetBindings>(*std::move(bindings));
    uint64_t places = 0;  // drivers have one for each number
    uint64_t samplers = 0;
    for (const VkDescriptorSetLayoutBinding& binding :
         std::span(pCreateInfo->pBindings, pCreateInfo->bindingCount)) {
        places = std::max<uint64_t>(places, uint64_t{binding.binding} + 1);
        if (binding.pImmutableSamplers == nullptr) continue;
        samplers += binding.descriptorCount;
        if (samplers > cost::kMostImmutableSamplers) return VK_ERROR_OUT_OF_HOST_MEMORY;
        for (const VkSampler sampler :
             std::span(binding.pImmutableSamplers, binding.descriptorCount))
            if (sampler != VK_NULL_HANDLE &&
                !hold(call, ObjectType::kSampler, raw(sampler), data->samplers))
                return VK_ERROR_UNKNOWN;
    }
    if (!pay(places * cost::kBinding + samplers * cost::kDescriptor, data->charge))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkDescriptorSetLayout made = VK_NULL_HANDLE;
    VkResult result = functions_of(device).vkCreateDescriptorSetLayout(device.as<VkDevice>(),
                                                                       pCreateInfo, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pSetLayout =
        adopt(ObjectType::kDescriptorSetLayout, raw(made), device, result, std::move(data));
    return result;
}

VkResult Session::vkCreatePipelineLayout(Call& call, Object& device,
                                         const VkPipelineLayoutCreateInfo* pCreateInfo,
                                         uint64_t* pPipelineLayout) {
    const std::span sets(pCreateInfo->pSetLayouts, pCreateInfo->setLayoutCount);
    const std::span ranges(pCreateInfo->pPushConstantRanges, pCreateInfo->pushConstantRangeCount);
    const bool ranges_fit = std::ranges::all_of(ranges, [](const VkPushConstantRange& range) {
        return range_fits(range.offset, range.size, kMostPushBytes);
    });
    if (sets.size() > host_.limits().maxBoundDescriptorSets || ranges.size() > kMostPushRanges ||
        !ranges_fit) {
        call.in.fail("A pipeline layout has {} sets and {} ranges, more than the device.",
                     sets.size(), ranges.size());
        return VK_ERROR_UNKNOWN;
    }
    auto data = std::make_unique<PipelineLayoutData>();
    for (const VkDescriptorSetLayout set : sets) {
        const Object* const layout =
            call.ring.pins.find(ObjectType::kDescriptorSetLayout, raw(set));
        data->dynamic.push_back(layout != nullptr ? layout->get<SetLayoutData>().counts.dynamic
                                                  : 0);
    }
    VkPipelineLayout made = VK_NULL_HANDLE;
    VkResult result = functions_of(device).vkCreatePipelineLayout(device.as<VkDevice>(),
                                                                  pCreateInfo, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pPipelineLayout =
        adopt(ObjectType::kPipelineLayout, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkDestroyPipelineLayout(Call& call, Object& device, Object* pipelineLayout) {
    if (pipelineLayout == nullptr) return;
    if (pipelineLayout->get<PipelineLayoutData>().destroyed.exchange(true)) {
        call.in.fail("The pipeline layout {:#x} is destroyed twice.", pipelineLayout->id);
        return;
    }
    DeviceData& data = device_data(device);
    uint64_t oldest = 0;
    {
        const std::lock_guard lock(data.layouts_mutex);
        data.destroyed_layouts.push_back(pipelineLayout->id);
        if (data.destroyed_layouts.size() > cost::kMostDestroyedLayouts) {
            oldest = data.destroyed_layouts.front();
            data.destroyed_layouts.pop_front();
        }
    }
    if (oldest != 0) table_.remove(oldest, ObjectType::kPipelineLayout);
}

void Session::vkCmdBindDescriptorSets(Call& call, Object& commandBuffer,
                                      VkPipelineBindPoint pipelineBindPoint, Object& layout,
                                      uint32_t firstSet, uint32_t descriptorSetCount,
                                      std::span<Object* const> pDescriptorSets,
                                      uint32_t dynamicOffsetCount,
                                      const uint32_t* pDynamicOffsets) {
    const std::span<const uint32_t> dynamic = layout.get<PipelineLayoutData>().dynamic;
    bool agree = range_fits(firstSet, descriptorSetCount, dynamic.size());
    uint64_t offsets = 0;
    for (uint32_t i = 0; agree && i < descriptorSetCount; ++i) {
        offsets += dynamic[firstSet + i];
        // No extension is offered that allows a set to be null.
        agree = pDescriptorSets[i] != nullptr &&
                pDescriptorSets[i]->get<DescriptorSetData>().dynamic == dynamic[firstSet + i];
    }
    if (!agree || offsets != dynamicOffsetCount) {
        call.in.fail("{} sets from {} on, with {} offsets, do not fit their layout.",
                     descriptorSetCount, firstSet, dynamicOffsetCount);
        return;
    }
    const VkDescriptorSet* const sets = handles_of<VkDescriptorSet>(call, pDescriptorSets);
    if (sets == nullptr || descriptorSetCount == 0) return;
    functions_of(commandBuffer)
        .vkCmdBindDescriptorSets(commandBuffer.as<VkCommandBuffer>(), pipelineBindPoint,
                                 layout.as<VkPipelineLayout>(), firstSet, descriptorSetCount, sets,
                                 dynamicOffsetCount, pDynamicOffsets);
}

}  // namespace swede::gfxstream::vulkan
