// SPDX-License-Identifier: Apache-2.0
// What a hostile or an odd guest sends.
#include "gfxstream/vulkan/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gfxstream/vulkan/generated/arguments.h"
#include "gfxstream/vulkan/reply.h"
#include "guest.h"
#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {
namespace {

using guest::handle_of_id;
using guest::Writer;
using testing::HasSubstr;

class DecoderTest : public testing::Test {
  protected:
    /// Decodes the parameters of a command; true if all was well, else the sentence is kept.
    template <typename Arguments>
    bool decode(uint32_t opcode, const std::vector<std::byte>& bytes, Arguments& arguments,
                Object* command_buffer = nullptr) {
        const CommandLayout& command = kCommandLayouts[find_command_layout(opcode)];
        Decoder in = world_.decoder(bytes);
        const bool done =
            in.arguments(layout_of(command.arguments), command.self, command_buffer, &arguments);
        EXPECT_EQ(done, !in.failed());
        sentence_ = in.sentence();
        return done;
    }
    template <typename T>
    T handle() {
        return handle_of_id<T>(world_.id(kObjectTypeOf<T>));
    }

    World world_;
    std::string sentence_;
};

guest::vkCreateBuffer create_buffer(VkDevice device, const VkBufferCreateInfo& info) {
    static VkBuffer slot;
    guest::vkCreateBuffer call;
    call.self = device;
    call.pCreateInfo = &info;
    call.pBuffer = &slot;
    return call;
}

TEST_F(DecoderTest, AnUnknownStructureInAChainFails) {
    Writer to;
    to.handle(handle<VkDevice>());
    to.u32(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
    to.be32(24);
    to.u32(0x7fffffff);
    to.raw(std::vector<std::byte>(200).data(), 200);
    args::vkCreateBuffer a;
    EXPECT_FALSE(decode(guest::vkCreateBuffer::kOpcode, to.bytes(), a));
    EXPECT_THAT(sentence_, HasSubstr("unknown type 2147483647"));
}

TEST_F(DecoderTest, StructuresThatNameThingsOfTheHostsProcessAreUnknown) {
    for (const uint32_t stype : {VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
                                 VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
                                 VK_STRUCTURE_TYPE_DIRECT_DRIVER_LOADING_LIST_LUNARG,
                                 VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
                                 VK_STRUCTURE_TYPE_DEBUG_REPORT_CALLBACK_CREATE_INFO_EXT,
                                 VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT}) {
        EXPECT_EQ(find_extension(stype), nullptr) << stype;
    }
    for (size_t i = 0; i < kLayoutCount; ++i) {
        EXPECT_THAT(kLayouts[i].name,
                    testing::Not(testing::ContainsRegex("ImportMemory|HostPointer")));
    }
}

TEST_F(DecoderTest, AChainMayBeAsLongAsAGuestsButNotEndless) {
    for (const auto& [length, fits] : {std::pair{100U, true}, {200U, true}, {5000U, false}}) {
        Writer to;
        to.handle(handle<VkPhysicalDevice>());
        to.u32(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
        constexpr auto kType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MULTIVIEW_FEATURES;
        for (unsigned i = 0; i < length; ++i) {
            to.be32(sizeof(VkPhysicalDeviceMultiviewFeatures));
            to.u32(kType);
            to.u32(kType);
        }
        to.be32(0);
        for (unsigned i = 0; i < length; ++i) to.raw("\1\0\0\0\1\0\0\0\1\0\0", 12);
        to.raw(std::vector<std::byte>(sizeof(VkPhysicalDeviceFeatures)).data(),
               sizeof(VkPhysicalDeviceFeatures));
        args::vkGetPhysicalDeviceFeatures2 a;
        EXPECT_EQ(decode(guest::vkGetPhysicalDeviceFeatures2::kOpcode, to.bytes(), a), fits);
        if (!fits) {
            EXPECT_THAT(sentence_, HasSubstr("deeper than 256"));
            continue;
        }
        unsigned found = 0;
        for (auto* at = static_cast<VkBaseOutStructure*>(a.pFeatures->pNext); at != nullptr;
             at = at->pNext) {
            EXPECT_EQ(at->sType, kType);
            EXPECT_EQ(reinterpret_cast<VkPhysicalDeviceMultiviewFeatures*>(at)->multiview, 1U);
            ++found;
        }
        EXPECT_EQ(found, length);
    }
}

TEST_F(DecoderTest, CountsAreHeldAgainstWhatIsThere) {
    // 4 billion barriers, copies and set ids, of which none follows.
    Writer barriers;
    for (const uint32_t word : {1U, 1U, 0U, 0U, 0U, 0xffffffffU}) barriers.u32(word);
    args::vkCmdPipelineBarrier a;
    EXPECT_FALSE(
        decode(guest::vkCmdPipelineBarrier::kOpcode, barriers.bytes(), a, world_.command_buffer));
    Writer copies;
    copies.handle(handle<VkBuffer>());
    copies.handle(handle<VkBuffer>());
    copies.u32(0xffffffff);
    copies.u64(0);
    args::vkCmdCopyBuffer b;
    EXPECT_FALSE(decode(guest::vkCmdCopyBuffer::kOpcode, copies.bytes(), b, world_.command_buffer));
    EXPECT_THAT(sentence_, HasSubstr("where 4294967295"));
    Writer data;
    data.handle(handle<VkBuffer>());
    data.u64(0);
    data.u64(UINT64_MAX);
    data.u32(0);
    args::vkCmdUpdateBuffer c;
    EXPECT_FALSE(decode(guest::vkCmdUpdateBuffer::kOpcode, data.bytes(), c, world_.command_buffer));
}

TEST_F(DecoderTest, NoPacketDecodesToMoreThanTheArenasBound) {
    // Structures that are larger decoded than on the wire: 24 of 32 bytes each.
    const uint32_t count = 3U << 20;
    Writer to;
    to.u32(1);
    to.u32(1);
    to.u32(0);
    to.u32(count);
    const std::vector<std::byte> empty(size_t{24} * count);
    to.raw(empty.data(), empty.size());
    to.u32(0);
    to.u32(0);
    args::vkCmdPipelineBarrier a;
    EXPECT_FALSE(
        decode(guest::vkCmdPipelineBarrier::kOpcode, to.bytes(), a, world_.command_buffer));
    EXPECT_THAT(sentence_, testing::AnyOf(HasSubstr("decodes to more"), HasSubstr("ends with")));
}

TEST_F(DecoderTest, ObjectsMustExistAndHaveTheTypeAndTheDevice) {
    VkBufferCreateInfo info{};
    args::vkCreateBuffer a;
    EXPECT_TRUE(decode(guest::vkCreateBuffer::kOpcode,
                       guest::parameters_of(create_buffer(handle<VkDevice>(), info)), a));
    EXPECT_EQ(a.self, world_.device);
    for (const uint64_t id : {uint64_t{0}, uint64_t{1}, UINT64_MAX, world_.device->id + 2,
                              world_.device->id ^ 1 << 24, world_.id(ObjectType::kBuffer)}) {
        const auto call = create_buffer(handle_of_id<VkDevice>(id), info);
        EXPECT_FALSE(decode(guest::vkCreateBuffer::kOpcode, guest::parameters_of(call), a)) << id;
        EXPECT_THAT(sentence_, HasSubstr(id == 0 ? "A VkDevice is null" : "There is no VkDevice"));
    }
    guest::vkBindBufferMemory bind{handle_of_id<VkDevice>(world_.other_device->id),
                                   handle<VkBuffer>(), handle<VkDeviceMemory>(), 0};
    args::vkBindBufferMemory b;
    EXPECT_FALSE(decode(bind.kOpcode, guest::parameters_of(bind), b));
    EXPECT_THAT(sentence_, HasSubstr("There is no VkBuffer"));
    bind.self = handle<VkDevice>();
    EXPECT_TRUE(decode(bind.kOpcode, guest::parameters_of(bind), b));
    bind.memory = VK_NULL_HANDLE;
    EXPECT_FALSE(decode(bind.kOpcode, guest::parameters_of(bind), b));
}

TEST_F(DecoderTest, NullIsTakenWhereVulkanAllowsIt) {
    guest::vkDestroyBuffer destroy{handle<VkDevice>(), VK_NULL_HANDLE};
    args::vkDestroyBuffer a;
    EXPECT_TRUE(decode(destroy.kOpcode, guest::parameters_of(destroy), a));
    EXPECT_EQ(a.buffer, nullptr);
    const VkFence fences[] = {handle<VkFence>(), VK_NULL_HANDLE};
    guest::vkResetFences reset{handle<VkDevice>(), 2, fences};
    args::vkResetFences b;
    EXPECT_FALSE(decode(reset.kOpcode, guest::parameters_of(reset), b));
    reset.fenceCount = 1;
    EXPECT_TRUE(decode(reset.kOpcode, guest::parameters_of(reset), b));
    EXPECT_EQ(b.pFences[0]->id, world_.id(ObjectType::kFence));
}

TEST_F(DecoderTest, AnAllocatorIsRefused) {
    Writer to;
    to.handle(handle<VkDevice>());
    to.handle(handle<VkBuffer>());
    to.be64(1);
    args::vkDestroyBuffer a;
    EXPECT_FALSE(decode(guest::vkDestroyBuffer::kOpcode, to.bytes(), a));
    EXPECT_THAT(sentence_, HasSubstr("allocator"));
}

TEST_F(DecoderTest, CommandsStayOnTheirSideOfCommandBuffers) {
    const guest::vkCmdDraw draw{3, 1, 0, 0};
    args::vkCmdDraw a;
    EXPECT_TRUE(decode(draw.kOpcode, guest::parameters_of(draw), a, world_.command_buffer));
    EXPECT_EQ(a.self, world_.command_buffer);
    EXPECT_EQ(a.vertexCount, 3U);
    EXPECT_FALSE(decode(draw.kOpcode, guest::parameters_of(draw), a));
    EXPECT_THAT(sentence_, HasSubstr("outside of a command buffer"));
    const guest::vkDeviceWaitIdle wait{handle<VkDevice>()};
    args::vkDeviceWaitIdle b;
    EXPECT_FALSE(decode(wait.kOpcode, guest::parameters_of(wait), b, world_.command_buffer));
    EXPECT_THAT(sentence_, HasSubstr("into a command buffer"));
}

TEST_F(DecoderTest, ListsOfStringsHaveTheCountersLength) {
    for (const auto& [counter, count, length, good] : {std::tuple{1U, 1U, 3U, true},
                                                       {2U, 1U, 3U, false},
                                                       {0U, 1U, 3U, false},
                                                       {1U, 1U, 0xffffffffU, false},
                                                       {0x40000000U, 0x40000000U, 3U, false}}) {
        Writer to;
        to.u32(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
        to.be32(0);
        to.u32(0);
        to.be64(0);  // no pApplicationInfo
        to.u32(0);
        to.be32(0);
        to.u32(counter);
        to.be32(count);
        to.be32(length);
        to.raw("abc", 3);
        to.be64(0);
        to.u64(0x1234);
        args::vkCreateInstance a;
        EXPECT_EQ(decode(guest::vkCreateInstance::kOpcode, to.bytes(), a), good) << counter;
        if (good) {
            EXPECT_STREQ(a.pCreateInfo->ppEnabledExtensionNames[0], "abc");
            EXPECT_EQ(*a.pInstance, 0x1234U);
        }
    }
}

TEST_F(DecoderTest, PipelineStatesCrossOnlyWhereTheyMatter) {
    // Markers stand there in any case: guests send the application's pointers.
    Writer to;
    to.handle(handle<VkDevice>());
    to.u64(0);
    to.u32(1);
    to.be32(0);  // no rasterization
    to.be32(0);  // no tessellation
    to.u32(VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO);
    to.be32(0);
    to.u32(0);
    to.u32(0);   // no stages
    to.be64(0);  // vertex input
    to.be64(0);  // input assembly
    to.be64(7);  // tessellation
    to.be64(7);  // viewport
    to.be64(0);  // rasterization
    to.be64(7);  // multisample
    to.be64(7);  // depth and stencil
    to.be64(7);  // colour blend
    to.be64(0);  // dynamic
    to.handle(handle<VkPipelineLayout>());
    to.handle(handle<VkRenderPass>());
    to.u32(0);
    to.u64(0xdead);  // basePipelineHandle, which is ignored without a flag
    to.u32(0);
    to.be64(0);
    to.u64(0);
    args::vkCreateGraphicsPipelines a;
    ASSERT_TRUE(decode(guest::vkCreateGraphicsPipelines::kOpcode, to.bytes(), a)) << sentence_;
    EXPECT_EQ(a.pCreateInfos[0].pTessellationState, nullptr);
    EXPECT_EQ(a.pCreateInfos[0].pViewportState, nullptr);
    EXPECT_EQ(a.pCreateInfos[0].pMultisampleState, nullptr);
    EXPECT_EQ(a.pCreateInfos[0].pDepthStencilState, nullptr);
    EXPECT_EQ(a.pCreateInfos[0].pColorBlendState, nullptr);
    EXPECT_EQ(a.pCreateInfos[0].basePipelineHandle, handle_of_id<VkPipeline>(0));
    EXPECT_EQ(a.pCreateInfos[0].layout, handle<VkPipelineLayout>());
}

TEST_F(DecoderTest, DescriptorWritesCarryWhatTheirTypeNeeds) {
    Writer to;
    to.handle(handle<VkDevice>());
    to.u32(1);
    to.u32(0);  // a wrong sType is mended
    to.be32(0);
    to.handle(handle<VkDescriptorSet>());
    to.u32(0);
    to.u32(0);
    to.u32(1);
    to.u32(VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE);
    to.be64(7);
    to.u64(0xdead);  // the sampler is ignored
    to.handle(handle<VkImageView>());
    to.u32(VK_IMAGE_LAYOUT_GENERAL);
    to.be64(7);
    to.be64(7);
    to.u32(0);
    args::vkUpdateDescriptorSets a;
    ASSERT_TRUE(decode(guest::vkUpdateDescriptorSets::kOpcode, to.bytes(), a)) << sentence_;
    const VkWriteDescriptorSet& write = a.pDescriptorWrites[0];
    EXPECT_EQ(write.sType, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET);
    EXPECT_EQ(write.pImageInfo[0].sampler, handle_of_id<VkSampler>(0));
    EXPECT_EQ(write.pImageInfo[0].imageView, handle<VkImageView>());
    EXPECT_EQ(write.pBufferInfo, nullptr);
    EXPECT_EQ(write.pTexelBufferView, nullptr);
}

TEST_F(DecoderTest, OutputsMayHoldGarbage) {
    VkPhysicalDevice slots[2] = {handle_of_id<VkPhysicalDevice>(0xdead),
                                 handle_of_id<VkPhysicalDevice>(0xbeef)};
    uint32_t count = 2;
    guest::vkEnumeratePhysicalDevices call{handle<VkInstance>(), &count, slots};
    args::vkEnumeratePhysicalDevices a;
    ASSERT_TRUE(decode(call.kOpcode, guest::parameters_of(call), a)) << sentence_;
    EXPECT_EQ(*a.pPhysicalDeviceCount, 2U);
    // No room, but a pointer: the reply says so, too.
    count = 0;
    ASSERT_TRUE(decode(call.kOpcode, guest::parameters_of(call), a));
    EXPECT_NE(a.pPhysicalDevices, nullptr);
    call.pPhysicalDevices = nullptr;
    ASSERT_TRUE(decode(call.kOpcode, guest::parameters_of(call), a));
    EXPECT_EQ(a.pPhysicalDevices, nullptr);
    Reply reply;
    reply.outputs(layout_of(LayoutId::vkEnumeratePhysicalDevices), &a);
    EXPECT_EQ(reply.bytes().size(), 8U + 4U + 8U);
}

TEST_F(DecoderTest, RawCommandsKeepTheGuestsIds) {
    VkMappedMemoryRange range{};
    range.memory = handle_of_id<VkDeviceMemory>(0xdead);
    const guest::vkFlushMappedMemoryRanges call{handle<VkDevice>(), 1, &range};
    args::vkFlushMappedMemoryRanges a;
    ASSERT_TRUE(decode(call.kOpcode, guest::parameters_of(call), a)) << sentence_;
    EXPECT_EQ(guest::id_of_handle(a.pMemoryRanges[0].memory), 0xdeadU);
}

TEST_F(DecoderTest, WhatTheGuestEmulatesIsLeftOutOfTheChain) {
    VkDeviceDeviceMemoryReportCreateInfoEXT report{};
    report.sType = VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT;
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    report.pNext = &features;
    VkDeviceCreateInfo info{};
    info.pNext = &report;
    VkDevice slot{};
    const guest::vkCreateDevice call{handle<VkPhysicalDevice>(), &info, &slot};
    args::vkCreateDevice a;
    ASSERT_TRUE(decode(call.kOpcode, guest::parameters_of(call), a)) << sentence_;
    const auto* const next = static_cast<const VkBaseInStructure*>(a.pCreateInfo->pNext);
    ASSERT_NE(next, nullptr);
    EXPECT_EQ(next->sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
    EXPECT_EQ(next->pNext, nullptr);
}

TEST_F(DecoderTest, FailureIsSticky) {
    const std::vector<std::byte> bytes(64, std::byte{1});
    Decoder in = world_.decoder(bytes);
    EXPECT_EQ(in.u32(), 0x01010101U);
    EXPECT_FALSE(in.fail("The first {}.", 1));
    EXPECT_FALSE(in.fail("The second."));
    EXPECT_EQ(in.sentence(), "The first 1.");
    EXPECT_EQ(in.u64(), 0U);
    EXPECT_EQ(in.take(1), nullptr);
    EXPECT_EQ(in.object(ObjectType::kBuffer, true), nullptr);
    EXPECT_EQ(in.sentence(), "The first 1.");
}

TEST_F(DecoderTest, ChainsOfRepliesLeaveOutWhatAHandlerAdded) {
    VkPhysicalDeviceIDProperties id{};
    id.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
    VkImportMemoryHostPointerInfoEXT added{};  // any type that guests must not send
    added.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
    added.pNext = &id;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &added;
    Reply with;
    with.structure(layout_of(LayoutId::VkPhysicalDeviceProperties2), &properties);
    properties.pNext = &id;
    Reply without;
    without.structure(layout_of(LayoutId::VkPhysicalDeviceProperties2), &properties);
    ASSERT_FALSE(with.failed());
    EXPECT_TRUE(std::ranges::equal(with.bytes(), without.bytes()));
}

TEST(Reply, IsBounded) {
    Reply reply;
    const std::vector<std::byte> much(size_t{48} << 20);
    reply.bytes(much.data(), much.size());
    EXPECT_FALSE(reply.failed());
    reply.bytes(much.data(), much.size());
    EXPECT_TRUE(reply.failed());
    EXPECT_EQ(reply.bytes().size(), much.size());
    reply.clear();
    EXPECT_FALSE(reply.failed());
    reply.be32(1);
    reply.marker(true);
    EXPECT_EQ(reply.bytes().size(), 12U);
    EXPECT_EQ(reply.bytes()[3], std::byte{1});
    EXPECT_EQ(reply.bytes()[11], std::byte{1});
}

TEST(Commands, HaveTheNumbersThatGuestsUse) {
    for (const auto& [opcode, layout] :
         {std::pair{20000U, LayoutId::vkCreateInstance},
          {20013U, LayoutId::vkEnumerateInstanceExtensionProperties},
          {20225U, LayoutId::vkCreateRenderPass2},  // KHR
          {279590827U, LayoutId::vkCreateRenderPass2},
          {20340U, LayoutId::vkQueueFlushCommandsGOOGLE},
          {244782974U, LayoutId::vkUpdateDescriptorSetWithTemplateSized2GOOGLE},
          {201310066U, LayoutId::vkCmdPipelineBarrier2},
          {296709912U, LayoutId::vkCmdPipelineBarrier2}}) {
        const size_t index = find_command_layout(opcode);
        ASSERT_LT(index, kCommandLayoutCount) << opcode;
        EXPECT_EQ(kCommandLayouts[index].arguments, layout) << opcode;
    }
    for (const uint32_t opcode : {0U, 19999U, 20023U, 20213U, 20343U, 299999999U, 0xffffffffU}) {
        EXPECT_EQ(find_command_layout(opcode), kCommandLayoutCount) << opcode;
    }
}

TEST(Commands, ExtensionsThatMayBeOfferedAreSorted) {
    EXPECT_TRUE(std::ranges::is_sorted(kKnownDeviceExtensions, {},
                                       [](const char* name) { return std::string_view(name); }));
    for (const std::string_view hidden : {"VK_KHR_swapchain", "VK_GOOGLE_display_timing"}) {
        EXPECT_EQ(std::ranges::find(kKnownDeviceExtensions, hidden),
                  std::end(kKnownDeviceExtensions));
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
