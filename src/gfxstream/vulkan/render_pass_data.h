// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct RenderPassData : ObjectData {
    uint32_t attachments = 0;
    uint32_t subpasses = 0;  ///< never 0
};

}  // namespace swede::gfxstream::vulkan
