// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/budget.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

/// How many descriptors a set of a layout has. Those of inline uniform blocks are bytes.
struct DescriptorCounts {
    uint64_t all = 0;
    uint32_t dynamic = 0;   ///< of these: buffers with an offset that comes when they are bound
    uint32_t variable = 0;  ///< of these: the last binding's, where each set has its own count
};

struct SetLayoutData : ObjectData {
    DescriptorCounts counts;
    Budget::Charge charge;
};

struct PipelineLayoutData : ObjectData {
    std::vector<uint32_t> dynamic;  ///< descriptors of each set
};

/// What a pool has left. Drivers of the CPU take memory for sets as they come and do not look how
/// many were asked for when the pool was made.
struct DescriptorPoolData : ObjectData {
    uint64_t most_sets = 0;
    uint64_t most_descriptors = 0;
    std::atomic<uint64_t> sets = 0;
    std::atomic<uint64_t> descriptors = 0;
    Budget::Charge charge;
};

/// Takes from its pool, which outlives it as its parent.
struct DescriptorSetData : ObjectData {
    DescriptorSetData(DescriptorPoolData& from, const DescriptorCounts& wanted)
        : dynamic(wanted.dynamic), pool_(from), descriptors_(wanted.all) {
        const uint64_t sets = pool_.sets.fetch_add(1) + 1;
        const uint64_t descriptors = pool_.descriptors.fetch_add(descriptors_) + descriptors_;
        fits = sets <= pool_.most_sets && descriptors <= pool_.most_descriptors;
    }
    ~DescriptorSetData() override {
        pool_.sets.fetch_sub(1);
        pool_.descriptors.fetch_sub(descriptors_);
    }
    DescriptorSetData(const DescriptorSetData&) = delete;
    DescriptorSetData& operator=(const DescriptorSetData&) = delete;

    const uint32_t dynamic;
    bool fits = false;  ///< the pool had room

  private:
    DescriptorPoolData& pool_;
    const uint64_t descriptors_;
};

}  // namespace swede::gfxstream::vulkan
