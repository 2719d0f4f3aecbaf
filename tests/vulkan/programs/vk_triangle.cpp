// SPDX-License-Identifier: Apache-2.0
// Draws a triangle into an image: vk_triangle [--size N] [--out FILE.ppm]
#include "triangle_frag.h"
#include "triangle_vert.h"
#include "vk_lab.h"

using namespace swede::lab;

namespace {

RenderPass make_pass(const Gpu& gpu, VkFormat format) {
    const VkAttachmentDescription colour{.format = format,
                                         .samples = VK_SAMPLE_COUNT_1_BIT,
                                         .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
                                         .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
                                         .finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL};
    const VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
    const VkSubpassDescription subpass{.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
                                       .colorAttachmentCount = 1,
                                       .pColorAttachments = &reference};
    return {gpu.device(), VkRenderPassCreateInfo{.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
                                                 .attachmentCount = 1,
                                                 .pAttachments = &colour,
                                                 .subpassCount = 1,
                                                 .pSubpasses = &subpass}};
}

GraphicsPipeline make_pipeline(const Gpu& gpu, VkRenderPass pass, VkPipelineLayout layout,
                               uint32_t size) {
    const ShaderModule vertex = shader(gpu, triangle_vert);
    const ShaderModule fragment = shader(gpu, triangle_frag);
    const std::array stages{stage(VK_SHADER_STAGE_VERTEX_BIT, vertex),
                            stage(VK_SHADER_STAGE_FRAGMENT_BIT, fragment)};
    const VkPipelineVertexInputStateCreateInfo input{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO};
    const VkPipelineInputAssemblyStateCreateInfo assembly{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
        .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
    const VkViewport viewport{0, 0, static_cast<float>(size), static_cast<float>(size), 0, 1};
    const VkRect2D scissor{{0, 0}, {size, size}};
    const VkPipelineViewportStateCreateInfo view{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
        .viewportCount = 1,
        .pViewports = &viewport,
        .scissorCount = 1,
        .pScissors = &scissor};
    const VkPipelineRasterizationStateCreateInfo raster{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
    const VkPipelineMultisampleStateCreateInfo multisample{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
        .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
    const VkPipelineColorBlendAttachmentState attachment{.colorWriteMask = 0xf};
    const VkPipelineColorBlendStateCreateInfo blend{
        .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
        .attachmentCount = 1,
        .pAttachments = &attachment};
    return {gpu.device(),
            VkGraphicsPipelineCreateInfo{.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
                                         .stageCount = 2,
                                         .pStages = stages.data(),
                                         .pVertexInputState = &input,
                                         .pInputAssemblyState = &assembly,
                                         .pViewportState = &view,
                                         .pRasterizationState = &raster,
                                         .pMultisampleState = &multisample,
                                         .pColorBlendState = &blend,
                                         .layout = layout,
                                         .renderPass = pass}};
}

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const auto size = static_cast<uint32_t>(options.number("size", 256));
    const Gpu gpu;
    const Image image(gpu, VK_FORMAT_R8G8B8A8_UNORM, size, size,
                      VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
    const Buffer pixels(gpu, 4ULL * size * size, kAnyTransfer);
    const RenderPass pass = make_pass(gpu, image.format);
    const Framebuffer framebuffer(
        gpu.device(), VkFramebufferCreateInfo{.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
                                              .renderPass = pass,
                                              .attachmentCount = 1,
                                              .pAttachments = image.view.pointer(),
                                              .width = size,
                                              .height = size,
                                              .layers = 1});
    const PipelineLayout layout(
        gpu.device(),
        VkPipelineLayoutCreateInfo{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO});
    const GraphicsPipeline pipeline = make_pipeline(gpu, pass, layout, size);
    gpu.run([&](VkCommandBuffer commands) {
        const VkClearValue clear{.color = {.float32 = {0.2F, 0.2F, 0.2F, 1}}};
        const VkRenderPassBeginInfo info{.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
                                         .renderPass = pass,
                                         .framebuffer = framebuffer,
                                         .renderArea = {{0, 0}, {size, size}},
                                         .clearValueCount = 1,
                                         .pClearValues = &clear};
        vkCmdBeginRenderPass(commands, &info, VK_SUBPASS_CONTENTS_INLINE);
        vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline);
        vkCmdDraw(commands, 3, 1, 0, 0);
        vkCmdEndRenderPass(commands);
        full_barrier(commands);
        const VkBufferImageCopy copy = whole_image(size, size);
        vkCmdCopyImageToBuffer(commands, image.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                               pixels.handle, 1, &copy);
        full_barrier(commands);
    });
    const auto rgba = pixels.as<uint8_t>();
    expect(rgba[0] == 51 && rgba[1] == 51 && rgba[2] == 51, "the corner has not the clear colour");
    const uint8_t* middle = &rgba[4ULL * (size / 2 * size + size / 2)];
    expect(middle[0] + middle[1] + middle[2] > 250 && middle[0] > 60 && middle[1] > 30,
           "the middle is not of the triangle's colours");
    write_picture(options.text("out"), size, size, pixels.bytes());
    say({{"program", "vk_triangle"}, {"size", size}, {"hash", hash_of(pixels.bytes())}});
}
