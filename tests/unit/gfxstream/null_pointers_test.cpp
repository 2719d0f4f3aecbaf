// SPDX-License-Identifier: Apache-2.0
// Pointers whose marker says null where Vulkan needs them: every such place that the tables know.
#include <gtest/gtest.h>

#include <set>
#include <string_view>

#include "unit/gfxstream/program.h"

namespace swede::gfxstream::vulkan {
namespace {

class NullPointers : public ::testing::Test {
  protected:
    NullPointers() { program.start(); }

    /// A command whose count is null; its sentence.
    template <typename T>
    void expect_refused(const T& command) {
        EXPECT_NE(program.failure_of(command).find("null"), std::string::npos);
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
