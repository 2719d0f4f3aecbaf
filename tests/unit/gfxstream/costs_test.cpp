// SPDX-License-Identifier: Apache-2.0
// What a guest makes the driver hold is paid for out of its budget (invariant I5), refused as the
// command allows when that is spent, and given back with the object.
#include "gfxstream/vulkan/costs.h"

#include <gtest/gtest.h>

#include <vector>

#include "unit/gfxstream/program.h"

namespace swede::gfxstream::vulkan {
namespace {

// void main() {}
constexpr uint32_t kShader[] = {0x07230203, 0x00010000, 0,          5, 0, 0x00020011, 1, 0x0003000e,
                                0,          1,          0x0005000f, 5, 1, 0x6e69616d, 0, 0x00060010,
                                1,          17,         1,          1, 1, 0x00020013, 2, 0x00030021,
                                3,          2,          0x00050036, 2, 1, 0,          3, 0x000200f8,
                                4,          0x000100fd, 0x00010038};

VkShaderModuleCreateInfo shader() {
    VkShaderModuleCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.codeSize = sizeof(kShader);
    info.pCode = kShader;
    return info;
}

class Costs : public ::testing::Test {
  protected:
    Costs() {
        program.start();
        before_ = used();
    }

    [[nodiscard]] uint64_t used() {
        return program.services.budget()->used(BudgetKind::kHostBytes);
    }
    /// What was paid since the program started.
    [[nodiscard]] uint64_t paid() { return used() - before_; }
    /// Leaves less than `bytes` of the budget.
    void spend_all_but(uint64_t bytes) {
        const std::shared_ptr<Budget>& budget = program.services.budget();
        auto charge = budget->charge(BudgetKind::kHostBytes,
                                     budget->limit(BudgetKind::kHostBytes) - used() - bytes + 1);
        ASSERT_TRUE(charge) << charge.error().message;
        spent_.push_back(*std::move(charge));
    }

    template <typename T>
    VkDescriptorPool make_pool(const T& sizes, uint32_t sets, VkResult expected = VK_SUCCESS) {
        VkDescriptorPoolCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
        info.flags = VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT;
        info.maxSets = sets;
        info.poolSizeCount = static_cast<uint32_t>(std::size(sizes));
        info.pPoolSizes = std::data(sizes);
        VkDescriptorPool made = VK_NULL_HANDLE;
        return program.create<VkDescriptorPool>(
            guest::vkCreateDescriptorPool{
                .self = program.device, .pCreateInfo = &info, .pDescriptorPool = &made},
            expected);
    }
    VkDescriptorSetLayout make_layout(uint32_t binding, uint32_t descriptors,
                                      VkResult expected = VK_SUCCESS) {
        const VkDescriptorSetLayoutBinding one{binding, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                               descriptors, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
        VkDescriptorSetLayoutCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
        info.bindingCount = 1;
        info.pBindings = &one;
        VkDescriptorSetLayout made = VK_NULL_HANDLE;
        return program.create<VkDescriptorSetLayout>(
            guest::vkCreateDescriptorSetLayout{
                .self = program.device, .pCreateInfo = &info, .pSetLayout = &made},
            expected);
    }
    VkDescriptorSet make_set(VkDescriptorPool pool, VkDescriptorSetLayout layout,
                             VkResult expected = VK_SUCCESS) {
        VkDescriptorSetAllocateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
        info.descriptorPool = pool;
        info.descriptorSetCount = 1;
        info.pSetLayouts = &layout;
        VkDescriptorSet made = VK_NULL_HANDLE;
        return program.create<VkDescriptorSet>(
            guest::vkAllocateDescriptorSets{
                .self = program.device, .pAllocateInfo = &info, .pDescriptorSets = &made},
            expected);
    }

    VkComputePipelineCreateInfo compute_pipeline(VkShaderModule module) {
        VkPipelineLayoutCreateInfo layout_info{};
        layout_info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
        VkPipelineLayout layout = VK_NULL_HANDLE;
        VkComputePipelineCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
        info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
        info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
        info.stage.module = module;
        info.stage.pName = "main";
        info.layout = program.create<VkPipelineLayout>(guest::vkCreatePipelineLayout{
            .self = program.device, .pCreateInfo = &layout_info, .pPipelineLayout = &layout});
        return info;
    }

    Program program;

  private:
    uint64_t before_ = 0;
    std::vector<Budget::Charge> spent_;
};

constexpr VkDescriptorType kBuffers = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;

TEST_F(Costs, DescriptorPools_PayForTheirSetsAndDescriptors) {
    const VkDescriptorPoolSize size{kBuffers, 1000};
    const VkDescriptorPool pool = make_pool(std::span(&size, 1), 10);
    EXPECT_EQ(paid(), 10 * cost::kDescriptorSet + 1000 * cost::kDescriptor);
    program.call(guest::vkDestroyDescriptorPool{.self = program.device, .descriptorPool = pool});
    EXPECT_EQ(paid(), 0U);
    const VkDescriptorPoolSize huge[2] = {{kBuffers, ~0U}, {kBuffers, ~0U}};
    make_pool(huge, 1, VK_ERROR_OUT_OF_HOST_MEMORY);
    const VkDescriptorPoolSize many{kBuffers, (1U << 24) + 1};  // there is budget for it
    make_pool(std::span(&many, 1), 1, VK_ERROR_OUT_OF_HOST_MEMORY);
    make_pool(std::span(&size, 1), (1U << 20) + 1, VK_ERROR_OUT_OF_HOST_MEMORY);
    spend_all_but(1000 * cost::kDescriptor);
    make_pool(std::span(&size, 1), 1, VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, InlineUniformBlocks_PayForTheirBytes) {
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 4096};
    make_pool(std::span(&size, 1), 1);
    EXPECT_EQ(paid(), cost::kDescriptorSet + 4096);
}

TEST_F(Costs, SetLayouts_PayForTheirSamplers) {
    VkSamplerCreateInfo sampler_info{};
    sampler_info.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO;
    VkSampler sampler = VK_NULL_HANDLE;
    sampler = program.create<VkSampler>(guest::vkCreateSampler{
        .self = program.device, .pCreateInfo = &sampler_info, .pSampler = &sampler});
    const uint64_t base = paid();
    const VkSampler samplers[] = {sampler, sampler, sampler};
    const VkDescriptorSetLayoutBinding binding{1, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 3,
                                               VK_SHADER_STAGE_COMPUTE_BIT, samplers};
    VkDescriptorSetLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    info.bindingCount = 1;
    info.pBindings = &binding;
    VkDescriptorSetLayout made = VK_NULL_HANDLE;
    program.create<VkDescriptorSetLayout>(guest::vkCreateDescriptorSetLayout{
        .self = program.device, .pCreateInfo = &info, .pSetLayout = &made});
    EXPECT_EQ(paid() - base, 2 * cost::kBinding + 3 * cost::kDescriptor);
}

TEST_F(Costs, DescriptorSets_AreNoMoreThanTheirPoolIsFor) {
    const VkDescriptorPoolSize size{kBuffers, 8};
    const VkDescriptorPool pool = make_pool(std::span(&size, 1), 4);
    const VkDescriptorSetLayout one = make_layout(0, 1);
    const VkDescriptorSetLayout three = make_layout(0, 3);
    const VkDescriptorSet first = make_set(pool, three);
    make_set(pool, three);
    make_set(pool, three, VK_ERROR_OUT_OF_POOL_MEMORY);  // descriptors
    make_set(pool, one);
    make_set(pool, one);
    make_set(pool, one, VK_ERROR_OUT_OF_POOL_MEMORY);  // sets
    EXPECT_EQ(program.result_of(guest::vkFreeDescriptorSets{.self = program.device,
                                                            .descriptorPool = pool,
                                                            .descriptorSetCount = 1,
                                                            .pDescriptorSets = &first}),
              VK_SUCCESS);
    make_set(pool, three);
    EXPECT_EQ(program.result_of(
                  guest::vkResetDescriptorPool{.self = program.device, .descriptorPool = pool}),
              VK_SUCCESS);
    for (int i = 0; i < 4; ++i) make_set(pool, one);
    make_set(pool, one, VK_ERROR_OUT_OF_POOL_MEMORY);
}

TEST_F(Costs, SetLayouts_PayForTheirBindings) {
    const VkDescriptorSetLayout layout = make_layout(99, 1);
    EXPECT_EQ(paid(), 100 * cost::kBinding);
    program.call(
        guest::vkDestroyDescriptorSetLayout{.self = program.device, .descriptorSetLayout = layout});
    EXPECT_EQ(paid(), 0U);
    make_layout(0, (1U << 24) + 1, VK_ERROR_OUT_OF_HOST_MEMORY);
    spend_all_but(100 * cost::kBinding);
    make_layout(99, 1, VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, QueryPools_PayForTheirQueries) {
    VkQueryPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_OCCLUSION;
    info.queryCount = 1000;
    VkQueryPool pool = VK_NULL_HANDLE;
    const guest::vkCreateQueryPool create{
        .self = program.device, .pCreateInfo = &info, .pQueryPool = &pool};
    const auto made = program.create<VkQueryPool>(create);
    EXPECT_EQ(paid(), 1000 * cost::kQuery);
    program.call(guest::vkDestroyQueryPool{.self = program.device, .queryPool = made});
    EXPECT_EQ(paid(), 0U);
    spend_all_but(1000 * cost::kQuery);
    program.create<VkQueryPool>(create, VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, ShaderModules_PayForTheirCode) {
    const VkShaderModuleCreateInfo info = shader();
    VkShaderModule made = VK_NULL_HANDLE;
    const guest::vkCreateShaderModule create{
        .self = program.device, .pCreateInfo = &info, .pShaderModule = &made};
    const auto module = program.create<VkShaderModule>(create);
    EXPECT_EQ(paid(), sizeof(kShader) * cost::kShaderCode);

    const VkComputePipelineCreateInfo pipeline_info = compute_pipeline(module);
    VkPipeline pipeline = VK_NULL_HANDLE;
    const guest::vkCreateComputePipelines make{.self = program.device,
                                               .createInfoCount = 1,
                                               .pCreateInfos = &pipeline_info,
                                               .pPipelines = &pipeline};
    pipeline = program.create<VkPipeline>(make);
    const uint64_t price = cost::kPipeline + sizeof(kShader) * cost::kPipelineCode;
    EXPECT_EQ(paid(), sizeof(kShader) * cost::kShaderCode + price + price / cost::kCachedPart)
        << "The device's own cache has it as well.";
    // It is a compute pipeline.
    const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
    const auto bind = [&](VkPipelineBindPoint point) {
        const guest::vkCmdBindPipeline command{.pipelineBindPoint = point, .pipeline = pipeline};
        return program
            .flush(commands, GuestRecording()
                                 .add(guest::vkResetCommandBufferAsyncGOOGLE{})
                                 .begin()
                                 .add(command)
                                 .end()
                                 .bytes())
            .has_value();
    };
    EXPECT_TRUE(bind(VK_PIPELINE_BIND_POINT_COMPUTE));
    EXPECT_FALSE(bind(VK_PIPELINE_BIND_POINT_GRAPHICS));
    EXPECT_FALSE(bind(VK_PIPELINE_BIND_POINT_RAY_TRACING_KHR));

    const uint64_t before = paid();
    const std::vector<VkComputePipelineCreateInfo> many(cost::kMostPipelines + 1, pipeline_info);
    std::vector<VkPipeline> pipelines(many.size());
    Answer answer = program.call(
        guest::vkCreateComputePipelines{.self = program.device,
                                        .createInfoCount = static_cast<uint32_t>(many.size()),
                                        .pCreateInfos = many.data(),
                                        .pPipelines = pipelines.data()});
    for (size_t i = 0; i < many.size(); ++i) EXPECT_EQ(answer.handle<VkPipeline>(), VkPipeline{});
    EXPECT_EQ(answer.result(), VK_ERROR_OUT_OF_HOST_MEMORY);
    EXPECT_EQ(paid(), before);

    // One of two stages; it never comes to the driver.
    VkGraphicsPipelineCreateInfo graphics{};
    graphics.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO;
    const VkPipelineShaderStageCreateInfo stages[] = {pipeline_info.stage, pipeline_info.stage};
    graphics.stageCount = 2;
    graphics.pStages = stages;
    graphics.layout = pipeline_info.layout;
    VkPipelineRasterizationStateCreateInfo rasterization{};
    rasterization.sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO;
    rasterization.rasterizerDiscardEnable = VK_TRUE;
    graphics.pRasterizationState = &rasterization;
    spend_all_but(cost::kPipeline + 2 * sizeof(kShader) * cost::kPipelineCode);
    VkPipeline drawn = VK_NULL_HANDLE;
    program.create<VkPipeline>(guest::vkCreateGraphicsPipelines{.self = program.device,
                                                                .createInfoCount = 1,
                                                                .pCreateInfos = &graphics,
                                                                .pPipelines = &drawn},
                               VK_ERROR_OUT_OF_HOST_MEMORY);

    spend_all_but(sizeof(kShader) * cost::kShaderCode);
    program.create<VkShaderModule>(create, VK_ERROR_OUT_OF_HOST_MEMORY);
    program.create<VkPipeline>(make, VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, PipelineCaches_PayForWhatTheyKeep) {
    const VkShaderModuleCreateInfo module_info = shader();
    VkShaderModule module = VK_NULL_HANDLE;
    VkComputePipelineCreateInfo pipeline_info =
        compute_pipeline(program.create<VkShaderModule>(guest::vkCreateShaderModule{
            .self = program.device, .pCreateInfo = &module_info, .pShaderModule = &module}));
    const auto make_cache = [&] {
        VkPipelineCacheCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
        VkPipelineCache made = VK_NULL_HANDLE;
        return program.create<VkPipelineCache>(guest::vkCreatePipelineCache{
            .self = program.device, .pCreateInfo = &info, .pPipelineCache = &made});
    };
    const auto compile = [&](VkPipelineCache cache) {
        VkPipeline made = VK_NULL_HANDLE;
        made = program.create<VkPipeline>(
            guest::vkCreateComputePipelines{.self = program.device,
                                            .pipelineCache = cache,
                                            .createInfoCount = 1,
                                            .pCreateInfos = &pipeline_info,
                                            .pPipelines = &made});
        program.call(guest::vkDestroyPipeline{.self = program.device, .pipeline = made});
    };
    const auto merge = [&](VkPipelineCache to, const std::vector<VkPipelineCache>& from) {
        return guest::vkMergePipelineCaches{.self = program.device,
                                            .dstCache = to,
                                            .srcCacheCount = static_cast<uint32_t>(from.size()),
                                            .pSrcCaches = from.data()};
    };
    const VkPipelineCache cache = make_cache();
    const VkPipelineCache other = make_cache();
    const uint64_t before = paid();
    const uint64_t price = cost::kPipeline + sizeof(kShader) * cost::kPipelineCode;
    const uint64_t kept = price / cost::kCachedPart;
    compile(cache);
    EXPECT_EQ(paid(), before + kept) << "It stays when the pipeline has gone.";
    compile(cache);
    EXPECT_EQ(paid(), before + 2 * kept);
    EXPECT_EQ(program.result_of(merge(other, {cache})), VK_SUCCESS);
    EXPECT_EQ(paid(), before + 4 * kept);
    program.call(guest::vkDestroyPipelineCache{.self = program.device, .pipelineCache = other});
    EXPECT_EQ(paid(), before + 2 * kept);

    EXPECT_EQ(program.result_of(merge(make_cache(), {cache, cache, cache})), VK_SUCCESS);
    EXPECT_EQ(paid(), before + 4 * kept) << "Each is there once.";

    // What seems full costs what the driver says that it is: this one keeps nothing there.
    const VkPipelineCache full = make_cache();
    const uint64_t start = paid();
    uint64_t most = start;
    do {
        most = paid();
        ASSERT_LE(most, start + cost::kMostCached);
        ASSERT_EQ(program.result_of(merge(full, {cache})), VK_SUCCESS);
    } while (paid() > most);
    EXPECT_GT(most, start + cost::kMostCached - 2 * kept);
    EXPECT_LT(paid(), start + 4 * kept);
    EXPECT_GE(paid(), start + 2 * kept);
    compile(full);
    program.call(guest::vkDestroyPipelineCache{.self = program.device, .pipelineCache = full});
    EXPECT_EQ(paid(), start);

    // Nothing came of it, nothing stays. (This driver has nothing in its caches.)
    pipeline_info.flags = VK_PIPELINE_CREATE_FAIL_ON_PIPELINE_COMPILE_REQUIRED_BIT;
    VkPipeline none = VK_NULL_HANDLE;
    none =
        program.create<VkPipeline>(guest::vkCreateComputePipelines{.self = program.device,
                                                                   .pipelineCache = cache,
                                                                   .createInfoCount = 1,
                                                                   .pCreateInfos = &pipeline_info,
                                                                   .pPipelines = &none},
                                   VK_PIPELINE_COMPILE_REQUIRED);
    EXPECT_EQ(paid(), start);
    pipeline_info.flags = 0;

    // One that cannot be paid for is used no more, and no program sees a difference.
    spend_all_but(price + 1);
    const uint64_t all = paid();
    compile(cache);
    EXPECT_EQ(paid(), all);
    program.failure_of(merge(cache, {cache}));
}

TEST_F(Costs, Recordings_PayUntilTheyAreBegunAnewOrGone) {
    const VkCommandPool pool = program.make_pool();
    const VkCommandBuffer commands = program.make_command_buffer(pool);
    const VkBuffer buffer = program.make_buffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    program.bind(buffer, program.make_memory(4096, Program::mapped_type()));
    const uint64_t base = paid();
    GuestRecording begin;
    begin.begin();
    GuestRecording fill;
    for (int i = 0; i < 100; ++i)
        fill.add(guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 4, .data = 1});
    GuestRecording end;
    end.end();
    const auto flush = [&](const GuestRecording& part) {
        const auto flushed = program.flush(commands, part.bytes());
        EXPECT_TRUE(flushed) << flushed.error().message;
    };
    const auto price = [](const GuestRecording& part) {
        return part.bytes().size() * cost::kRecording;
    };
    for (int i = 0; i < 3; ++i) {  // each anew
        flush(begin);
        EXPECT_EQ(paid(), base + price(begin));
        flush(fill);
        flush(fill);
        flush(end);
        EXPECT_EQ(paid(), base + price(begin) + 2 * price(fill) + price(end));
        flush(GuestRecording());
        EXPECT_EQ(paid(), base + price(begin) + 2 * price(fill) + price(end));
    }
    EXPECT_EQ(
        program.result_of(guest::vkResetCommandPool{.self = program.device, .commandPool = pool}),
        VK_SUCCESS);
    EXPECT_EQ(paid(), base);
    flush(begin);
    program.call(guest::vkFreeCommandBuffers{.self = program.device,
                                             .commandPool = pool,
                                             .commandBufferCount = 1,
                                             .pCommandBuffers = &commands});
    EXPECT_EQ(paid(), base - cost::kCommandBuffer);
}

// A recording has no reply: its device is lost, and the context goes on.
TEST_F(Costs, RecordingsOverTheBudget_LoseTheDeviceOnly) {
    const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
    GuestRecording recording;
    recording.begin().end();
    const VkFence fence = program.make_fence();
    spend_all_but(recording.bytes().size() * cost::kRecording);
    EXPECT_TRUE(program.flush(commands, recording.bytes()));
    EXPECT_EQ(program.wait(fence), VK_ERROR_DEVICE_LOST);
}

TEST_F(Costs, CommandBuffers_ArePaidBeforeTheyAreMade) {
    const VkCommandPool pool = program.make_pool();
    std::vector<VkCommandBuffer> made((1 << 16) + 1);
    const auto allocate = [&](uint32_t count) {
        VkCommandBufferAllocateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
        info.commandPool = pool;
        info.commandBufferCount = count;
        Answer answer = program.call(guest::vkAllocateCommandBuffers{
            .self = program.device, .pAllocateInfo = &info, .pCommandBuffers = made.data()});
        for (uint32_t i = 0; i < count; ++i) (void)answer.handle<VkCommandBuffer>();
        return answer.result();
    };
    EXPECT_EQ(allocate(10), VK_SUCCESS);
    EXPECT_EQ(paid(), 10 * cost::kCommandBuffer);
    EXPECT_EQ(allocate((1 << 16) + 1), VK_ERROR_OUT_OF_HOST_MEMORY);
    spend_all_but(10 * cost::kCommandBuffer);
    EXPECT_EQ(allocate(10), VK_ERROR_OUT_OF_HOST_MEMORY);
    EXPECT_EQ(program.count(ObjectType::kCommandBuffer), 10U);
    program.call(guest::vkDestroyCommandPool{.self = program.device, .commandPool = pool});
    EXPECT_EQ(program.count(ObjectType::kCommandBuffer), 0U);
}

TEST_F(Costs, RenderPasses_PayForTheirParts) {
    const std::vector<VkSubpassDescription> subpasses(1000);
    VkRenderPassCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO;
    info.subpassCount = 1000;
    info.pSubpasses = subpasses.data();
    VkRenderPass made = VK_NULL_HANDLE;
    const guest::vkCreateRenderPass create{
        .self = program.device, .pCreateInfo = &info, .pRenderPass = &made};
    const auto pass = program.create<VkRenderPass>(create);
    EXPECT_GE(paid(), 1000 * cost::kRenderPassPart);
    program.call(guest::vkDestroyRenderPass{.self = program.device, .renderPass = pass});
    EXPECT_EQ(paid(), 0U);
    spend_all_but(1000 * cost::kRenderPassPart);
    program.create<VkRenderPass>(create, VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, UpdateTemplates_PayForTheirEntries) {
    const std::vector<VkDescriptorUpdateTemplateEntry> entries(1000);
    VkDescriptorUpdateTemplateCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO;
    info.descriptorUpdateEntryCount = 1000;
    info.pDescriptorUpdateEntries = entries.data();
    VkDescriptorUpdateTemplate made = VK_NULL_HANDLE;
    const guest::vkCreateDescriptorUpdateTemplate create{
        .self = program.device, .pCreateInfo = &info, .pDescriptorUpdateTemplate = &made};
    program.create<VkDescriptorUpdateTemplate>(create);
    EXPECT_EQ(paid(), 1000 * sizeof(entries[0]));
    spend_all_but(1000 * sizeof(entries[0]));
    program.create<VkDescriptorUpdateTemplate>(create, VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, Devices_ArePaidFor) {
    Program other;
    const std::shared_ptr<Budget>& budget = other.services.budget();
    other.start();
    const uint64_t both = budget->used(BudgetKind::kHostBytes);
    EXPECT_GE(both, cost::kInstance + cost::kDevice);
    other.call(guest::vkDestroyDevice{.self = other.device});
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), both - cost::kDevice);
    other.call(guest::vkDestroyInstance{.self = other.instance});
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), both - cost::kDevice - cost::kInstance);

    spend_all_but(cost::kInstance);
    VkInstanceCreateInfo instance_info{};
    instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    VkInstance instance = VK_NULL_HANDLE;
    program.create<VkInstance>(
        guest::vkCreateInstance{.pCreateInfo = &instance_info, .pInstance = &instance},
        VK_ERROR_OUT_OF_HOST_MEMORY);
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue{
        VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, 0, 1, &priority};
    VkDeviceCreateInfo device_info{};
    device_info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    device_info.queueCreateInfoCount = 1;
    device_info.pQueueCreateInfos = &queue;
    VkDevice device = VK_NULL_HANDLE;
    program.create<VkDevice>(
        guest::vkCreateDevice{
            .self = program.physical, .pCreateInfo = &device_info, .pDevice = &device},
        VK_ERROR_OUT_OF_HOST_MEMORY);
}

TEST_F(Costs, PrivateData_PaysForItsValues) {
    VkPrivateDataSlotCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO;
    VkPrivateDataSlot slot = VK_NULL_HANDLE;
    slot = program.create<VkPrivateDataSlot>(guest::vkCreatePrivateDataSlot{
        .self = program.device, .pCreateInfo = &info, .pPrivateDataSlot = &slot});
    uint64_t next = 1;
    const auto set = [&](uint64_t object) {
        return program.result_of(guest::vkSetPrivateData{.self = program.device,
                                                         .objectType = VK_OBJECT_TYPE_BUFFER,
                                                         .objectHandle = object,
                                                         .privateDataSlot = slot,
                                                         .data = 42});
    };
    for (; next <= 1000; ++next) ASSERT_EQ(set(next), VK_SUCCESS);
    EXPECT_GE(paid(), 1000 * cost::kPrivateValue);
    spend_all_but(1);
    for (; next <= 3000; ++next)
        if (set(next) != VK_SUCCESS) break;
    EXPECT_LE(next, 2000U) << "More than what was paid for ahead.";
    EXPECT_EQ(set(next), VK_ERROR_OUT_OF_HOST_MEMORY);
    EXPECT_EQ(set(1), VK_SUCCESS) << "What has a value takes no room.";
    const uint64_t before = used();
    program.call(guest::vkDestroyPrivateDataSlot{.self = program.device, .privateDataSlot = slot});
    EXPECT_LE(used(), before - 1000 * cost::kPrivateValue);
}

TEST_F(Costs, ObjectsWithoutNumbers_ArePaidForToo) {
    EXPECT_GE(used(), HandleTable::kObjectBytes * program.session->table().live());
    spend_all_but(1);  // what the table has taken lasts for a while
    VkEventCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO;
    VkEvent event = VK_NULL_HANDLE;
    const guest::vkCreateEvent create{
        .self = program.device, .pCreateInfo = &info, .pEvent = &event};
    uint32_t made = 0;
    for (; made < 2 * HandleTable::kChunkSlots; ++made) {
        Answer answer = program.call(create);
        (void)answer.handle<VkEvent>();
        if (answer.result() != VK_SUCCESS) break;
    }
    EXPECT_LT(made, HandleTable::kChunkSlots);
    program.create<VkEvent>(create, VK_ERROR_OUT_OF_HOST_MEMORY);
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
