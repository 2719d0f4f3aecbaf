// SPDX-License-Identifier: Apache-2.0
#include "rows_target.h"

#include "scene_frag.h"
#include "scene_vert.h"

namespace swede::lab {
namespace {

constexpr VkFormat kColour = VK_FORMAT_R8G8B8A8_UNORM;
constexpr VkFormat kDepth = VK_FORMAT_D32_SFLOAT;
constexpr VkShaderStageFlags kStages = VK_SHADER_STAGE_VERTEX_BIT | VK_SHADER_STAGE_FRAGMENT_BIT;
constexpr VkStencilFaceFlags kFaces = VK_STENCIL_FACE_FRONT_AND_BACK;
constexpr uint32_t kPushBytes = 32;
constexpr VkDeviceSize kVertexBytes = 256;

constexpr VkViewport viewport_of(uint32_t i) {
    return {0, 0, 1, 1, 0, (i % 2) != 0 ? 1.0F : 0.5F};
}
constexpr VkRect2D kScissor{{0, 0}, {1, 1}};

}  // namespace

RowsTarget::RowsTarget(const Gpu& gpu)
    : gpu_(gpu),
      colour_(gpu, kColour, 1, 1, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT),
      depth_(gpu, kDepth, 1, 1, VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT),
      texture_(gpu, kColour, 1, 1, VK_IMAGE_USAGE_SAMPLED_BIT),
      vertices_(gpu, 2 * kVertexBytes,
                VK_BUFFER_USAGE_VERTEX_BUFFER_BIT | VK_BUFFER_USAGE_INDEX_BUFFER_BIT),
      uniforms_(gpu, 512, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT) {
    make_descriptors();
    make_pass();
    pipelines_[0] = make_pipeline(VK_COMPARE_OP_ALWAYS);
    pipelines_[1] = make_pipeline(VK_COMPARE_OP_LESS);
    gpu.run([&](VkCommandBuffer commands) {
        change_layout(commands, texture_.handle, texture_.aspect, VK_IMAGE_LAYOUT_UNDEFINED,
                      VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
    });
}

void RowsTarget::make_descriptors() {
    const VkDevice device = gpu_.device();
    sampler_ = Sampler(device, VkSamplerCreateInfo{.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO});
    const std::array bindings{
        VkDescriptorSetLayoutBinding{0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1,
                                     VK_SHADER_STAGE_FRAGMENT_BIT, nullptr},
        VkDescriptorSetLayoutBinding{1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 1,
                                     VK_SHADER_STAGE_FRAGMENT_BIT, nullptr}};
    set_layout_ =
        SetLayout(device, VkDescriptorSetLayoutCreateInfo{
                              .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                              .bindingCount = bindings.size(),
                              .pBindings = bindings.data()});
    const VkPushConstantRange range{kStages, 0, kPushBytes};
    layout_ = PipelineLayout(
        device, VkPipelineLayoutCreateInfo{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                           .setLayoutCount = 1,
                                           .pSetLayouts = set_layout_.pointer(),
                                           .pushConstantRangeCount = 1,
                                           .pPushConstantRanges = &range});
    const std::array sizes{VkDescriptorPoolSize{VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 2},
                           VkDescriptorPoolSize{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 2}};
    pool_ = DescriptorPool(
        device, VkDescriptorPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                           .maxSets = 2,
                                           .poolSizeCount = sizes.size(),
                                           .pPoolSizes = sizes.data()});
    const std::array<VkDescriptorSetLayout, 2> layouts{set_layout_, set_layout_};
    const VkDescriptorSetAllocateInfo allocation{
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = pool_,
        .descriptorSetCount = layouts.size(),
        .pSetLayouts = layouts.data()};
    check(vkAllocateDescriptorSets(device, &allocation, sets_.data()));
    const VkDescriptorImageInfo image{sampler_, texture_.view,
                                      VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
    const VkDescriptorBufferInfo buffer{uniforms_.handle, 0, 16};
    for (VkDescriptorSet set : sets_) {
        const std::array writes{
            VkWriteDescriptorSet{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                 .dstSet = set,
                                 .dstBinding = 0,
                                 .descriptorCount = 1,
                                 .descriptorType = VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
                                 .pImageInfo = &image},
            VkWriteDescriptorSet{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                 .dstSet = set,
                                 .dstBinding = 1,
                                 .descriptorCount = 1,
                                 .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC,
                                 .pBufferInfo = &buffer}};
        vkUpdateDescriptorSets(device, writes.size(), writes.data(), 0, nullptr);
    }
}

void RowsTarget::make_pass() {
    const std::array attachments{
        VkAttachmentDescription{.format = kColour,
                                .samples = VK_SAMPLE_COUNT_1_BIT,
                                .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
                                .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
                                .finalLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL},
        VkAttachmentDescription{.format = kDepth,
                                .samples = VK_SAMPLE_COUNT_1_BIT,
                                .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
                                .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
                                .finalLayout = VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL}};
    const VkAttachmentReference colour{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
    const VkAttachmentReference depth{1, VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL};
    const VkSubpassDescription subpass{.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
                                       .colorAttachmentCount = 1,
                                       .pColorAttachments = &colour,
                                       .pDepthStencilAttachment = &depth};
    pass_ = RenderPass(gpu_.device(),
                       VkRenderPassCreateInfo{.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
                                              .attachmentCount = attachments.size(),
                                              .pAttachments = attachments.data(),
                                              .subpassCount = 1,
                                              .pSubpasses = &subpass});
    const std::array<VkImageView, 2> views{colour_.view, depth_.view};
    framebuffer_ = Framebuffer(
        gpu_.device(), VkFramebufferCreateInfo{.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
                                               .renderPass = pass_,
                                               .attachmentCount = views.size(),
                                               .pAttachments = views.data(),
                                               .width = 1,
                                               .height = 1,
                                               .layers = 1});
}

GraphicsPipeline RowsTarget::make_pipeline(VkCompareOp compare) const {
    const ShaderModule vertex = shader(gpu_, scene_vert);
    const ShaderModule fragment = shader(gpu_, scene_frag);
    const std::array stages{stage(VK_SHADER_STAGE_VERTEX_BIT, vertex),
                            stage(VK_SHADER_STAGE_FRAGMENT_BIT, fragment)};
    const VkVertexInputBindingDescription binding{0, 8, VK_VERTEX_INPUT_RATE_VERTEX};
    const VkVertexInputAttributeDescription attribute{0, 0, VK_FORMAT_R32G32_SFLOAT, 0};
    const VkPipelineVertexInputStateCreateInfo input{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
        .vertexBindingDescriptionCount = 1,
        .pVertexBindingDescriptions = &binding,
        .vertexAttributeDescriptionCount = 1,
        .pVertexAttributeDescriptions = &attribute};
    const VkPipelineInputAssemblyStateCreateInfo assembly{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
        .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
    const VkPipelineViewportStateCreateInfo view{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
        .viewportCount = 1,
        .scissorCount = 1};
    const VkPipelineRasterizationStateCreateInfo raster{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
    const VkPipelineMultisampleStateCreateInfo multisample{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
        .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
    const VkPipelineDepthStencilStateCreateInfo depth{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO,
        .depthTestEnable = VK_TRUE,
        .depthCompareOp = compare};
    const VkPipelineColorBlendAttachmentState attachment{.colorWriteMask = 0xf};
    const VkPipelineColorBlendStateCreateInfo blend{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
        .attachmentCount = 1,
        .pAttachments = &attachment};
    std::vector<VkDynamicState> states{VK_DYNAMIC_STATE_VIEWPORT,
                                       VK_DYNAMIC_STATE_SCISSOR,
                                       VK_DYNAMIC_STATE_LINE_WIDTH,
                                       VK_DYNAMIC_STATE_DEPTH_BIAS,
                                       VK_DYNAMIC_STATE_BLEND_CONSTANTS,
                                       VK_DYNAMIC_STATE_STENCIL_COMPARE_MASK,
                                       VK_DYNAMIC_STATE_STENCIL_WRITE_MASK,
                                       VK_DYNAMIC_STATE_STENCIL_REFERENCE,
                                       VK_DYNAMIC_STATE_CULL_MODE,
                                       VK_DYNAMIC_STATE_FRONT_FACE,
                                       VK_DYNAMIC_STATE_PRIMITIVE_TOPOLOGY,
                                       VK_DYNAMIC_STATE_DEPTH_TEST_ENABLE,
                                       VK_DYNAMIC_STATE_DEPTH_WRITE_ENABLE,
                                       VK_DYNAMIC_STATE_DEPTH_COMPARE_OP,
                                       VK_DYNAMIC_STATE_STENCIL_TEST_ENABLE,
                                       VK_DYNAMIC_STATE_STENCIL_OP,
                                       VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE,
                                       VK_DYNAMIC_STATE_DEPTH_BIAS_ENABLE,
                                       VK_DYNAMIC_STATE_PRIMITIVE_RESTART_ENABLE};
    if (gpu_.features().depthBounds != 0) states.push_back(VK_DYNAMIC_STATE_DEPTH_BOUNDS);
    const VkPipelineDynamicStateCreateInfo dynamic{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
        .dynamicStateCount = static_cast<uint32_t>(states.size()),
        .pDynamicStates = states.data()};
    return {gpu_.device(),
            VkGraphicsPipelineCreateInfo{.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
                                         .stageCount = stages.size(),
                                         .pStages = stages.data(),
                                         .pVertexInputState = &input,
                                         .pInputAssemblyState = &assembly,
                                         .pViewportState = &view,
                                         .pRasterizationState = &raster,
                                         .pMultisampleState = &multisample,
                                         .pDepthStencilState = &depth,
                                         .pColorBlendState = &blend,
                                         .pDynamicState = &dynamic,
                                         .layout = layout_,
                                         .renderPass = pass_}};
}

void RowsTarget::begin(VkCommandBuffer commands) const {
    const std::array clears{VkClearValue{.color = {.float32 = {0, 0, 0, 1}}},
                            VkClearValue{.depthStencil = {1, 0}}};
    const VkRenderPassBeginInfo info{.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
                                     .renderPass = pass_,
                                     .framebuffer = framebuffer_,
                                     .renderArea = kScissor,
                                     .clearValueCount = clears.size(),
                                     .pClearValues = clears.data()};
    vkCmdBeginRenderPass(commands, &info, VK_SUBPASS_CONTENTS_INLINE);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipelines_[0]);
    for (const auto& [name, change] : changes(commands)) change(0);
}

std::vector<std::pair<std::string, RowsTarget::Change>> RowsTarget::changes(
    VkCommandBuffer commands) const {
    using I = uint32_t;
    const auto odd = [](I i) { return static_cast<VkBool32>(i % 2); };
    std::vector<std::pair<std::string, Change>> all{
        {"pipeline",
         [=, this](I i) {
             vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipelines_[i % 2]);
         }},
        {"descriptor set",
         [=, this](I i) {
             constexpr uint32_t kOffset = 0;
             vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout_, 0, 1,
                                     &sets_[i % 2], 1, &kOffset);
         }},
        {"dynamic offset",
         [=, this](I i) {
             const uint32_t offset = 256 * (i % 2);
             vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout_, 0, 1,
                                     sets_.data(), 1, &offset);
         }},
        {"vertex buffer",
         [=, this](I i) {
             const VkDeviceSize offset = kVertexBytes * (i % 2);
             vkCmdBindVertexBuffers(commands, 0, 1, vertices_.handle.pointer(), &offset);
         }},
        {"index buffer",
         [=, this](I i) {
             vkCmdBindIndexBuffer(commands, vertices_.handle, kVertexBytes * (i % 2),
                                  VK_INDEX_TYPE_UINT16);
         }},
        {"push constants",
         [=, this](I i) {
             const std::array<uint32_t, kPushBytes / 4> words{i};
             vkCmdPushConstants(commands, layout_, kStages, 0, kPushBytes, words.data());
         }},
        {"viewport",
         [=](I i) {
             const VkViewport viewport = viewport_of(i);
             vkCmdSetViewport(commands, 0, 1, &viewport);
         }},
        {"scissor", [=](I) { vkCmdSetScissor(commands, 0, 1, &kScissor); }},
        {"line width", [=](I) { vkCmdSetLineWidth(commands, 1); }},
        {"depth bias", [=](I i) { vkCmdSetDepthBias(commands, static_cast<float>(i % 2), 0, 0); }},
        {"blend constants",
         [=](I i) {
             const std::array<float, 4> constants{static_cast<float>(i % 2), 0, 0, 0};
             vkCmdSetBlendConstants(commands, constants.data());
         }},
        {"stencil compare mask",
         [=](I i) { vkCmdSetStencilCompareMask(commands, kFaces, i % 256); }},
        {"stencil write mask", [=](I i) { vkCmdSetStencilWriteMask(commands, kFaces, i % 256); }},
        {"stencil reference", [=](I i) { vkCmdSetStencilReference(commands, kFaces, i % 256); }},
        {"cull mode",
         [=](I i) {
             vkCmdSetCullMode(commands, i % 2 != 0 ? VK_CULL_MODE_BACK_BIT : VK_CULL_MODE_NONE);
         }},
        {"front face",
         [=](I i) {
             vkCmdSetFrontFace(
                 commands, i % 2 != 0 ? VK_FRONT_FACE_CLOCKWISE : VK_FRONT_FACE_COUNTER_CLOCKWISE);
         }},
        {"topology",
         [=](I i) {
             vkCmdSetPrimitiveTopology(commands, i % 2 != 0 ? VK_PRIMITIVE_TOPOLOGY_TRIANGLE_STRIP
                                                            : VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST);
         }},
        {"depth test", [=](I i) { vkCmdSetDepthTestEnable(commands, odd(i)); }},
        {"depth write", [=](I i) { vkCmdSetDepthWriteEnable(commands, odd(i)); }},
        {"depth compare",
         [=](I i) {
             vkCmdSetDepthCompareOp(commands,
                                    i % 2 != 0 ? VK_COMPARE_OP_LESS : VK_COMPARE_OP_ALWAYS);
         }},
        {"stencil test", [=](I) { vkCmdSetStencilTestEnable(commands, VK_FALSE); }},
        {"stencil op",
         [=](I i) {
             vkCmdSetStencilOp(commands, kFaces, VK_STENCIL_OP_KEEP, VK_STENCIL_OP_KEEP,
                               VK_STENCIL_OP_KEEP,
                               i % 2 != 0 ? VK_COMPARE_OP_LESS : VK_COMPARE_OP_ALWAYS);
         }},
        {"rasterizer discard", [=](I i) { vkCmdSetRasterizerDiscardEnable(commands, odd(i)); }},
        {"depth bias enable", [=](I i) { vkCmdSetDepthBiasEnable(commands, odd(i)); }},
        {"primitive restart", [=](I) { vkCmdSetPrimitiveRestartEnable(commands, VK_FALSE); }},
    };
    if (gpu_.features().depthBounds != 0)
        all.emplace_back("depth bounds",
                         [=](I i) { vkCmdSetDepthBounds(commands, 0, i % 2 != 0 ? 1.0F : 0.5F); });
    return all;
}

VkBuffer RowsTarget::indirect(uint32_t draws) {
    if (indirect_.size == 0) {
        indirect_ = Buffer(gpu_, draws * sizeof(VkDrawIndirectCommand),
                           VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT);
        for (VkDrawIndirectCommand& draw : indirect_.as<VkDrawIndirectCommand>())
            draw = {.vertexCount = 3, .instanceCount = 1};
    }
    return indirect_.handle;
}

}  // namespace swede::lab
