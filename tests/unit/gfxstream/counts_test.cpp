// SPDX-License-Identifier: Apache-2.0
// Numbers that drivers take for granted: counts in different structures that must agree, and
// indices into what another structure counts.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "gfxstream/vulkan/chain.h"
#include "unit/gfxstream/program.h"
#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {
namespace {

class Counts : public ::testing::Test {
  protected:
    Counts() { program.start(); }

    VkDescriptorSetLayout make_layout(std::span<const VkDescriptorSetLayoutBinding> bindings,
                                      const void* next = nullptr, VkResult expected = VK_SUCCESS) {
        const VkDescriptorSetLayoutCreateInfo info{
            VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, next, 0,
            static_cast<uint32_t>(bindings.size()), bindings.data()};
        VkDescriptorSetLayout made = VK_NULL_HANDLE;
        return program.create<VkDescriptorSetLayout>(
            guest::vkCreateDescriptorSetLayout{
                .self = program.device, .pCreateInfo = &info, .pSetLayout = &made},
            expected);
    }
    std::string layout_failure(const VkDescriptorSetLayoutBinding& binding) {
        const VkDescriptorSetLayoutCreateInfo info{
            VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
        VkDescriptorSetLayout made = VK_NULL_HANDLE;
        return program.failure_of(guest::vkCreateDescriptorSetLayout{
            .self = program.device, .pCreateInfo = &info, .pSetLayout = &made});
    }
    VkDescriptorPool make_pool(VkDescriptorType type, uint32_t count, uint32_t sets) {
        const VkDescriptorPoolSize size{type, count};
        const VkDescriptorPoolCreateInfo info{
            VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, sets, 1, &size};
        VkDescriptorPool made = VK_NULL_HANDLE;
        return program.create<VkDescriptorPool>(guest::vkCreateDescriptorPool{
            .self = program.device, .pCreateInfo = &info, .pDescriptorPool = &made});
    }
    VkDescriptorSet make_set(VkDescriptorPool pool, VkDescriptorSetLayout layout) {
        const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                               nullptr, pool, 1, &layout};
        VkDescriptorSet made = VK_NULL_HANDLE;
        return program.create<VkDescriptorSet>(guest::vkAllocateDescriptorSets{
            .self = program.device, .pAllocateInfo = &info, .pDescriptorSets = &made});
    }
    VkPipelineLayout make_pipeline_layout(std::span<const VkDescriptorSetLayout> sets) {
        const VkPipelineLayoutCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                              nullptr,
                                              0,
                                              static_cast<uint32_t>(sets.size()),
                                              sets.data(),
                                              0,
                                              nullptr};
        VkPipelineLayout made = VK_NULL_HANDLE;
        return program.create<VkPipelineLayout>(guest::vkCreatePipelineLayout{
            .self = program.device, .pCreateInfo = &info, .pPipelineLayout = &made});
    }
    /// Whether a recording of one command is taken.
    template <typename T>
    bool records(const T& command) {
        const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
        return program.flush(commands, GuestRecording().begin().add(command).bytes()).has_value();
    }
    VkRenderPass make_pass(uint32_t attachments, uint32_t subpasses = 1) {
        const std::vector<VkAttachmentDescription> list(
            attachments,
            {0, VK_FORMAT_R8G8B8A8_UNORM, VK_SAMPLE_COUNT_1_BIT, VK_ATTACHMENT_LOAD_OP_CLEAR,
             VK_ATTACHMENT_STORE_OP_STORE, VK_ATTACHMENT_LOAD_OP_DONT_CARE,
             VK_ATTACHMENT_STORE_OP_DONT_CARE, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL});
        std::vector<VkAttachmentReference> references;
        for (uint32_t i = 0; i < attachments; ++i)
            references.push_back({i, VK_IMAGE_LAYOUT_GENERAL});
        VkSubpassDescription subpass{};
        subpass.colorAttachmentCount = attachments;
        subpass.pColorAttachments = references.data();
        const std::vector<VkSubpassDescription> all(subpasses, subpass);
        VkRenderPassCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO;
        info.attachmentCount = attachments;
        info.pAttachments = list.data();
        info.subpassCount = subpasses;
        info.pSubpasses = all.data();
        VkRenderPass made = VK_NULL_HANDLE;
        return program.create<VkRenderPass>(guest::vkCreateRenderPass{
            .self = program.device, .pCreateInfo = &info, .pRenderPass = &made});
    }
    guest::vkCreateFramebuffer framebuffer_call(VkFramebufferCreateInfo& info, VkRenderPass pass,
                                                std::span<const VkImageView> views) {
        info = {};
        info.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO;
        info.renderPass = pass;
        info.attachmentCount = static_cast<uint32_t>(views.size());
        info.pAttachments = views.data();
        info.width = info.height = info.layers = 1;
        return {.self = program.device, .pCreateInfo = &info, .pFramebuffer = &framebuffer_};
    }

    Program program;
    VkFramebuffer framebuffer_ = VK_NULL_HANDLE;
};

/// A handle that there is in every World.
template <typename T>
T some() {
    return guest::handle_of_id<T>(World().id(kObjectTypeOf<T>));
}

constexpr VkShaderStageFlags kStages = VK_SHADER_STAGE_COMPUTE_BIT;

/// What a driver would be given for `structure`, and how many `member` of `Next` in its chain says.
template <typename Next, typename T>
uint32_t count_in_chain(const T& structure, LayoutId id, VkStructureType type,
                        uint32_t Next::* member) {
    World world;
    guest::Writer bytes;
    guest::encode(bytes, structure);
    T decoded{};
    Decoder in(bytes.bytes(), world.arena, world.pins, &count_checks());
    EXPECT_TRUE(in.structure(layout_of(id), &decoded)) << in.sentence();
    const auto* const next = find_in_chain<Next>(decoded.pNext, type);
    EXPECT_NE(next, nullptr);
    return next != nullptr ? next->*member : ~0U;
}

TEST_F(Counts, OtherBindingFlagsThanBindings_AreNone) {
    std::vector<VkDescriptorSetLayoutBinding> bindings;
    for (uint32_t i = 0; i < 4; ++i)
        bindings.push_back({i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, kStages, nullptr});
    const std::array<VkDescriptorBindingFlags, 5> flags{};
    for (uint32_t count = 0; count <= flags.size(); ++count) {
        const VkDescriptorSetLayoutBindingFlagsCreateInfo next{
            VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO, nullptr, count,
            flags.data()};
        make_layout(bindings, &next);
        const VkDescriptorSetLayoutCreateInfo info{
            VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, &next, 0, 4, bindings.data()};
        EXPECT_EQ(count_in_chain(info, LayoutId::VkDescriptorSetLayoutCreateInfo, next.sType,
                                 &VkDescriptorSetLayoutBindingFlagsCreateInfo::bindingCount),
                  count == 4 ? 4U : 0U);
    }
}

TEST_F(Counts, OtherFeedbackThanStages_IsNone) {
    std::array<VkPipelineCreationFeedback, 3> places{};
    VkPipelineCreationFeedbackCreateInfo feedback{};
    feedback.sType = VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO;
    feedback.pPipelineCreationFeedback = places.data();
    feedback.pPipelineStageCreationFeedbacks = places.data();
    VkComputePipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.pName = "main";
    info.stage.module = some<VkShaderModule>();
    info.layout = some<VkPipelineLayout>();
    info.pNext = &feedback;
    for (uint32_t count = 0; count <= places.size(); ++count) {
        feedback.pipelineStageCreationFeedbackCount = count;
        EXPECT_EQ(count_in_chain(
                      info, LayoutId::VkComputePipelineCreateInfo, feedback.sType,
                      &VkPipelineCreationFeedbackCreateInfo::pipelineStageCreationFeedbackCount),
                  count == 1 ? 1U : 0U);
    }
}

TEST_F(Counts, PipelinesForASubpassThatIsNotThere_LoseTheContext) {
    VkGraphicsPipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO;
    info.renderPass = make_pass(1, 2);
    info.layout = make_pipeline_layout({});
    VkPipeline made = VK_NULL_HANDLE;
    for (const uint32_t subpass : {2U, 0xffff'ffffU}) {
        info.subpass = subpass;
        const std::string sentence =
            program.failure_of(guest::vkCreateGraphicsPipelines{.self = program.device,
                                                                .createInfoCount = 1,
                                                                .pCreateInfos = &info,
                                                                .pPipelines = &made});
        EXPECT_NE(sentence.find("for the subpass " + std::to_string(subpass)), std::string::npos)
            << sentence;
    }
    EXPECT_EQ(program.count(ObjectType::kPipeline), 0U);
}

TEST_F(Counts, OtherViewsThanSubpasses_AreNone) {
    const std::array<uint32_t, 3> masks{1, 1, 1};
    const VkSubpassDescription subpasses[2] = {};
    VkRenderPassMultiviewCreateInfo views{};
    views.sType = VK_STRUCTURE_TYPE_RENDER_PASS_MULTIVIEW_CREATE_INFO;
    views.pViewMasks = masks.data();
    VkRenderPassCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO;
    info.pNext = &views;
    info.subpassCount = 2;
    info.pSubpasses = subpasses;
    for (uint32_t count = 0; count <= masks.size(); ++count) {
        views.subpassCount = count;
        EXPECT_EQ(count_in_chain(info, LayoutId::VkRenderPassCreateInfo, views.sType,
                                 &VkRenderPassMultiviewCreateInfo::subpassCount),
                  count == 2 ? 2U : 0U);
    }
}

TEST_F(Counts, BindingNumbersAndImmutableSamplers_AreLookedAt) {
    layout_failure({~0U, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, kStages, nullptr});
    layout_failure({1U << 16, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, kStages, nullptr});
    const VkSampler none = VK_NULL_HANDLE;
    layout_failure({0, VK_DESCRIPTOR_TYPE_SAMPLER, 1, kStages, &none});
    const VkDescriptorSetLayoutBinding other{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, kStages,
                                             &none};
    make_layout({&other, 1});
}

// Drivers read as many of what the guest sends otherwise: acceleration structures.
TEST_F(Counts, DescriptorsThatNoGuestIsOffered_LoseTheContext) {
    for (const VkDescriptorType type :
         {VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, VK_DESCRIPTOR_TYPE_MUTABLE_EXT,
          VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_NV, VkDescriptorType(11),
          VkDescriptorType(~0U)})
        layout_failure({0, type, 1, kStages, nullptr});
    for (uint32_t type = 0; type <= VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT; ++type) {
        const VkDescriptorSetLayoutBinding one{0, static_cast<VkDescriptorType>(type), 1, kStages,
                                               nullptr};
        make_layout({&one, 1});
    }
}

TEST_F(Counts, InlineUniforms_AreAsManyAsWritten) {
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 16,
                                               kStages, nullptr};
    const VkDescriptorSet set = make_set(make_pool(VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 64, 4),
                                         make_layout({&binding, 1}));
    const uint32_t data[4] = {};
    VkWriteDescriptorSetInlineUniformBlock block{
        VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK, nullptr, 4, data};
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = set;
    write.descriptorType = VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
    write.descriptorCount = 16;
    const guest::vkUpdateDescriptorSets update{
        .self = program.device, .descriptorWriteCount = 1, .pDescriptorWrites = &write};
    program.failure_of(update);  // no bytes at all
    write.pNext = &block;
    program.failure_of(update);  // too few
    block.dataSize = 16;
    write.descriptorCount = 4;
    program.failure_of(update);  // too many
}

TEST_F(Counts, SpecializationConstants_LieInTheirData) {
    const auto make = [&](uint32_t offset, uint64_t size) {
        const uint32_t data[2] = {};
        const VkSpecializationMapEntry entry{0, offset, size};
        const VkSpecializationInfo constants{1, &entry, sizeof(data), data};
        VkComputePipelineCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
        info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
        info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
        info.stage.pName = "main";
        info.stage.pSpecializationInfo = &constants;
        VkPipeline made = VK_NULL_HANDLE;
        return program.failure_of(guest::vkCreateComputePipelines{.self = program.device,
                                                                  .createInfoCount = 1,
                                                                  .pCreateInfos = &info,
                                                                  .pPipelines = &made});
    };
    for (const auto& [offset, size] :
         {std::pair<uint32_t, uint64_t>{8, 4}, {5, 4}, {0, 9}, {4, ~uint64_t{0}}, {~0U, 4}})
        EXPECT_NE(make(offset, size).find("specialization"), std::string::npos) << offset;
}

/// Whether the checks accept it.
template <typename T>
bool accepted(const T& structure, LayoutId id) {
    World world;
    guest::Writer bytes;
    guest::encode(bytes, structure);
    T decoded{};
    Decoder in(bytes.bytes(), world.arena, world.pins, &count_checks());
    return in.structure(layout_of(id), &decoded);
}

TEST_F(Counts, VertexInput_FitsTheDrivers) {
    VkVertexInputBindingDescription binding{31, 4, VK_VERTEX_INPUT_RATE_VERTEX};
    VkVertexInputAttributeDescription attribute{31, 31, VK_FORMAT_R8_UINT, 0};
    VkVertexInputBindingDivisorDescription divisor{31, 1};
    VkPipelineVertexInputDivisorStateCreateInfo divisors{};
    divisors.sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_DIVISOR_STATE_CREATE_INFO;
    divisors.vertexBindingDivisorCount = 1;
    divisors.pVertexBindingDivisors = &divisor;
    VkPipelineVertexInputStateCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO;
    info.pNext = &divisors;
    info.vertexBindingDescriptionCount = 1;
    info.pVertexBindingDescriptions = &binding;
    info.vertexAttributeDescriptionCount = 1;
    info.pVertexAttributeDescriptions = &attribute;
    const auto fits = [&] {
        return accepted(info, LayoutId::VkPipelineVertexInputStateCreateInfo);
    };
    EXPECT_TRUE(fits());
    for (uint32_t* const number :
         {&binding.binding, &attribute.binding, &attribute.location, &divisor.binding}) {
        *number = 32;
        EXPECT_FALSE(fits());
        *number = ~0U;
        EXPECT_FALSE(fits());
        *number = 0;
        EXPECT_TRUE(fits());
    }
}

TEST_F(Counts, FixedArraysOfPipelines_FitTheDrivers) {
    const std::array<VkPipelineColorBlendAttachmentState, 9> attachments{};
    VkPipelineColorBlendStateCreateInfo blend{};
    blend.sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO;
    blend.pAttachments = attachments.data();
    VkPipelineViewportStateCreateInfo viewport{};
    viewport.sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO;
    for (const uint32_t count : {8U, 9U}) {
        blend.attachmentCount = count;
        EXPECT_EQ(accepted(blend, LayoutId::VkPipelineColorBlendStateCreateInfo), count == 8);
        viewport.viewportCount = viewport.scissorCount = 2 * count;
        EXPECT_EQ(accepted(viewport, LayoutId::VkPipelineViewportStateCreateInfo), count == 8);
    }
}

TEST_F(Counts, ControlPoints_FitTheDrivers) {
    VkPipelineTessellationStateCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_TESSELLATION_STATE_CREATE_INFO;
    for (const uint32_t count : {32U, 33U, ~0U}) {
        info.patchControlPoints = count;
        EXPECT_EQ(accepted(info, LayoutId::VkPipelineTessellationStateCreateInfo), count == 32);
    }
}

TEST_F(Counts, CodeOfShaders_IsWholeWords) {
    const uint32_t words[2] = {};
    VkShaderModuleCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.pCode = words;
    for (const size_t size : {4U, 5U, 6U, 7U, 8U}) {
        info.codeSize = size;
        EXPECT_EQ(accepted(info, LayoutId::VkShaderModuleCreateInfo), size % 4 == 0);
    }
}

// Drivers copy as many as these say into arrays of 4 and 32.
TEST_F(Counts, StructuresOfWhatNoGuestIsOffered_DoNotReachTheDriver) {
    World world;
    std::array<VkSampleLocationEXT, 64> places{};
    VkPipelineSampleLocationsStateCreateInfoEXT locations{};
    locations.sType = VK_STRUCTURE_TYPE_PIPELINE_SAMPLE_LOCATIONS_STATE_CREATE_INFO_EXT;
    locations.sampleLocationsInfo.sType = VK_STRUCTURE_TYPE_SAMPLE_LOCATIONS_INFO_EXT;
    locations.sampleLocationsInfo.sampleLocationsCount = places.size();
    locations.sampleLocationsInfo.pSampleLocations = places.data();
    VkPipelineMultisampleStateCreateInfo samples{};
    samples.sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO;
    samples.pNext = &locations;
    samples.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
    guest::Writer bytes;
    guest::encode(bytes, samples);
    VkPipelineMultisampleStateCreateInfo decoded{};
    Decoder in(bytes.bytes(), world.arena, world.pins, &count_checks());
    ASSERT_TRUE(in.structure(layout_of(LayoutId::VkPipelineMultisampleStateCreateInfo), &decoded));
    EXPECT_EQ(decoded.pNext, nullptr);
}

// What a program asks the device for comes back with the chain that it sent.
TEST_F(Counts, QuestionsForWhatNoGuestIsOffered_AreAnswered) {
    VkPhysicalDeviceMeshShaderFeaturesEXT mesh{};
    mesh.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MESH_SHADER_FEATURES_EXT;
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    const size_t bare = program
                            .call(guest::vkGetPhysicalDeviceFeatures2{.self = program.physical,
                                                                      .pFeatures = &features})
                            .size();
    features.pNext = &mesh;
    const size_t whole = program
                             .call(guest::vkGetPhysicalDeviceFeatures2{.self = program.physical,
                                                                       .pFeatures = &features})
                             .size();
    EXPECT_GT(whole, bare + 5 * sizeof(VkBool32));
}

TEST_F(Counts, PipelinesThatRasterize_HaveTheirViewports) {
    VkPipelineRasterizationStateCreateInfo rasterization{};
    rasterization.sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO;
    VkPipelineMultisampleStateCreateInfo samples{};
    samples.sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO;
    samples.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
    const VkViewport viewport{};
    const VkRect2D scissor{};
    VkPipelineViewportStateCreateInfo viewports{};
    viewports.sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO;
    viewports.viewportCount = viewports.scissorCount = 1;
    viewports.pViewports = &viewport;
    viewports.pScissors = &scissor;
    VkGraphicsPipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO;
    info.layout = some<VkPipelineLayout>();
    info.pRasterizationState = &rasterization;
    info.pMultisampleState = &samples;
    info.pViewportState = &viewports;
    const auto fits = [&] { return accepted(info, LayoutId::VkGraphicsPipelineCreateInfo); };
    EXPECT_TRUE(fits());
    viewports.pViewports = nullptr;
    EXPECT_FALSE(fits());
    const VkDynamicState dynamic = VK_DYNAMIC_STATE_VIEWPORT;
    VkPipelineDynamicStateCreateInfo states{};
    states.sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO;
    states.dynamicStateCount = 1;
    states.pDynamicStates = &dynamic;
    info.pDynamicState = &states;
    EXPECT_TRUE(fits());
    info.pMultisampleState = nullptr;
    EXPECT_FALSE(fits());
    rasterization.rasterizerDiscardEnable = VK_TRUE;
    EXPECT_TRUE(fits());
}

TEST_F(Counts, DynamicOffsets_AreAsManyAsTheSetsHave) {
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, 3,
                                               kStages, nullptr};
    const VkDescriptorSetLayoutBinding plain{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, kStages,
                                             nullptr};
    const VkDescriptorSetLayout dynamic = make_layout({&binding, 1});
    const VkDescriptorSetLayout fixed = make_layout({&plain, 1});
    const VkPipelineLayout layout =
        make_pipeline_layout(std::array<VkDescriptorSetLayout, 2>{dynamic, fixed});
    const VkDescriptorPool pool = make_pool(VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, 16, 4);
    const VkDescriptorSet set = make_set(pool, dynamic);
    const VkDescriptorSet other = make_set(pool, fixed);
    const std::array<uint32_t, 4> offsets{};
    const auto bind = [&](uint32_t first, std::vector<VkDescriptorSet> sets, uint32_t count) {
        return records(
            guest::vkCmdBindDescriptorSets{.pipelineBindPoint = VK_PIPELINE_BIND_POINT_COMPUTE,
                                           .layout = layout,
                                           .firstSet = first,
                                           .descriptorSetCount = static_cast<uint32_t>(sets.size()),
                                           .pDescriptorSets = sets.data(),
                                           .dynamicOffsetCount = count,
                                           .pDynamicOffsets = offsets.data()});
    };
    EXPECT_TRUE(bind(0, {set}, 3));
    EXPECT_TRUE(bind(0, {set, other}, 3));
    EXPECT_TRUE(bind(1, {other}, 0));
    EXPECT_FALSE(bind(0, {set}, 0));
    EXPECT_FALSE(bind(0, {set}, 2));
    EXPECT_FALSE(bind(0, {set}, 4));
    EXPECT_FALSE(bind(1, {set}, 3)) << "That set has none.";
    EXPECT_FALSE(bind(0, {other}, 3)) << "Nor does this one.";
    EXPECT_FALSE(bind(1, {VK_NULL_HANDLE}, 0));
    EXPECT_FALSE(bind(2, {other}, 0));
    EXPECT_FALSE(bind(~0U, {other}, 0));
    EXPECT_FALSE(records(guest::vkCmdBindDescriptorSets{
        .pipelineBindPoint = VK_PIPELINE_BIND_POINT_RAY_TRACING_KHR, .layout = layout}));
}

TEST_F(Counts, TooManySetsAndPushConstants_LoseTheContext) {
    const std::vector<VkDescriptorSetLayout> many(
        software_host().limits().maxBoundDescriptorSets + 1, make_layout({}));
    VkPipelineLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    info.setLayoutCount = static_cast<uint32_t>(many.size());
    info.pSetLayouts = many.data();
    VkPipelineLayout made = VK_NULL_HANDLE;
    const guest::vkCreatePipelineLayout create{
        .self = program.device, .pCreateInfo = &info, .pPipelineLayout = &made};
    program.failure_of(create);
    info.setLayoutCount = 0;
    const VkPushConstantRange range{kStages, 128, 132};
    info.pushConstantRangeCount = 1;
    info.pPushConstantRanges = &range;
    program.failure_of(create);
    const std::array<std::byte, 128> bytes{};
    EXPECT_FALSE(records(guest::vkCmdPushConstants{.layout = make_pipeline_layout({}),
                                                   .stageFlags = kStages,
                                                   .offset = 192,
                                                   .size = 128,
                                                   .pValues = bytes.data()}));
}

TEST_F(Counts, RecordedArrays_FitTheDrivers) {
    const std::array<VkViewport, 17> viewports{};
    const std::array<VkRect2D, 17> scissors{};
    const auto viewport = [&](uint32_t first, uint32_t count) {
        return records(guest::vkCmdSetViewport{
            .firstViewport = first, .viewportCount = count, .pViewports = viewports.data()});
    };
    EXPECT_TRUE(viewport(0, 16));
    EXPECT_TRUE(viewport(15, 1));
    EXPECT_FALSE(viewport(0, 17));
    EXPECT_FALSE(viewport(16, 1));
    EXPECT_FALSE(viewport(~0U, 2));
    EXPECT_FALSE(records(guest::vkCmdSetScissor{
        .firstScissor = 1, .scissorCount = 16, .pScissors = scissors.data()}));
    const VkBuffer buffer = program.make_buffer(64, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
    const VkDeviceSize offset = 0;
    EXPECT_FALSE(records(guest::vkCmdBindVertexBuffers{
        .firstBinding = 32, .bindingCount = 1, .pBuffers = &buffer, .pOffsets = &offset}));
    EXPECT_FALSE(records(guest::vkCmdBindVertexBuffers{
        .firstBinding = ~0U, .bindingCount = 1, .pBuffers = &buffer, .pOffsets = &offset}));
}

TEST_F(Counts, SubpassesAndAttachments_Exist) {
    VkAttachmentDescription attachment{};
    attachment.samples = VK_SAMPLE_COUNT_1_BIT;
    attachment.format = VK_FORMAT_R8G8B8A8_UNORM;
    VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_GENERAL};
    VkSubpassDependency dependency{};
    dependency.srcSubpass = VK_SUBPASS_EXTERNAL;
    VkSubpassDescription subpass{};
    subpass.colorAttachmentCount = 1;
    subpass.pColorAttachments = &reference;
    VkRenderPassCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO;
    info.attachmentCount = 1;
    info.pAttachments = &attachment;
    info.subpassCount = 1;
    info.pSubpasses = &subpass;
    info.dependencyCount = 1;
    info.pDependencies = &dependency;
    VkRenderPass made = VK_NULL_HANDLE;
    const guest::vkCreateRenderPass create{
        .self = program.device, .pCreateInfo = &info, .pRenderPass = &made};
    program.create<VkRenderPass>(create);
    reference.attachment = 1;
    program.failure_of(create);
    reference.attachment = 0;
    subpass.pResolveAttachments = &reference;
    program.create<VkRenderPass>(create);
    const VkAttachmentReference far{7, VK_IMAGE_LAYOUT_GENERAL};
    subpass.pResolveAttachments = &far;
    program.failure_of(create);
    subpass.pResolveAttachments = nullptr;
    subpass.pDepthStencilAttachment = &far;
    program.failure_of(create);
    subpass.pDepthStencilAttachment = nullptr;
    dependency.dstSubpass = 1;
    program.failure_of(create);
    dependency.dstSubpass = 0;
    const uint32_t kept = 1;
    subpass.preserveAttachmentCount = 1;
    subpass.pPreserveAttachments = &kept;
    program.failure_of(create);
    subpass.preserveAttachmentCount = 0;
    info.subpassCount = 0;
    program.failure_of(create);
}

TEST_F(Counts, FramebuffersAndClearValues_FitTheirRenderPass) {
    VkFramebufferCreateInfo info{};
    const VkRenderPass none = make_pass(0, 2);
    const VkRenderPass two = make_pass(2);
    program.failure_of(framebuffer_call(info, two, {}));
    const std::array<VkImageView, 2> views{};
    program.failure_of(framebuffer_call(info, two, views));  // they are null
    const auto framebuffer = program.create<VkFramebuffer>(framebuffer_call(info, none, {}));
    const auto begin = [&](VkRenderPass pass) {
        VkRenderPassBeginInfo start{};
        start.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO;
        start.renderPass = pass;
        start.framebuffer = framebuffer;
        start.renderArea = {{0, 0}, {1, 1}};
        GuestRecording recording;
        recording.begin().add(guest::vkCmdBeginRenderPass{.pRenderPassBegin = &start});
        return recording;
    };
    const auto flushes = [&](const GuestRecording& recording) {
        const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
        return program.flush(commands, recording.bytes()).has_value();
    };
    EXPECT_TRUE(flushes(begin(none)));
    EXPECT_FALSE(flushes(begin(two)));
    EXPECT_TRUE(flushes(begin(none).add(guest::vkCmdNextSubpass{})));
    EXPECT_FALSE(
        flushes(begin(none).add(guest::vkCmdNextSubpass{}).add(guest::vkCmdNextSubpass{})));
    EXPECT_FALSE(records(guest::vkCmdNextSubpass{}));
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
