// SPDX-License-Identifier: Apache-2.0
// Descriptor pools and sets, and updates by template, which guests send as lists (Mesa 25.0.7,
// ResourceTracker.cpp on_vkUpdateDescriptorSetWithTemplate).
#include <algorithm>
#include <cstring>
#include <vector>

#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/descriptor_data.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

struct TemplateData : ObjectData {
    std::vector<VkDescriptorUpdateTemplateEntry> entries;
    Budget::Charge charge;
};

enum class Payload : uint8_t { kImage, kBuffer, kTexelBuffer, kInline, kNone };

Payload payload_of(VkDescriptorType type) {
    switch (type) {
        case VK_DESCRIPTOR_TYPE_SAMPLER:
        case VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER:
        case VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE:
        case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE:
        case VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT:
            return Payload::kImage;
        case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
        case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
        case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
        case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
            return Payload::kBuffer;
        case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
        case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
            return Payload::kTexelBuffer;
        case VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK:
            return Payload::kInline;
        default:
            return Payload::kNone;
    }
}

/// The writes that an update is made of. Runs of equal entry indices fill one entry's array.
class Writes {
  public:
    Writes(Call& call, const Object& set, const TemplateData& data, VkWriteDescriptorSet* writes)
        : call_(call), set_(set), data_(data), writes_(writes) {}

    /// `point(write, first)` sets the write's array to start at element `first`. False: failed.
    template <typename Point>
    bool add(Payload payload, const uint32_t* indices, uint32_t count, Point&& point) {
        for (uint32_t first = 0; first < count;) {
            uint32_t end = first + 1;
            while (end < count && indices[end] == indices[first]) ++end;
            const uint32_t index = indices[first];
            if (index >= data_.entries.size())
                return call_.in.fail("Entry {} of a template with {} is updated.", index,
                                     data_.entries.size());
            const VkDescriptorUpdateTemplateEntry& entry = data_.entries[index];
            if (payload_of(entry.descriptorType) != payload || end - first > entry.descriptorCount)
                return call_.in.fail(
                    "Entry {} of a template is updated with what it does not hold.", index);
            VkWriteDescriptorSet* const write = next(entry, end - first);
            if (write == nullptr) return false;
            point(*write, first);
            if (!check_samplers(call_.in, set_, *write)) return false;
            first = end;
        }
        return true;
    }

    /// Null: the set has no room for it, and the context is lost.
    VkWriteDescriptorSet* next(const VkDescriptorUpdateTemplateEntry& entry, uint32_t count) {
        VkWriteDescriptorSet& write = writes_[used_++];
        write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
        write.dstSet = set_.as<VkDescriptorSet>();
        write.dstBinding = entry.dstBinding;
        write.dstArrayElement = entry.dstArrayElement;
        write.descriptorCount = count;
        write.descriptorType = entry.descriptorType;
        return check_write(call_.in, &set_, write) ? &write : nullptr;
    }
    [[nodiscard]] uint32_t used() const { return used_; }

  private:
    Call& call_;
    const Object& set_;
    const TemplateData& data_;
    VkWriteDescriptorSet* writes_;
    uint32_t used_ = 0;
};

}  // namespace

VkResult Session::vkCreateDescriptorPool(Call&, Object& device,
                                         const VkDescriptorPoolCreateInfo* pCreateInfo,
                                         uint64_t* pDescriptorPool) {
    auto data = std::make_unique<DescriptorPoolData>();
    data->frees_sets =
        (pCreateInfo->flags & VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT) != 0;
    data->most_sets = pCreateInfo->maxSets;
    uint64_t bytes = data->most_sets * cost::kDescriptorSet;
    for (const VkDescriptorPoolSize& size :
         std::span(pCreateInfo->pPoolSizes, pCreateInfo->poolSizeCount)) {
        data->most_descriptors += size.descriptorCount;
        const bool counts_bytes = size.type == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
        bytes += size.descriptorCount * (counts_bytes ? 1 : cost::kDescriptor);
    }
    // A driver may take the memory for a whole pool at once.
    if (data->most_sets > cost::kMostSets || data->most_descriptors > cost::kMostDescriptors ||
        !pay(bytes, data->charge))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkDescriptorPool made = VK_NULL_HANDLE;
    VkResult result = functions_of(device).vkCreateDescriptorPool(device.as<VkDevice>(),
                                                                  pCreateInfo, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pDescriptorPool =
        adopt(ObjectType::kDescriptorPool, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkDestroyDescriptorPool(Call&, Object&, Object* descriptorPool) {
    if (descriptorPool != nullptr) table_.remove(descriptorPool->id, descriptorPool->type);
}

VkResult Session::vkResetDescriptorPool(Call&, Object& device, Object& descriptorPool,
                                        VkDescriptorPoolResetFlags flags) {
    auto& data = descriptorPool.get<DescriptorPoolData>();
    const auto are_gone = [&] {
        table_.remove_children(descriptorPool);
        return data.sets == 0;
    };
    std::unique_lock lock(data.mutex, std::defer_lock);
    for (;;) {
        // Sets that were submitted are there until that is done.
        if (!wait_for_work(device, are_gone)) return VK_ERROR_DEVICE_LOST;
        lock.lock();
        if (data.sets == 0) break;  // another ring counts its sets before it takes the mutex
        lock.unlock();
    }
    data.lost_sets = data.lost_descriptors = 0;
    return functions_of(device).vkResetDescriptorPool(device.as<VkDevice>(),
                                                      descriptorPool.as<VkDescriptorPool>(), flags);
}

VkResult Session::vkAllocateDescriptorSets(Call& call, Object& device,
                                           const VkDescriptorSetAllocateInfo* pAllocateInfo,
                                           uint64_t* pDescriptorSets) {
    VkDescriptorSetAllocateInfo info = *pAllocateInfo;
    const uint32_t count = info.descriptorSetCount;
    Object* const pool =
        look_up(call, ObjectType::kDescriptorPool, guest_id(info.descriptorPool), device);
    if (pool == nullptr) return VK_ERROR_UNKNOWN;
    auto* const layouts = room_for<VkDescriptorSetLayout>(call, count);
    auto* const made = room_for<VkDescriptorSet>(call, count);
    if (layouts == nullptr || made == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    std::fill_n(pDescriptorSets, count, uint64_t{0});
    // Drivers read a count for each set, unless there is none at all.
    auto* const variable = find_in_chain<VkDescriptorSetVariableDescriptorCountAllocateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO);
    if (variable != nullptr && variable->descriptorSetCount != count)
        variable->descriptorSetCount = 0;
    std::vector<std::unique_ptr<DescriptorSetData>> data;
    for (uint32_t i = 0; i < count; ++i) {
        const Object* const layout =
            look_up(call, ObjectType::kDescriptorSetLayout, guest_id(info.pSetLayouts[i]), device);
        if (layout == nullptr) return VK_ERROR_UNKNOWN;
        layouts[i] = layout->as<VkDescriptorSetLayout>();
        DescriptorCounts wanted = layout->get<SetLayoutData>().counts;
        if (wanted.variable != 0) {
            const bool given = variable != nullptr && variable->descriptorSetCount != 0;
            const uint32_t own = given ? variable->pDescriptorCounts[i] : 0;
            if (own > wanted.variable) return VK_ERROR_OUT_OF_POOL_MEMORY;
            wanted.all -= wanted.variable - own;
            wanted.variable = own;
        }
        data.push_back(std::make_unique<DescriptorSetData>(pool->get<DescriptorPoolData>(), wanted,
                                                           layout->get<SetLayoutData>().bindings));
        if (!data.back()->fits) return VK_ERROR_OUT_OF_POOL_MEMORY;
    }
    info.descriptorPool = pool->as<VkDescriptorPool>();
    info.pSetLayouts = layouts;
    if (count == 0) return VK_SUCCESS;
    VkResult result = VK_SUCCESS;
    {
        const std::lock_guard lock(pool->get<DescriptorPoolData>().mutex);
        result = functions_of(device).vkAllocateDescriptorSets(device.as<VkDevice>(), &info, made);
    }
    if (result != VK_SUCCESS) return result;
    // All or nothing. What does not come into the table stays the driver's until the pool is reset.
    auto& from = pool->get<DescriptorPoolData>();
    for (uint32_t i = 0; i < count; ++i) {
        const uint64_t descriptors = data[i]->descriptors();
        if (result == VK_SUCCESS)
            pDescriptorSets[i] =
                adopt(ObjectType::kDescriptorSet, raw(made[i]), *pool, result, std::move(data[i]));
        if (pDescriptorSets[i] == 0) from.lose(descriptors);
    }
    if (result == VK_SUCCESS) return result;
    for (uint32_t i = 0; i < count; ++i) {
        Object* const set = table_.pin(ObjectType::kDescriptorSet, pDescriptorSets[i]);
        pDescriptorSets[i] = 0;
        if (set == nullptr) continue;
        auto& unheard = set->get<DescriptorSetData>();
        (from.frees_sets ? unheard.freed : unheard.lost) = true;
        table_.remove(set->id, set->type);
        table_.unpin(set);
    }
    return result;
}

VkResult Session::vkFreeDescriptorSets(Call& call, Object&, Object& descriptorPool, uint32_t,
                                       std::span<Object* const> pDescriptorSets) {
    // In all others a set stays the driver's until the pool is reset, and counts.
    if (!descriptorPool.get<DescriptorPoolData>().frees_sets) return VK_SUCCESS;
    for (Object* const set : pDescriptorSets) {
        if (set == nullptr) continue;
        if (set->parent != &descriptorPool) {
            call.in.fail("The descriptor set {:#x} is of another pool.", set->id);
            return VK_ERROR_UNKNOWN;
        }
        // A set that is named twice is unknown the second time.
        if (table_.remove(set->id, set->type)) set->get<DescriptorSetData>().freed = true;
    }
    return VK_SUCCESS;
}

void free_descriptor_set(Object& set) {
    // All others go with their pool, or when it is reset; so do those that no guest has heard of.
    if (set.data == nullptr || !set.get<DescriptorSetData>().freed) return;
    const Object& pool = *set.parent;
    const std::lock_guard lock(pool.get<DescriptorPoolData>().mutex);
    const auto handle = set.as<VkDescriptorSet>();
    (void)functions_of(set).vkFreeDescriptorSets(device_handle(set), pool.as<VkDescriptorPool>(), 1,
                                                 &handle);
}

VkResult Session::vkCreateDescriptorUpdateTemplate(
    Call&, Object& device, const VkDescriptorUpdateTemplateCreateInfo* pCreateInfo,
    uint64_t* pDescriptorUpdateTemplate) {
    // The driver needs none: the guest's updates come as lists, not as the memory that it
    // describes.
    auto data = std::make_unique<TemplateData>();
    if (!pay(uint64_t{pCreateInfo->descriptorUpdateEntryCount} * sizeof(data->entries[0]),
             data->charge))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    data->entries.assign(
        pCreateInfo->pDescriptorUpdateEntries,
        pCreateInfo->pDescriptorUpdateEntries + pCreateInfo->descriptorUpdateEntryCount);
    VkResult result = VK_SUCCESS;
    *pDescriptorUpdateTemplate =
        adopt(ObjectType::kDescriptorUpdateTemplate, 0, device, result, std::move(data));
    return result;
}

void Session::vkUpdateDescriptorSetWithTemplateSized2GOOGLE(
    Call& call, Object& device, Object& descriptorSet, Object& descriptorUpdateTemplate,
    uint32_t imageInfoCount, uint32_t bufferInfoCount, uint32_t bufferViewCount,
    uint32_t inlineUniformBlockCount, const uint32_t* pImageInfoEntryIndices,
    const uint32_t* pBufferInfoEntryIndices, const uint32_t* pBufferViewEntryIndices,
    const VkDescriptorImageInfo* pImageInfos, const VkDescriptorBufferInfo* pBufferInfos,
    std::span<Object* const> pBufferViews, const uint8_t* pInlineUniformBlockData) {
    const auto& data = descriptorUpdateTemplate.get<TemplateData>();
    const auto missing = [](uint32_t count, const void* indices, const void* infos) {
        return count != 0 && (indices == nullptr || infos == nullptr);
    };
    if (missing(imageInfoCount, pImageInfoEntryIndices, pImageInfos) ||
        missing(bufferInfoCount, pBufferInfoEntryIndices, pBufferInfos) ||
        missing(bufferViewCount, pBufferViewEntryIndices, pBufferViews.data()) ||
        missing(inlineUniformBlockCount, pInlineUniformBlockData, pInlineUniformBlockData)) {
        call.in.fail("An update by template lacks what it counts.");
        return;
    }
    const size_t most = size_t{imageInfoCount} + bufferInfoCount + bufferViewCount +
                        (inlineUniformBlockCount != 0 ? data.entries.size() : 0);
    auto* const writes = room_for<VkWriteDescriptorSet>(call, most);
    const VkBufferView* const views = handles_of<VkBufferView>(call, pBufferViews);
    if (writes == nullptr || views == nullptr) return;
    Writes all(call, descriptorSet, data, writes);
    if (!all.add(Payload::kImage, pImageInfoEntryIndices, imageInfoCount,
                 [&](VkWriteDescriptorSet& write, uint32_t first) {
                     write.pImageInfo = pImageInfos + first;
                 }) ||
        !all.add(Payload::kBuffer, pBufferInfoEntryIndices, bufferInfoCount,
                 [&](VkWriteDescriptorSet& write, uint32_t first) {
                     write.pBufferInfo = pBufferInfos + first;
                 }) ||
        !all.add(Payload::kTexelBuffer, pBufferViewEntryIndices, bufferViewCount,
                 [&](VkWriteDescriptorSet& write, uint32_t first) {
                     write.pTexelBufferView = views + first;
                 }))
        return;
    // Inline blocks have no indices: the bytes of all such entries in the template's order.
    uint32_t taken = 0;
    for (const VkDescriptorUpdateTemplateEntry& entry : data.entries) {
        if (inlineUniformBlockCount == 0) break;
        if (payload_of(entry.descriptorType) != Payload::kInline) continue;
        if (entry.descriptorCount > inlineUniformBlockCount - taken) {
            call.in.fail("An update by template has {} bytes of uniforms, too few.",
                         inlineUniformBlockCount);
            return;
        }
        auto* const block = room_for<VkWriteDescriptorSetInlineUniformBlock>(call, 1);
        if (block == nullptr) return;
        block->sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK;
        block->dataSize = entry.descriptorCount;
        block->pData = pInlineUniformBlockData + taken;
        VkWriteDescriptorSet* const write = all.next(entry, entry.descriptorCount);
        if (write == nullptr) return;
        write->pNext = block;
        taken += entry.descriptorCount;
    }
    if (all.used() == 0) return;
    functions_of(device).vkUpdateDescriptorSets(device.as<VkDevice>(), all.used(), writes, 0,
                                                nullptr);
}

void Session::vkUpdateDescriptorSetWithTemplateSizedGOOGLE(
    Call& call, Object& device, Object& descriptorSet, Object& descriptorUpdateTemplate,
    uint32_t imageInfoCount, uint32_t bufferInfoCount, uint32_t bufferViewCount,
    const uint32_t* pImageInfoEntryIndices, const uint32_t* pBufferInfoEntryIndices,
    const uint32_t* pBufferViewEntryIndices, const VkDescriptorImageInfo* pImageInfos,
    const VkDescriptorBufferInfo* pBufferInfos, std::span<Object* const> pBufferViews) {
    vkUpdateDescriptorSetWithTemplateSized2GOOGLE(
        call, device, descriptorSet, descriptorUpdateTemplate, imageInfoCount, bufferInfoCount,
        bufferViewCount, 0, pImageInfoEntryIndices, pBufferInfoEntryIndices,
        pBufferViewEntryIndices, pImageInfos, pBufferInfos, pBufferViews, nullptr);
}

}  // namespace swede::gfxstream::vulkan
