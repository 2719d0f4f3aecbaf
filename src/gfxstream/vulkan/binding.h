// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include "base/checked.h"
#include "gfxstream/vulkan/resource_data.h"

namespace swede::gfxstream::vulkan {

/// True when what has these requirements fits at `offset`. Drivers of the CPU take the addresses
/// behind it as they come.
[[nodiscard]] inline bool fits(const VkMemoryRequirements& requirements, const MemoryData& memory,
                               VkDeviceSize offset) {
    return range_fits(offset, requirements.size, memory.size) &&
           (requirements.alignment == 0 || offset % requirements.alignment == 0) &&
           (requirements.memoryTypeBits >> memory.type & 1) != 0;
}

}  // namespace swede::gfxstream::vulkan
