// SPDX-License-Identifier: Apache-2.0
#include "unit/gfxstream/guest_support.h"

#include <algorithm>

namespace swede::gfxstream::vulkan::guest {

namespace {

constexpr VkDescriptorType kDescriptorTypes[] = {
    VK_DESCRIPTOR_TYPE_SAMPLER,
    VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
    VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE,
    VK_DESCRIPTOR_TYPE_STORAGE_IMAGE,
    VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT,
    VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
    VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC,
    VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
    VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC,
    VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
    VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER,
    VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK,
};

[[nodiscard]] const GuestStruct* find(uint32_t stype) {
    const auto structs = std::span(kGuestStructs, kGuestStructCount);
    const auto found = std::ranges::find(structs, stype, &GuestStruct::stype);
    return stype != 0 && found != structs.end() ? &*found : nullptr;
}

}  // namespace

void* Random::memory(size_t size) {
    memory_.push_back(std::make_unique<std::byte[]>(size + 1));
    return memory_.back().get();
}

const char* Random::string(bool optional) {
    if (optional && coin()) return nullptr;
    char* const text = array<char>(9);
    for (uint32_t i = count(); i > 0; --i) text[i - 1] = static_cast<char>('a' + engine_() % 26);
    return text;
}

const char* const* Random::strings(uint64_t count) {
    auto* const list = array<const char*>(count);
    for (uint64_t i = 0; i < count; ++i) list[i] = string(false);
    return list;
}

void* Random::chain(const char* parent) {
    if (depth_ > 2) return nullptr;
    const std::string wanted = " " + std::string(parent) + " ";
    std::vector<const GuestStruct*> fitting;
    for (const GuestStruct& one : std::span(kGuestStructs, kGuestStructCount)) {
        if (one.stype != 0 && one.parents.find(wanted) != std::string_view::npos) {
            fitting.push_back(&one);
        }
    }
    void* first = nullptr;
    if (fitting.empty()) return first;
    ++depth_;
    for (uint32_t i = count(); i > 0; --i) {
        const GuestStruct& one = *fitting[engine_() % fitting.size()];
        auto* const next = static_cast<VkBaseOutStructure*>(memory(one.size));
        one.fill(*this, next);
        next->pNext = static_cast<VkBaseOutStructure*>(first);
        first = next;
    }
    --depth_;
    return first;
}

uint32_t Random::descriptor_type() {
    return kDescriptorTypes[engine_() % std::size(kDescriptorTypes)];
}

uint32_t Random::shader_stage() {
    return 1U << engine_() % 6;
}

void encode_next(Writer& to, const void* structure) {
    if (structure == nullptr) return to.be32(0);
    const auto* const base = static_cast<const VkBaseInStructure*>(structure);
    const GuestStruct* const one = find(static_cast<uint32_t>(base->sType));
    to.be32(static_cast<uint32_t>(one->size));
    to.u32(one->stype);
    one->encode(to, structure);
}

bool has_rasterization(const VkGraphicsPipelineCreateInfo& info) {
    if (info.pRasterizationState != nullptr && !info.pRasterizationState->rasterizerDiscardEnable) {
        return true;
    }
    if (info.pDynamicState == nullptr) return false;
    const std::span states(info.pDynamicState->pDynamicStates,
                           info.pDynamicState->dynamicStateCount);
    return std::ranges::find(states, VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE) != states.end();
}

bool has_tessellation(const VkGraphicsPipelineCreateInfo& info) {
    constexpr VkFlags kStages =
        VK_SHADER_STAGE_TESSELLATION_CONTROL_BIT | VK_SHADER_STAGE_TESSELLATION_EVALUATION_BIT;
    return std::ranges::any_of(
        std::span(info.pStages, info.stageCount),
        [](const VkPipelineShaderStageCreateInfo& stage) { return (stage.stage & kStages) != 0; });
}

bool is_image(VkDescriptorType type) {
    const auto* const end = std::begin(kDescriptorTypes) + 5;
    return std::find(std::begin(kDescriptorTypes), end, type) != end;
}

bool is_buffer(VkDescriptorType type) {
    const auto* const end = std::begin(kDescriptorTypes) + 9;
    return std::find(std::begin(kDescriptorTypes) + 5, end, type) != end;
}

bool is_texel_buffer(VkDescriptorType type) {
    const auto* const end = std::begin(kDescriptorTypes) + 11;
    return std::find(std::begin(kDescriptorTypes) + 9, end, type) != end;
}

}  // namespace swede::gfxstream::vulkan::guest
