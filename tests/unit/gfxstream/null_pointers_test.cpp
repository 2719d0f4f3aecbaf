// SPDX-License-Identifier: Apache-2.0
// Pointers whose marker says null where Vulkan needs them: every such place that the tables know.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <span>
#include <string_view>

#include "unit/gfxstream/program.h"
#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {
namespace {

class NullPointers : public ::testing::Test {
  protected:
    NullPointers() { program.start(); }

    /// A command whose count is null; its sentence.
    template <typename T>
    void expect_refused(const T& command) {
        const std::string why = program.failure_of(command);
        EXPECT_NE(why.find("null"), std::string::npos) << why;
    }

    Program program;
};

TEST_F(NullPointers, CountsOfPassThroughCommands_LoseTheContext) {
    expect_refused(
        guest::vkGetPhysicalDeviceSparseImageFormatProperties{.self = program.physical,
                                                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                                                              .type = VK_IMAGE_TYPE_2D,
                                                              .samples = VK_SAMPLE_COUNT_1_BIT,
                                                              .usage = VK_IMAGE_USAGE_SAMPLED_BIT,
                                                              .tiling = VK_IMAGE_TILING_OPTIMAL});
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    VkPipelineCache cache = VK_NULL_HANDLE;
    cache = program.create<VkPipelineCache>(guest::vkCreatePipelineCache{
        .self = program.device, .pCreateInfo = &info, .pPipelineCache = &cache});
    expect_refused(guest::vkGetPipelineCacheData{.self = program.device, .pipelineCache = cache});
}

TEST_F(NullPointers, CountsOfOwnCommands_LoseTheContext) {
    expect_refused(guest::vkEnumeratePhysicalDevices{.self = program.instance});
    expect_refused(guest::vkEnumeratePhysicalDeviceGroups{.self = program.instance});
    expect_refused(guest::vkEnumerateInstanceExtensionProperties{});
    expect_refused(guest::vkEnumerateInstanceLayerProperties{});
    expect_refused(guest::vkEnumerateDeviceExtensionProperties{.self = program.physical});
    expect_refused(guest::vkGetPhysicalDeviceQueueFamilyProperties{.self = program.physical});
    expect_refused(guest::vkGetPhysicalDeviceQueueFamilyProperties2{.self = program.physical});
    expect_refused(guest::vkGetPhysicalDeviceToolProperties{.self = program.physical});
}

TEST_F(NullPointers, DescriptorsOfAWrite_LoseTheContext) {
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.descriptorCount = 1;
    for (const VkDescriptorType type :
         {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE,
          VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER}) {
        write.descriptorType = type;
        expect_refused(guest::vkUpdateDescriptorSets{
            .self = program.device, .descriptorWriteCount = 1, .pDescriptorWrites = &write});
    }
}

TEST_F(NullPointers, HandlesThatDriversFollow_LoseTheContext) {
    const VkBufferDeviceAddressInfo address{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, nullptr,
                                            VK_NULL_HANDLE};
    expect_refused(guest::vkGetBufferDeviceAddress{.self = program.device, .pInfo = &address});
    VkImageViewCreateInfo view{};
    view.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO;
    VkImageView made_view = VK_NULL_HANDLE;
    expect_refused(guest::vkCreateImageView{
        .self = program.device, .pCreateInfo = &view, .pView = &made_view});
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    VkPipelineCache cache = VK_NULL_HANDLE;
    cache = program.create<VkPipelineCache>(guest::vkCreatePipelineCache{
        .self = program.device, .pCreateInfo = &info, .pPipelineCache = &cache});
    const VkPipelineCache none = VK_NULL_HANDLE;
    expect_refused(guest::vkMergePipelineCaches{
        .self = program.device, .dstCache = cache, .srcCacheCount = 1, .pSrcCaches = &none});
}

TEST_F(NullPointers, HandlesInRecordings_LoseTheContext) {
    const auto expect_refused_recording = [&](const auto& command) {
        const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
        const auto flushed =
            program.flush(commands, GuestRecording().begin().add(command).end().bytes());
        ASSERT_FALSE(flushed);
        EXPECT_NE(flushed.error().message.find("null"), std::string::npos)
            << flushed.error().message;
    };
    VkBufferCopy2 region{};
    region.sType = VK_STRUCTURE_TYPE_BUFFER_COPY_2;
    region.size = 4;
    VkCopyBufferInfo2 copy{};
    copy.sType = VK_STRUCTURE_TYPE_COPY_BUFFER_INFO_2;
    copy.dstBuffer = program.make_buffer(64, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    copy.regionCount = 1;
    copy.pRegions = &region;
    expect_refused_recording(guest::vkCmdCopyBuffer2{.pCopyBufferInfo = &copy});
    const VkEvent event = VK_NULL_HANDLE;
    expect_refused_recording(guest::vkCmdWaitEvents{.eventCount = 1, .pEvents = &event});
    VkBufferMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER;
    expect_refused_recording(guest::vkCmdPipelineBarrier{.bufferMemoryBarrierCount = 1,
                                                         .pBufferMemoryBarriers = &barrier});
}

TEST_F(NullPointers, PipelinesWithoutLayoutOrShader_LoseTheContext) {
    VkComputePipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.pName = "main";
    VkPipeline made = VK_NULL_HANDLE;
    const guest::vkCreateComputePipelines create{
        .self = program.device, .createInfoCount = 1, .pCreateInfos = &info, .pPipelines = &made};
    expect_refused(create);
    const uint32_t code[4] = {};
    VkShaderModuleCreateInfo module{};
    module.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module.codeSize = sizeof(code);
    module.pCode = code;
    info.stage.pNext = &module;
    expect_refused(create);
    VkGraphicsPipelineCreateInfo graphics{};
    graphics.sType = VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO;
    EXPECT_NE(program
                  .failure_of(guest::vkCreateGraphicsPipelines{.self = program.device,
                                                               .createInfoCount = 1,
                                                               .pCreateInfos = &graphics,
                                                               .pPipelines = &made})
                  .find("no layout"),
              std::string::npos);
}

TEST_F(NullPointers, SamplersThatTheSetDoesNotHave_LoseTheContext) {
    VkSamplerCreateInfo sampler_info{};
    sampler_info.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO;
    VkSampler sampler = VK_NULL_HANDLE;
    sampler = program.create<VkSampler>(guest::vkCreateSampler{
        .self = program.device, .pCreateInfo = &sampler_info, .pSampler = &sampler});
    const std::array bindings{VkDescriptorSetLayoutBinding{0, VK_DESCRIPTOR_TYPE_SAMPLER, 1,
                                                           VK_SHADER_STAGE_ALL, &sampler},
                              VkDescriptorSetLayoutBinding{1, VK_DESCRIPTOR_TYPE_SAMPLER, 1,
                                                           VK_SHADER_STAGE_ALL, nullptr}};
    const VkDescriptorSetLayoutCreateInfo layout_info{
        VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, bindings.size(),
        bindings.data()};
    VkDescriptorSetLayout layout = VK_NULL_HANDLE;
    layout = program.create<VkDescriptorSetLayout>(guest::vkCreateDescriptorSetLayout{
        .self = program.device, .pCreateInfo = &layout_info, .pSetLayout = &layout});
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_SAMPLER, 4};
    const VkDescriptorPoolCreateInfo pool_info{
        VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 4, 1, &size};
    VkDescriptorPool pool = VK_NULL_HANDLE;
    pool = program.create<VkDescriptorPool>(guest::vkCreateDescriptorPool{
        .self = program.device, .pCreateInfo = &pool_info, .pDescriptorPool = &pool});
    const VkDescriptorSetAllocateInfo set_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                               nullptr, pool, 1, &layout};
    VkDescriptorSet set = VK_NULL_HANDLE;
    set = program.create<VkDescriptorSet>(guest::vkAllocateDescriptorSets{
        .self = program.device, .pAllocateInfo = &set_info, .pDescriptorSets = &set});
    std::array<VkDescriptorImageInfo, 2> infos{};
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = set;
    write.descriptorType = VK_DESCRIPTOR_TYPE_SAMPLER;
    write.descriptorCount = 1;
    write.pImageInfo = infos.data();
    const guest::vkUpdateDescriptorSets update{
        .self = program.device, .descriptorWriteCount = 1, .pDescriptorWrites = &write};
    program.call(update);  // the layout's
    write.dstBinding = 1;
    expect_refused(update);
    write.dstBinding = 0;  // and on into the next
    write.descriptorCount = 2;
    expect_refused(update);
    infos[0].sampler = infos[1].sampler = sampler;
    program.call(update);
}

// Each structure, with handles that are all null.
TEST(NullHandleTables, WhatVulkanNeeds_IsNeeded) {
    size_t needed = 0;
    for (const guest::GuestStruct& one :
         std::span(guest::kGuestStructs, guest::kGuestStructCount)) {
        const Layout& layout = layout_of(one.layout);
        const std::span fields(kFields + layout.first_field, layout.field_count);
        const bool needs_one = std::ranges::any_of(fields, [](const Field& field) {
            return field.kind == Kind::kHandle && (field.flags & (kMayBeNull | kIgnorable)) == 0;
        });
        if (!needs_one) continue;
        ++needed;
        World world;
        guest::Random random(1);
        const auto original = std::make_unique<std::byte[]>(one.size);
        one.fill(random, original.get());
        guest::Writer bytes;
        one.encode(bytes, original.get());
        Decoder in = world.decoder(bytes.bytes());
        EXPECT_FALSE(in.structure(layout, world.arena.allocate(layout.size, layout.alignment)));
        EXPECT_NE(in.sentence().find("null"), std::string::npos) << layout.name;
    }
    EXPECT_GE(needed, 25U);
}

// The tables name them by what the registry says of them; a list here would be the same twice. But
// each count of a list is among them, however the list is called.
TEST(NullPointerTables, EveryCountOfAList_IsRequired) {
    std::set<std::string_view> lists;
    for (size_t i = 0; i < kCommandLayoutCount; ++i) {
        const Layout& layout = layout_of(kCommandLayouts[i].arguments);
        const std::span fields(kFields + layout.first_field, layout.field_count);
        for (const Field& list : fields) {
            if (list.kind != Kind::kArray ||
                (list.length != Length::kPointee32 && list.length != Length::kPointee64))
                continue;
            for (const Field& count : fields) {
                if (count.kind != Kind::kArray || count.offset != list.length_offset) continue;
                EXPECT_TRUE((count.flags & kMarker) == 0 || (count.flags & kRequired) != 0)
                    << layout.name;
                lists.insert(layout.name);
            }
        }
    }
    EXPECT_GE(lists.size(), 15U);
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
