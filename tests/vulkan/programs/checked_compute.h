// SPDX-License-Identifier: Apache-2.0
// The compute shader mix.comp and the same sums on the processor.
#pragma once

#include <cstdint>

#include "vk_lab.h"

namespace swede::lab {

struct MixPush {
    uint32_t seed;
    uint32_t count;
};

constexpr uint32_t kGroup = 64;  // local_size_x

constexpr uint32_t mixed(uint32_t word, uint32_t seed, uint32_t index) {
    uint32_t x = word ^ (seed + index * 2654435761U);
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    return x ^ x >> 16;
}

inline void record_compute(VkCommandBuffer commands, const StorageSet& set, VkPipeline pipeline,
                           MixPush push) {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, set.layout, 0, 1, &set.set, 0,
                            nullptr);
    vkCmdPushConstants(commands, set.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), &push);
    vkCmdDispatch(commands, (push.count + kGroup - 1) / kGroup, 1, 1);
    full_barrier(commands);
}

}  // namespace swede::lab
