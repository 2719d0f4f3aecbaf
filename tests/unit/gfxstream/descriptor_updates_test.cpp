// SPDX-License-Identifier: Apache-2.0
// Drivers write descriptors where an update says: it must say a place that the set has.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "gfxstream/vulkan/set_bindings.h"
#include "unit/gfxstream/program.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr VkDescriptorType kStorage = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
constexpr VkDescriptorType kUniform = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER;
constexpr VkDescriptorType kBlock = VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;

VkDescriptorSetLayoutBinding binding(uint32_t number, VkDescriptorType type, uint32_t count) {
    return {number, type, count, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
}

// --- the table ---

class Bindings : public ::testing::Test {
  protected:
    static SetBindings of(std::vector<VkDescriptorSetLayoutBinding> bindings,
                          std::vector<VkDescriptorBindingFlags> flags = {}) {
        return SetBindings::of(bindings, flags).value();
    }
};

TEST_F(Bindings, AreFoundByTheirNumbers) {
    const SetBindings all = of({binding(7, kUniform, 2), binding(1, kStorage, 3)});
    EXPECT_EQ(all.type_of(1, 0, 3, 0), kStorage);
    EXPECT_EQ(all.type_of(7, 1, 1, 0), kUniform);
    EXPECT_EQ(all.type_of(0, 0, 1, 0), std::nullopt);
    EXPECT_EQ(all.type_of(2, 0, 1, 0), std::nullopt);
    EXPECT_EQ(all.type_of(8, 0, 1, 0), std::nullopt);
    EXPECT_EQ(of({}).type_of(0, 0, 0, 0), std::nullopt);
}

TEST_F(Bindings, HaveNoMoreThanTheirCounts) {
    const SetBindings all = of({binding(0, kStorage, 3)});
    EXPECT_EQ(all.type_of(0, 2, 1, 0), kStorage);
    EXPECT_EQ(all.type_of(0, 2, 2, 0), std::nullopt);
    EXPECT_EQ(all.type_of(0, 3, 1, 0), std::nullopt);
    EXPECT_EQ(all.type_of(0, UINT32_MAX, 4, 0), std::nullopt) << "A sum that wraps.";
    EXPECT_EQ(all.type_of(0, 4, UINT32_MAX, 0), std::nullopt);
}

TEST_F(Bindings, OverflowIntoThoseBehindOfTheSameType) {
    const SetBindings all =
        of({binding(0, kStorage, 2), binding(1, kUniform, 0), binding(2, kStorage, 2),
            binding(3, kUniform, 2), binding(5, kUniform, 2)});
    EXPECT_EQ(all.type_of(0, 0, 4, 0), kStorage) << "An empty binding is skipped.";
    EXPECT_EQ(all.type_of(0, 3, 1, 0), kStorage);
    EXPECT_EQ(all.type_of(0, 0, 5, 0), std::nullopt) << "Another type.";
    EXPECT_EQ(all.type_of(3, 0, 2, 0), kUniform);
    EXPECT_EQ(all.type_of(3, 0, 3, 0), std::nullopt) << "There is no binding 4.";
}

TEST_F(Bindings, BlocksOfUniformsDoNotOverflow) {
    const SetBindings all = of({binding(0, kBlock, 16), binding(1, kBlock, 16)});
    EXPECT_EQ(all.type_of(0, 4, 12, 0), kBlock);
    EXPECT_EQ(all.type_of(0, 4, 16, 0), std::nullopt);
}

TEST_F(Bindings, VariableOnesHaveWhatTheSetHas) {
    const SetBindings all = of({binding(0, kStorage, 1), binding(1, kStorage, 100)},
                               {0, VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT});
    EXPECT_EQ(all.type_of(1, 0, 8, 8), kStorage);
    EXPECT_EQ(all.type_of(1, 0, 9, 8), std::nullopt);
    EXPECT_EQ(all.type_of(0, 0, 9, 8), kStorage);
    EXPECT_EQ(all.type_of(1, 0, 101, UINT32_MAX), std::nullopt);
}

TEST_F(Bindings, WithOneNumber_AreRefused) {
    const std::vector<VkDescriptorSetLayoutBinding> twice{binding(3, kStorage, 100),
                                                          binding(3, kStorage, 1)};
    EXPECT_FALSE(SetBindings::of(twice, {}).has_value());
}

// --- on a driver ---

class DescriptorUpdates : public ::testing::Test {
  protected:
    DescriptorUpdates() {
        program.start();
        const std::array bindings{binding(0, kStorage, 2), binding(1, kStorage, 2),
                                  binding(4, kUniform, 3)};
        const VkDescriptorSetLayoutCreateInfo layout{
            VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0,
            static_cast<uint32_t>(bindings.size()), bindings.data()};
        VkDescriptorSetLayout made = VK_NULL_HANDLE;
        made = program.create<VkDescriptorSetLayout>(guest::vkCreateDescriptorSetLayout{
            .self = program.device, .pCreateInfo = &layout, .pSetLayout = &made});
        const std::array sizes{VkDescriptorPoolSize{kStorage, 16},
                               VkDescriptorPoolSize{kUniform, 16}};
        const VkDescriptorPoolCreateInfo pool{
            VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, 2, 2, sizes.data()};
        VkDescriptorPool from = VK_NULL_HANDLE;
        from = program.create<VkDescriptorPool>(guest::vkCreateDescriptorPool{
            .self = program.device, .pCreateInfo = &pool, .pDescriptorPool = &from});
        for (VkDescriptorSet& set : sets) {
            const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                   nullptr, from, 1, &made};
            set = program.create<VkDescriptorSet>(guest::vkAllocateDescriptorSets{
                .self = program.device, .pAllocateInfo = &info, .pDescriptorSets = &set});
        }
    }

    bool writes(VkDescriptorSet set, uint32_t number, uint32_t element, uint32_t count,
                VkDescriptorType type) {
        const std::vector<VkDescriptorBufferInfo> none(count);
        VkWriteDescriptorSet write{};
        write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
        write.dstSet = set;
        write.dstBinding = number;
        write.dstArrayElement = element;
        write.descriptorCount = count;
        write.descriptorType = type;
        write.pBufferInfo = none.data();
        return program
            .try_call(guest::vkUpdateDescriptorSets{
                .self = program.device, .descriptorWriteCount = 1, .pDescriptorWrites = &write})
            .has_value();
    }
    bool copies(uint32_t from, uint32_t from_element, uint32_t to, uint32_t to_element,
                uint32_t count) {
        const VkCopyDescriptorSet copy{VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET,
                                       nullptr,
                                       sets[0],
                                       from,
                                       from_element,
                                       sets[1],
                                       to,
                                       to_element,
                                       count};
        return program
            .try_call(guest::vkUpdateDescriptorSets{
                .self = program.device, .descriptorCopyCount = 1, .pDescriptorCopies = &copy})
            .has_value();
    }
    bool updates(uint32_t number, uint32_t element, uint32_t count, VkDescriptorType type) {
        const VkDescriptorUpdateTemplateEntry entry{number, element, count, type, 0, 0};
        VkDescriptorUpdateTemplateCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO;
        info.descriptorUpdateEntryCount = 1;
        info.pDescriptorUpdateEntries = &entry;
        VkDescriptorUpdateTemplate made = VK_NULL_HANDLE;
        made = program.create<VkDescriptorUpdateTemplate>(guest::vkCreateDescriptorUpdateTemplate{
            .self = program.device, .pCreateInfo = &info, .pDescriptorUpdateTemplate = &made});
        const std::vector<uint32_t> indices(count);
        const std::vector<VkDescriptorBufferInfo> none(count);
        return program
            .try_call(guest::vkUpdateDescriptorSetWithTemplateSizedGOOGLE{
                .self = program.device,
                .descriptorSet = sets[0],
                .descriptorUpdateTemplate = made,
                .bufferInfoCount = count,
                .pBufferInfoEntryIndices = indices.data(),
                .pBufferInfos = none.data()})
            .has_value();
    }

    Program program;
    std::array<VkDescriptorSet, 2> sets{};
};

TEST_F(DescriptorUpdates, Writes_StayInTheirSet) {
    EXPECT_TRUE(writes(sets[0], 0, 0, 2, kStorage));
    EXPECT_TRUE(writes(sets[0], 0, 1, 3, kStorage)) << "Into binding 1.";
    EXPECT_TRUE(writes(sets[1], 4, 2, 1, kUniform));
    EXPECT_FALSE(writes(sets[0], 0, 1, 4, kStorage));
    EXPECT_FALSE(writes(sets[0], 0, UINT32_MAX, 1, kStorage));
    EXPECT_FALSE(writes(sets[0], 3, 0, 1, kStorage));
    EXPECT_FALSE(writes(sets[0], UINT32_MAX, 0, 1, kStorage));
    EXPECT_FALSE(writes(sets[0], 4, 0, 1, kStorage)) << "Of another type.";
    EXPECT_FALSE(writes(VK_NULL_HANDLE, 0, 0, 1, kStorage));
}

TEST_F(DescriptorUpdates, Copies_StayInTheirSets) {
    EXPECT_TRUE(copies(0, 0, 0, 0, 4));
    EXPECT_TRUE(copies(4, 0, 4, 1, 2));
    EXPECT_FALSE(copies(4, 0, 4, 2, 2));
    EXPECT_FALSE(copies(4, 2, 4, 0, 2));
    EXPECT_FALSE(copies(0, 0, 4, 0, 1)) << "Of another type.";
    EXPECT_FALSE(copies(9, 0, 0, 0, 1));
}

TEST_F(DescriptorUpdates, Templates_StayInTheirSet) {
    EXPECT_TRUE(updates(0, 1, 3, kStorage));
    EXPECT_TRUE(updates(4, 0, 3, kUniform));
    EXPECT_FALSE(updates(4, 1, 3, kUniform));
    EXPECT_FALSE(updates(2, 0, 1, kStorage));
    EXPECT_FALSE(updates(4, 0, 1, kStorage)) << "Of another type.";
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
