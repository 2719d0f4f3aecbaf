// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/budget.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct RenderPassData : ObjectData {
    uint32_t attachments = 0;
    uint32_t subpasses = 0;  ///< never 0
    uint32_t views = 0;      ///< the masks of all subpasses together
    Budget::Charge charge;
    std::shared_ptr<const std::vector<uint32_t>> colors;  ///< colour attachments of each subpass
};

}  // namespace swede::gfxstream::vulkan
