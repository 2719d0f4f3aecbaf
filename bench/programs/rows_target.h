// SPDX-License-Identifier: Apache-2.0
// A target of one pixel to draw on, and all that can be changed between two draws.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "vk_lab.h"

namespace swede::lab {

class RowsTarget {
  public:
    explicit RowsTarget(const Gpu& gpu);

    // Begins the render pass with everything bound that a draw needs.
    void begin(VkCommandBuffer commands) const;

    // Ways to change state before draw number `i`, by name; they record into `commands`.
    using Change = std::function<void(uint32_t i)>;
    std::vector<std::pair<std::string, Change>> changes(VkCommandBuffer commands) const;

    // A buffer with parameters of that many indirect draws.
    VkBuffer indirect(uint32_t draws);
    GraphicsPipeline make_pipeline(VkCompareOp compare) const;

  private:
    void make_descriptors();
    void make_pass();

    const Gpu& gpu_;
    Image colour_;
    Image depth_;
    Image texture_;
    Buffer vertices_;
    Buffer uniforms_;
    Buffer indirect_;
    Sampler sampler_;
    SetLayout set_layout_;
    PipelineLayout layout_;
    DescriptorPool pool_;
    std::array<VkDescriptorSet, 2> sets_{};
    RenderPass pass_;
    Framebuffer framebuffer_;
    std::array<GraphicsPipeline, 2> pipelines_;
};

}  // namespace swede::lab
