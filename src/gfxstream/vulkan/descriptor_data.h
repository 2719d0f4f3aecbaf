// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct SetLayoutData : ObjectData {
    uint32_t dynamic = 0;  ///< descriptors of buffers with an offset that comes when they are bound
};

struct PipelineLayoutData : ObjectData {
    std::vector<uint32_t> dynamic;  ///< descriptors of each set
};

struct DescriptorSetData : ObjectData {
    uint32_t dynamic = 0;
};

}  // namespace swede::gfxstream::vulkan
