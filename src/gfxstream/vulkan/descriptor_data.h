// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/budget.h"
#include "gfxstream/vulkan/held_objects.h"
#include "gfxstream/vulkan/object.h"
#include "gfxstream/vulkan/set_bindings.h"

namespace swede::gfxstream::vulkan {

/// How many descriptors a set of a layout has. Those of inline uniform blocks are bytes.
struct DescriptorCounts {
    uint64_t all = 0;
    uint32_t dynamic = 0;   ///< of these: buffers with an offset that comes when they are bound
    uint32_t variable = 0;  ///< of these: the last binding's, where each set has its own count
};

struct SetLayoutData : ObjectData {
    explicit SetLayoutData(HandleTable& table) : samplers(table) {}
    HeldObjects samplers;  ///< immutable ones
    DescriptorCounts counts;
    std::shared_ptr<const SetBindings> bindings;
    Budget::Charge charge;
};

struct PipelineLayoutData : ObjectData {
    std::vector<uint32_t> dynamic;        ///< descriptors of each set
    std::atomic<bool> destroyed = false;  ///< by the guest: DeviceData::destroyed_layouts
};

/// What a pool has left. Drivers of the CPU take memory for sets as they come and do not look how
/// many were asked for when the pool was made.
struct DescriptorPoolData : ObjectData {
    std::mutex mutex;         ///< of the driver's calls on the pool and its sets
    bool frees_sets = false;  ///< one by one: CREATE_FREE_DESCRIPTOR_SET
    uint64_t most_sets = 0;
    uint64_t most_descriptors = 0;
    std::atomic<uint64_t> sets = 0;
    std::atomic<uint64_t> descriptors = 0;
    // Of sets that only the driver knows, until the pool is reset.
    std::atomic<uint64_t> lost_sets = 0;
    std::atomic<uint64_t> lost_descriptors = 0;
    Budget::Charge charge;

    void lose(uint64_t count) {
        lost_descriptors += count;
        ++lost_sets;
    }
};

/// Takes from its pool, which outlives it as its parent.
struct DescriptorSetData : ObjectData {
    /// `variable` as in DescriptorCounts, but the set's own.
    DescriptorSetData(DescriptorPoolData& from, const DescriptorCounts& wanted,
                      std::shared_ptr<const SetBindings> bindings)
        : dynamic(wanted.dynamic),
          pool_(from),
          descriptors_(wanted.all),
          variable_(wanted.variable),
          bindings_(std::move(bindings)) {
        const uint64_t sets = pool_.sets.fetch_add(1) + 1;
        const uint64_t descriptors = pool_.descriptors.fetch_add(descriptors_) + descriptors_;
        fits = sets + pool_.lost_sets <= pool_.most_sets &&
               descriptors + pool_.lost_descriptors <= pool_.most_descriptors;
    }
    ~DescriptorSetData() override {
        if (lost) pool_.lose(descriptors_);
        pool_.descriptors.fetch_sub(descriptors_);
        pool_.sets.fetch_sub(1);
    }
    DescriptorSetData(const DescriptorSetData&) = delete;
    DescriptorSetData& operator=(const DescriptorSetData&) = delete;

    [[nodiscard]] uint64_t descriptors() const { return descriptors_; }
    /// Of descriptors that an update names; empty: not all of them are there.
    [[nodiscard]] std::optional<VkDescriptorType> type_of(uint32_t binding, uint32_t element,
                                                          uint32_t count) const {
        return bindings_->type_of(binding, element, count, variable_);
    }
    /// Of descriptors that there are.
    [[nodiscard]] bool have_samplers(uint32_t binding, uint32_t element, uint32_t count) const {
        return bindings_->have_samplers(binding, element, count, variable_);
    }

    const uint32_t dynamic;
    bool fits = false;   ///< the pool had room
    bool lost = false;   ///< the guest never heard of it, and the driver keeps it
    bool freed = false;  ///< by itself: the driver is told once nothing uses it

  private:
    DescriptorPoolData& pool_;
    const uint64_t descriptors_;
    const uint32_t variable_;
    const std::shared_ptr<const SetBindings> bindings_;
};

/// What HandleTable calls when nothing uses a set any more.
void free_descriptor_set(Object& set);

/// Whether the set has room for a write of that type; `call`, a Call or a Decoder, fails if not.
template <typename Failing>
[[nodiscard]] bool check_write(Failing& in, const Object* set, const VkWriteDescriptorSet& write) {
    if (set == nullptr) return in.fail("A write names no descriptor set.");
    const auto type = set->get<DescriptorSetData>().type_of(write.dstBinding, write.dstArrayElement,
                                                            write.descriptorCount);
    return (type && (*type == write.descriptorType)) ||
           in.fail("{} descriptors of type {} do not fit into binding {} of their set from {} on.",
                   write.descriptorCount, static_cast<uint32_t>(write.descriptorType),
                   write.dstBinding, write.dstArrayElement);
}

/// Whether a write that check_write() has passed brings the samplers that its set does not have:
/// drivers follow them.
template <typename Failing>
[[nodiscard]] bool check_samplers(Failing& in, const Object& set,
                                  const VkWriteDescriptorSet& write) {
    if (write.descriptorType != VK_DESCRIPTOR_TYPE_SAMPLER &&
        write.descriptorType != VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER)
        return true;
    for (uint32_t i = 0; i < write.descriptorCount; ++i)
        if (write.pImageInfo[i].sampler == VK_NULL_HANDLE)
            return set.get<DescriptorSetData>().have_samplers(
                       write.dstBinding, write.dstArrayElement, write.descriptorCount) ||
                   in.fail("A sampler is written that is null.");
    return true;
}

}  // namespace swede::gfxstream::vulkan
