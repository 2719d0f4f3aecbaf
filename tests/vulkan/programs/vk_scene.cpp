// SPDX-License-Identifier: Apache-2.0
// A picture by most of what programs draw with: depth, blending, a texture, indexed draws, push
// constants, a secondary command buffer, queries, a descriptor update template, timeline semaphores
// that order two submits and the host, and four samples a pixel that are resolved:
// vk_scene [--out FILE.ppm]
#include "scene_frag.h"
#include "scene_vert.h"
#include "vk_lab.h"

using namespace swede::lab;

namespace {

constexpr uint32_t kSize = 256;
constexpr uint32_t kTexels = 64;
constexpr auto kSamples = VK_SAMPLE_COUNT_4_BIT;
constexpr VkFormat kColour = VK_FORMAT_R8G8B8A8_UNORM;
constexpr VkFormat kDepth = VK_FORMAT_D32_SFLOAT;

struct Push {
    std::array<float, 4> colour;
    std::array<float, 2> offset;
    float scale;
    float depth;
};

// In the order of drawing; the second lies behind the first, the last is half transparent.
constexpr std::array kDraws{
    Push{{1, 0.25F, 0.25F, 1}, {-0.35F, -0.35F}, 0.4F, 0.3F},
    Push{{0.25F, 1, 0.25F, 1}, {-0.1F, -0.1F}, 0.5F, 0.6F},
    Push{{0.25F, 0.25F, 1, 0.5F}, {0.3F, 0.3F}, 0.55F, 0.2F},
};

class Scene {
  public:
    explicit Scene(const Gpu& gpu)
        : gpu_(gpu),
          colour_(gpu, kColour, kSize, kSize, VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT, kSamples),
          depth_(gpu, kDepth, kSize, kSize, VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT, kSamples),
          resolved_(gpu, kColour, kSize, kSize,
                    VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT),
          texture_(gpu, kColour, kTexels, kTexels,
                   VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT),
          texels_(gpu, 4ULL * kTexels * kTexels, kAnyTransfer),
          vertices_(gpu, 64, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT),
          indices_(gpu, 64, VK_BUFFER_USAGE_INDEX_BUFFER_BIT),
          tint_(gpu, 256, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT),
          pixels_(gpu, 4ULL * kSize * kSize, kAnyTransfer),
          counts_(gpu, 256, kAnyTransfer) {
        fill_buffers();
        make_descriptors();
        make_pass();
        make_pipeline();
        queries_ = QueryPool(
            gpu.device(), VkQueryPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                                .queryType = VK_QUERY_TYPE_OCCLUSION,
                                                .queryCount = kDraws.size()});
    }

    // Upload waits for 1, which the host signals, and signals 2; drawing waits for that, signals 3.
    void draw() {
        const VkDevice device = gpu_.device();
        const VkSemaphoreTypeCreateInfo type{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                             .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
                                             .initialValue = 0};
        const Semaphore timeline(
            device, VkSemaphoreCreateInfo{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                          .pNext = &type});
        const CommandPool pool(
            device, VkCommandPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                            .queueFamilyIndex = gpu_.family()});
        VkCommandBuffer upload = gpu_.allocate(pool);
        record_upload(upload);
        VkCommandBuffer secondary = gpu_.allocate(pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
        record_draws(secondary);
        VkCommandBuffer primary = gpu_.allocate(pool);
        record_pass(primary, secondary);
        submit_ordered(upload, timeline, 1, 2);
        submit_ordered(primary, timeline, 2, 3);
        uint64_t value = 0;
        check(vkGetSemaphoreCounterValue(device, timeline, &value));
        expect(value == 0, "a submit went before the host's signal");
        check(vkSignalSemaphore(
            device,
            std::array{VkSemaphoreSignalInfo{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO,
                                             .semaphore = timeline,
                                             .value = 1}}
                .data()));
        constexpr uint64_t kLast = 3;
        const VkSemaphoreWaitInfo waits{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                        .semaphoreCount = 1,
                                        .pSemaphores = timeline.pointer(),
                                        .pValues = &kLast};
        check(vkWaitSemaphores(device, &waits, UINT64_MAX));
        check(vkQueueWaitIdle(gpu_.queue()));
    }

    // Fragment samples of each draw that passed the depth test, got in both ways.
    std::array<uint64_t, kDraws.size()> samples() const {
        std::array<uint64_t, kDraws.size()> direct{};
        check(vkGetQueryPoolResults(gpu_.device(), queries_, 0, kDraws.size(), sizeof(direct),
                                    direct.data(), 8,
                                    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
        for (size_t i = 0; i < direct.size(); ++i)
            expect(direct[i] == counts_.as<uint64_t>()[i], "the copied query result is another");
        return direct;
    }

    std::span<const std::byte> rgba() const { return pixels_.bytes(); }
    const uint8_t* pixel(uint32_t x, uint32_t y) const {
        return &pixels_.as<uint8_t>()[4ULL * (y * kSize + x)];
    }

  private:
    void fill_buffers() {
        for (uint32_t y = 0; y < kTexels; ++y)
            for (uint32_t x = 0; x < kTexels; ++x)
                texels_.as<uint32_t>()[y * kTexels + x] =
                    ((x / 8 + y / 8) % 2 != 0) ? 0xffffffff : 0xff808080;
        const std::array<float, 8> corners{-1, -1, 1, -1, 1, 1, -1, 1};
        for (size_t i = 0; i < corners.size(); ++i) vertices_.as<float>()[i] = corners[i];
        const std::array<uint16_t, 6> order{0, 1, 2, 2, 3, 0};
        for (size_t i = 0; i < order.size(); ++i) indices_.as<uint16_t>()[i] = order[i];
        const std::array<float, 4> tint{1, 1, 0.5F, 1};
        for (size_t i = 0; i < tint.size(); ++i) tint_.as<float>()[i] = tint[i];
    }

    void make_descriptors() {
        const VkDevice device = gpu_.device();
        sampler_ =
            Sampler(device, VkSamplerCreateInfo{.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
                                                .magFilter = VK_FILTER_LINEAR,
                                                .minFilter = VK_FILTER_LINEAR,
                                                .addressModeU = VK_SAMPLER_ADDRESS_MODE_REPEAT,
                                                .addressModeV = VK_SAMPLER_ADDRESS_MODE_REPEAT});
        const std::array bindings{
            VkDescriptorSetLayoutBinding{0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1,
                                         VK_SHADER_STAGE_FRAGMENT_BIT, nullptr},
            VkDescriptorSetLayoutBinding{1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1,
                                         VK_SHADER_STAGE_FRAGMENT_BIT, nullptr}};
        set_layout_ =
            SetLayout(device, VkDescriptorSetLayoutCreateInfo{
                                  .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                  .bindingCount = bindings.size(),
                                  .pBindings = bindings.data()});
        const VkPushConstantRange range{VK_SHADER_STAGE_VERTEX_BIT | VK_SHADER_STAGE_FRAGMENT_BIT,
                                        0, sizeof(Push)};
        layout_ = PipelineLayout(device, VkPipelineLayoutCreateInfo{
                                             .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                             .setLayoutCount = 1,
                                             .pSetLayouts = set_layout_.pointer(),
                                             .pushConstantRangeCount = 1,
                                             .pPushConstantRanges = &range});
        const std::array sizes{VkDescriptorPoolSize{VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1},
                               VkDescriptorPoolSize{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1}};
        pool_ = DescriptorPool(device, VkDescriptorPoolCreateInfo{
                                           .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                           .maxSets = 1,
                                           .poolSizeCount = sizes.size(),
                                           .pPoolSizes = sizes.data()});
        const VkDescriptorSetAllocateInfo allocation{
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
            .descriptorPool = pool_,
            .descriptorSetCount = 1,
            .pSetLayouts = set_layout_.pointer()};
        check(vkAllocateDescriptorSets(device, &allocation, &set_));

        struct Data {
            VkDescriptorImageInfo image;
            VkDescriptorBufferInfo buffer;
        };
        const std::array entries{
            VkDescriptorUpdateTemplateEntry{0, 0, 1, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
                                            offsetof(Data, image), 0},
            VkDescriptorUpdateTemplateEntry{1, 0, 1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                            offsetof(Data, buffer), 0}};
        const UpdateTemplate update(
            device, VkDescriptorUpdateTemplateCreateInfo{
                        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO,
                        .descriptorUpdateEntryCount = entries.size(),
                        .pDescriptorUpdateEntries = entries.data(),
                        .templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET,
                        .descriptorSetLayout = set_layout_});
        const Data data{{sampler_, texture_.view, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL},
                        {tint_.handle, 0, 16}};
        vkUpdateDescriptorSetWithTemplate(device, set_, update, &data);
    }

    void make_pass() {
        const std::array attachments{
            VkAttachmentDescription{.format = kColour,
                                    .samples = kSamples,
                                    .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
                                    .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
                                    .finalLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL},
            VkAttachmentDescription{
                .format = kDepth,
                .samples = kSamples,
                .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
                .storeOp = VK_ATTACHMENT_STORE_OP_DONT_CARE,
                .finalLayout = VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL},
            VkAttachmentDescription{.format = kColour,
                                    .samples = VK_SAMPLE_COUNT_1_BIT,
                                    .loadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE,
                                    .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
                                    .finalLayout = VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL}};
        const VkAttachmentReference colour{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
        const VkAttachmentReference depth{1, VK_IMAGE_LAYOUT_DEPTH_STENCIL_ATTACHMENT_OPTIMAL};
        const VkAttachmentReference resolve{2, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
        const VkSubpassDescription subpass{.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS,
                                           .colorAttachmentCount = 1,
                                           .pColorAttachments = &colour,
                                           .pResolveAttachments = &resolve,
                                           .pDepthStencilAttachment = &depth};
        pass_ = RenderPass(gpu_.device(), VkRenderPassCreateInfo{
                                              .sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO,
                                              .attachmentCount = attachments.size(),
                                              .pAttachments = attachments.data(),
                                              .subpassCount = 1,
                                              .pSubpasses = &subpass});
        const std::array<VkImageView, 3> views{colour_.view, depth_.view, resolved_.view};
        framebuffer_ =
            Framebuffer(gpu_.device(),
                        VkFramebufferCreateInfo{.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO,
                                                .renderPass = pass_,
                                                .attachmentCount = views.size(),
                                                .pAttachments = views.data(),
                                                .width = kSize,
                                                .height = kSize,
                                                .layers = 1});
    }

    void make_pipeline() {
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
            .rasterizationSamples = kSamples};
        const VkPipelineDepthStencilStateCreateInfo depth{
            .sType = VK_STRUCTURE_TYPE_PIPELINE_DEPTH_STENCIL_STATE_CREATE_INFO,
            .depthTestEnable = VK_TRUE,
            .depthWriteEnable = VK_TRUE,
            .depthCompareOp = VK_COMPARE_OP_LESS};
        const VkPipelineColorBlendAttachmentState attachment{
            .blendEnable = VK_TRUE,
            .srcColorBlendFactor = VK_BLEND_FACTOR_SRC_ALPHA,
            .dstColorBlendFactor = VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
            .colorBlendOp = VK_BLEND_OP_ADD,
            .srcAlphaBlendFactor = VK_BLEND_FACTOR_ONE,
            .dstAlphaBlendFactor = VK_BLEND_FACTOR_ONE,
            .alphaBlendOp = VK_BLEND_OP_MAX,
            .colorWriteMask = 0xf};
        const VkPipelineColorBlendStateCreateInfo blend{
            .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
            .attachmentCount = 1,
            .pAttachments = &attachment};
        const std::array states{VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
        const VkPipelineDynamicStateCreateInfo dynamic{
            .sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
            .dynamicStateCount = states.size(),
            .pDynamicStates = states.data()};
        pipeline_ = GraphicsPipeline(
            gpu_.device(),
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
                                         .renderPass = pass_});
    }

    void record_upload(VkCommandBuffer commands) const {
        begin(commands);
        change_layout(commands, texture_.handle, texture_.aspect, VK_IMAGE_LAYOUT_UNDEFINED,
                      VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
        const VkBufferImageCopy copy = whole_image(kTexels, kTexels);
        vkCmdCopyBufferToImage(commands, texels_.handle, texture_.handle,
                               VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
        change_layout(commands, texture_.handle, texture_.aspect,
                      VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                      VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
        check(vkEndCommandBuffer(commands));
    }

    void record_draws(VkCommandBuffer commands) const {
        const VkCommandBufferInheritanceInfo inheritance{
            .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO,
            .renderPass = pass_,
            .framebuffer = framebuffer_};
        const VkCommandBufferBeginInfo info{
            .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
            .flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT,
            .pInheritanceInfo = &inheritance};
        check(vkBeginCommandBuffer(commands, &info));
        const VkViewport viewport{0, 0, kSize, kSize, 0, 1};
        const VkRect2D scissor{{0, 0}, {kSize, kSize}};
        constexpr VkDeviceSize kStart = 0;
        vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, pipeline_);
        vkCmdSetViewport(commands, 0, 1, &viewport);
        vkCmdSetScissor(commands, 0, 1, &scissor);
        vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, layout_, 0, 1, &set_, 0,
                                nullptr);
        vkCmdBindVertexBuffers(commands, 0, 1, vertices_.handle.pointer(), &kStart);
        vkCmdBindIndexBuffer(commands, indices_.handle, 0, VK_INDEX_TYPE_UINT16);
        const VkQueryControlFlags precise =
            gpu_.features().occlusionQueryPrecise != 0 ? VK_QUERY_CONTROL_PRECISE_BIT : 0;
        for (uint32_t i = 0; i < kDraws.size(); ++i) {
            vkCmdPushConstants(commands, layout_,
                               VK_SHADER_STAGE_VERTEX_BIT | VK_SHADER_STAGE_FRAGMENT_BIT, 0,
                               sizeof(Push), &kDraws[i]);
            vkCmdBeginQuery(commands, queries_, i, precise);
            vkCmdDrawIndexed(commands, 6, 1, 0, 0, 0);
            vkCmdEndQuery(commands, queries_, i);
        }
        check(vkEndCommandBuffer(commands));
    }

    void record_pass(VkCommandBuffer commands, VkCommandBuffer secondary) const {
        begin(commands);
        vkCmdResetQueryPool(commands, queries_, 0, kDraws.size());
        const std::array clears{VkClearValue{.color = {.float32 = {0.2F, 0.2F, 0.2F, 1}}},
                                VkClearValue{.depthStencil = {1, 0}}};
        const VkRenderPassBeginInfo info{.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO,
                                         .renderPass = pass_,
                                         .framebuffer = framebuffer_,
                                         .renderArea = {{0, 0}, {kSize, kSize}},
                                         .clearValueCount = clears.size(),
                                         .pClearValues = clears.data()};
        vkCmdBeginRenderPass(commands, &info, VK_SUBPASS_CONTENTS_SECONDARY_COMMAND_BUFFERS);
        vkCmdExecuteCommands(commands, 1, &secondary);
        vkCmdEndRenderPass(commands);
        full_barrier(commands);
        const VkBufferImageCopy copy = whole_image(kSize, kSize);
        vkCmdCopyImageToBuffer(commands, resolved_.handle, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                               pixels_.handle, 1, &copy);
        vkCmdCopyQueryPoolResults(commands, queries_, 0, kDraws.size(), counts_.handle, 0, 8,
                                  VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
        full_barrier(commands);
        check(vkEndCommandBuffer(commands));
    }

    void submit_ordered(VkCommandBuffer commands, VkSemaphore timeline, uint64_t wait_for,
                        uint64_t then) const {
        const VkTimelineSemaphoreSubmitInfo values{
            .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
            .waitSemaphoreValueCount = 1,
            .pWaitSemaphoreValues = &wait_for,
            .signalSemaphoreValueCount = 1,
            .pSignalSemaphoreValues = &then};
        constexpr VkPipelineStageFlags kStage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
        const VkSubmitInfo info{.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                .pNext = &values,
                                .waitSemaphoreCount = 1,
                                .pWaitSemaphores = &timeline,
                                .pWaitDstStageMask = &kStage,
                                .commandBufferCount = 1,
                                .pCommandBuffers = &commands,
                                .signalSemaphoreCount = 1,
                                .pSignalSemaphores = &timeline};
        check(vkQueueSubmit(gpu_.queue(), 1, &info, VK_NULL_HANDLE));
    }

    const Gpu& gpu_;
    Image colour_, depth_, resolved_, texture_;
    Buffer texels_, vertices_, indices_, tint_, pixels_, counts_;
    Sampler sampler_;
    SetLayout set_layout_;
    PipelineLayout layout_;
    DescriptorPool pool_;
    VkDescriptorSet set_ = VK_NULL_HANDLE;
    RenderPass pass_;
    Framebuffer framebuffer_;
    GraphicsPipeline pipeline_;
    QueryPool queries_;
};

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
        .timelineSemaphore = VK_TRUE};
    Wishes wishes;
    wishes.features.occlusionQueryPrecise = VK_TRUE;
    wishes.next = &timeline;
    const Gpu gpu(wishes);
    Scene scene(gpu);
    scene.draw();
    const auto samples = scene.samples();

    const uint8_t* corner = scene.pixel(250, 5);
    expect(corner[0] == 51 && corner[1] == 51 && corner[2] == 51, "the clear colour is wrong");
    const uint8_t* first = scene.pixel(64, 64);
    expect(first[0] > first[1] + 40, "the nearer square is not in front");
    const uint8_t* second = scene.pixel(64, 160);
    expect(second[1] > second[0] + 40, "the farther square is not to be seen");
    const uint8_t* blended = scene.pixel(160, 160);
    expect(blended[1] > 40 && blended[1] < second[1], "the last square is not half transparent");
    expect(samples[0] > 0 && samples[1] > 0 && samples[2] > 0, "a query counted nothing");
    write_picture(options.text("out"), kSize, kSize, scene.rgba());
    say({{"program", "vk_scene"},
         {"samples_0", static_cast<int64_t>(samples[0])},
         {"samples_1", static_cast<int64_t>(samples[1])},
         {"samples_2", static_cast<int64_t>(samples[2])},
         {"hash", hash_of(scene.rgba())}});
}
