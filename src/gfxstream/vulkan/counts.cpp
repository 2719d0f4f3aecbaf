// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/counts.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <span>

#include "base/checked.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/decoder.h"
#include "gfxstream/vulkan/descriptor_data.h"
#include "gfxstream/vulkan/generated/arguments.h"

namespace swede::gfxstream::vulkan {
namespace {

// Sizes of arrays in Mesa's drivers (25.0 src/vulkan/runtime/vk_limits.h), whose limits are no
// larger; other drivers do not report more either.
constexpr uint32_t kMostColorAttachments = 8;
constexpr uint32_t kMostViewports = 16;
constexpr uint32_t kMostVertexBindings = 32;
constexpr uint32_t kMostVertexAttributes = 32;
constexpr uint32_t kMostPushBytes = 256;
constexpr uint32_t kMostStages = 7;           // with those of meshes
constexpr uint32_t kMostFeedbackBuffers = 4;  // maxTransformFeedbackBuffers
constexpr uint32_t kMostControlPoints = 32;   // maxTessellationPatchSize
/// Drivers make an array up to the greatest number of a binding.
constexpr uint32_t kMostBindings = 1 << 16;

bool within(Decoder& in, const char* what, uint32_t first, uint32_t count, uint32_t most) {
    return range_fits(first, count, most) ||
           in.fail("There are {} {} from {} on, where {} have room.", count, what, first, most);
}

template <typename T>
T* find(const void* next, VkStructureType type) {
    return find_in_chain<T>(next, type);
}

// --- descriptors --------------------------------------------------------------------------------

bool has_samplers(VkDescriptorType type) {
    return type == VK_DESCRIPTOR_TYPE_SAMPLER || type == VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER;
}

/// Of all others, acceleration structures for one, the guest would send nothing that a driver could
/// read in a write.
bool is_offered(VkDescriptorType type) {
    return (type >= VK_DESCRIPTOR_TYPE_SAMPLER && type <= VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT) ||
           type == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
}

bool check(Decoder& in, VkDescriptorSetLayoutBinding& binding) {
    if (!is_offered(binding.descriptorType))
        return in.fail("No guest is offered descriptors of type {}.",
                       static_cast<uint32_t>(binding.descriptorType));
    if (!within(in, "bindings", binding.binding, 1, kMostBindings)) return false;
    if (binding.pImmutableSamplers == nullptr) return true;
    if (!has_samplers(binding.descriptorType)) {
        binding.pImmutableSamplers = nullptr;  // Vulkan ignores it, unknown handles included
        return true;
    }
    const std::span samplers(binding.pImmutableSamplers, binding.descriptorCount);
    return std::ranges::find(samplers, VkSampler{}) == samplers.end() ||
           in.fail("An immutable sampler is null.");
}

bool check(Decoder&, VkDescriptorSetLayoutCreateInfo& info) {
    auto* const flags = find<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
    if (flags != nullptr && flags->bindingCount != info.bindingCount) {
        flags->bindingCount = 0;  // no binding has flags
        flags->pBindingFlags = nullptr;
    }
    return true;
}

bool check(Decoder& in, VkWriteDescriptorSet& write) {
    const Object* const set = in.descriptor_set(0);
    if (!check_write(in, set, write) || !check_samplers(in, *set, write)) return false;
    if (write.descriptorType != VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK) return true;
    const auto* const block = find<VkWriteDescriptorSetInlineUniformBlock>(
        write.pNext, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK);
    return (block != nullptr && block->dataSize == write.descriptorCount) ||
           in.fail("{} bytes of uniforms are written, and others are there.",
                   write.descriptorCount);
}

bool check(Decoder& in, VkCopyDescriptorSet& copy) {
    const Object* const from = in.descriptor_set(1);
    const Object* const to = in.descriptor_set(0);
    if (from == nullptr || to == nullptr) return in.fail("A copy names no descriptor set.");
    const auto source = from->get<DescriptorSetData>().type_of(
        copy.srcBinding, copy.srcArrayElement, copy.descriptorCount);
    const auto target = to->get<DescriptorSetData>().type_of(copy.dstBinding, copy.dstArrayElement,
                                                             copy.descriptorCount);
    return (source && target && source == target) ||
           in.fail(
               "{} descriptors are copied from binding {} to binding {}, which do not have them.",
               copy.descriptorCount, copy.srcBinding, copy.dstBinding);
}

// --- pipelines ----------------------------------------------------------------------------------

bool check(Decoder& in, VkSpecializationInfo& info) {
    for (const VkSpecializationMapEntry& entry : std::span(info.pMapEntries, info.mapEntryCount))
        if (!range_fits(entry.offset, entry.size, info.dataSize))
            return in.fail("A specialization constant has {} bytes at {} of {}.", entry.size,
                           entry.offset, info.dataSize);
    return true;
}

bool check(Decoder& in, VkPipelineVertexInputStateCreateInfo& info) {
    const std::span bindings(info.pVertexBindingDescriptions, info.vertexBindingDescriptionCount);
    for (const VkVertexInputBindingDescription& one : bindings)
        if (!within(in, "vertex bindings", one.binding, 1, kMostVertexBindings)) return false;
    const std::span attributes(info.pVertexAttributeDescriptions,
                               info.vertexAttributeDescriptionCount);
    for (const VkVertexInputAttributeDescription& one : attributes)
        if (!within(in, "vertex bindings", one.binding, 1, kMostVertexBindings) ||
            !within(in, "vertex attributes", one.location, 1, kMostVertexAttributes))
            return false;
    if (!within(in, "vertex bindings", 0, info.vertexBindingDescriptionCount,
                kMostVertexBindings) ||
        !within(in, "vertex attributes", 0, info.vertexAttributeDescriptionCount,
                kMostVertexAttributes))
        return false;
    const auto* const divisors = find<VkPipelineVertexInputDivisorStateCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_DIVISOR_STATE_CREATE_INFO);
    if (divisors == nullptr) return true;
    for (const VkVertexInputBindingDivisorDescription& one :
         std::span(divisors->pVertexBindingDivisors, divisors->vertexBindingDivisorCount))
        if (!within(in, "vertex bindings", one.binding, 1, kMostVertexBindings)) return false;
    return true;
}

bool check(Decoder& in, VkPipelineViewportStateCreateInfo& info) {
    return within(in, "viewports", 0, info.viewportCount, kMostViewports) &&
           within(in, "scissors", 0, info.scissorCount, kMostViewports);
}

bool check(Decoder& in, VkPipelineColorBlendStateCreateInfo& info) {
    return within(in, "colour attachments", 0, info.attachmentCount, kMostColorAttachments);
}

bool check(Decoder& in, VkPipelineColorWriteCreateInfoEXT& info) {
    return within(in, "colour attachments", 0, info.attachmentCount, kMostColorAttachments);
}

bool check(Decoder& in, VkPipelineRenderingCreateInfo& info) {
    if (info.pColorAttachmentFormats == nullptr) info.colorAttachmentCount = 0;
    return within(in, "colour attachments", 0, info.colorAttachmentCount, kMostColorAttachments);
}

bool check(Decoder& in, VkCommandBufferInheritanceRenderingInfo& info) {
    if (info.pColorAttachmentFormats == nullptr) info.colorAttachmentCount = 0;
    return within(in, "colour attachments", 0, info.colorAttachmentCount, kMostColorAttachments);
}

/// Drivers fill a place for each stage, unless there is none at all.
void check_feedback(const void* next, uint32_t stages) {
    auto* const feedback = find<VkPipelineCreationFeedbackCreateInfo>(
        next, VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO);
    if (feedback != nullptr && feedback->pipelineStageCreationFeedbackCount != stages)
        feedback->pipelineStageCreationFeedbackCount = 0;
}

bool check(Decoder& in, VkPipelineShaderStageCreateInfo& info) {
    return info.module != VK_NULL_HANDLE ||
           find<VkShaderModuleCreateInfo>(info.pNext,
                                          VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO) != nullptr ||
           in.fail("A shader is null.");
}

bool check(Decoder& in, VkShaderModuleCreateInfo& info) {
    // What is left over of a word came with no packet, and drivers copy it.
    return info.codeSize % sizeof(uint32_t) == 0 ||
           in.fail("A shader has {} bytes.", info.codeSize);
}

bool check(Decoder& in, VkPipelineTessellationStateCreateInfo& info) {
    return within(in, "control points", 0, info.patchControlPoints, kMostControlPoints);
}

bool check(Decoder&, VkComputePipelineCreateInfo& info) {
    check_feedback(info.pNext, 1);
    return true;
}

bool is_dynamic(const VkGraphicsPipelineCreateInfo& info, VkDynamicState wanted) {
    if (info.pDynamicState == nullptr) return false;
    const std::span states(info.pDynamicState->pDynamicStates,
                           info.pDynamicState->dynamicStateCount);
    return std::ranges::find(states, wanted) != states.end();
}

bool check(Decoder& in, VkGraphicsPipelineCreateInfo& info) {
    if (!within(in, "stages", 0, info.stageCount, kMostStages)) return false;
    // Only libraries go without, which no guest is offered.
    if (info.layout == VK_NULL_HANDLE) return in.fail("A pipeline has no layout.");
    check_feedback(info.pNext, info.stageCount);
    if (const auto* const state = info.pViewportState) {
        if (state->pViewports == nullptr && state->viewportCount != 0 &&
            !is_dynamic(info, VK_DYNAMIC_STATE_VIEWPORT) &&
            !is_dynamic(info, VK_DYNAMIC_STATE_VIEWPORT_WITH_COUNT))
            return in.fail("A pipeline lacks its {} viewports.", state->viewportCount);
        if (state->pScissors == nullptr && state->scissorCount != 0 &&
            !is_dynamic(info, VK_DYNAMIC_STATE_SCISSOR) &&
            !is_dynamic(info, VK_DYNAMIC_STATE_SCISSOR_WITH_COUNT))
            return in.fail("A pipeline lacks its {} scissors.", state->scissorCount);
    }
    // The guest says by itself whether its pipeline has what rasterization needs.
    const bool rasterizes = info.pRasterizationState != nullptr &&
                            (info.pRasterizationState->rasterizerDiscardEnable == VK_FALSE ||
                             is_dynamic(info, VK_DYNAMIC_STATE_RASTERIZER_DISCARD_ENABLE));
    return !rasterizes || (info.pViewportState != nullptr && info.pMultisampleState != nullptr) ||
           in.fail("A pipeline that rasterizes has no viewports or samples.");
}

// --- render passes ------------------------------------------------------------------------------

bool check(Decoder& in, VkRenderingInfo& info) {
    drop_from_chain(info, [](VkStructureType type) {  // areas in the place of the one
        return type == VK_STRUCTURE_TYPE_DEVICE_GROUP_RENDER_PASS_BEGIN_INFO;
    });
    return within(in, "colour attachments", 0, info.colorAttachmentCount, kMostColorAttachments);
}

template <typename Reference>
bool check_references(Decoder& in, const Reference* references, uint32_t count,
                      uint32_t attachments) {
    for (uint32_t i = 0; references != nullptr && i < count; ++i)
        if (references[i].attachment != VK_ATTACHMENT_UNUSED &&
            !within(in, "attachments", references[i].attachment, 1, attachments))
            return false;
    return true;
}

template <typename Subpass>
bool check_subpass(Decoder& in, const Subpass& subpass, uint32_t attachments) {
    const auto references = [&](const auto* list, uint32_t count) {
        return check_references(in, list, count, attachments);
    };
    for (uint32_t i = 0; i < subpass.preserveAttachmentCount; ++i)
        if (!within(in, "attachments", subpass.pPreserveAttachments[i], 1, attachments))
            return false;
    return within(in, "colour attachments", 0, subpass.colorAttachmentCount,
                  kMostColorAttachments) &&
           references(subpass.pInputAttachments, subpass.inputAttachmentCount) &&
           references(subpass.pColorAttachments, subpass.colorAttachmentCount) &&
           references(subpass.pResolveAttachments, subpass.colorAttachmentCount) &&
           references(subpass.pDepthStencilAttachment, 1);
}

template <typename Info>
bool check_render_pass(Decoder& in, const Info& info) {
    if (info.subpassCount == 0) return in.fail("A render pass has no subpass.");
    for (const auto& subpass : std::span(info.pSubpasses, info.subpassCount))
        if (!check_subpass(in, subpass, info.attachmentCount)) return false;
    for (const auto& one : std::span(info.pDependencies, info.dependencyCount))
        for (const uint32_t index : {one.srcSubpass, one.dstSubpass})
            if (index != VK_SUBPASS_EXTERNAL &&
                !within(in, "subpasses", index, 1, info.subpassCount))
                return false;
    return true;
}

bool check(Decoder& in, VkRenderPassCreateInfo& info) {
    if (!check_render_pass(in, info)) return false;
    if (auto* const views = find<VkRenderPassMultiviewCreateInfo>(
            info.pNext, VK_STRUCTURE_TYPE_RENDER_PASS_MULTIVIEW_CREATE_INFO)) {
        if (views->subpassCount != info.subpassCount) views->subpassCount = 0;
        if (views->dependencyCount != info.dependencyCount) views->dependencyCount = 0;
    }
    const auto* const aspects = find<VkRenderPassInputAttachmentAspectCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_RENDER_PASS_INPUT_ATTACHMENT_ASPECT_CREATE_INFO);
    if (aspects == nullptr) return true;
    for (const VkInputAttachmentAspectReference& one :
         std::span(aspects->pAspectReferences, aspects->aspectReferenceCount))
        if (!within(in, "subpasses", one.subpass, 1, info.subpassCount) ||
            !within(in, "input attachments", one.inputAttachmentIndex, 1,
                    info.pSubpasses[one.subpass].inputAttachmentCount))
            return false;
    return true;
}

bool check(Decoder& in, VkRenderPassCreateInfo2& info) {
    if (!check_render_pass(in, info)) return false;
    for (const VkSubpassDescription2& subpass : std::span(info.pSubpasses, info.subpassCount)) {
        const auto* const resolve = find<VkSubpassDescriptionDepthStencilResolve>(
            subpass.pNext, VK_STRUCTURE_TYPE_SUBPASS_DESCRIPTION_DEPTH_STENCIL_RESOLVE);
        if (resolve != nullptr &&
            !check_references(in, resolve->pDepthStencilResolveAttachment, 1, info.attachmentCount))
            return false;
    }
    return true;
}

bool check(Decoder& in, VkFramebufferCreateInfo& info) {
    if ((info.flags & VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT) == 0) return true;
    const auto* const images = find<VkFramebufferAttachmentsCreateInfo>(
        info.pNext, VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENTS_CREATE_INFO);
    return (images != nullptr && images->attachmentImageInfoCount == info.attachmentCount) ||
           in.fail("A framebuffer does not describe its {} attachments.", info.attachmentCount);
}

bool check(Decoder&, VkRenderPassBeginInfo& info) {
    if (info.pClearValues == nullptr) info.clearValueCount = 0;
    drop_from_chain(info, [](VkStructureType type) {
        return type == VK_STRUCTURE_TYPE_DEVICE_GROUP_RENDER_PASS_BEGIN_INFO;
    });
    return true;
}

// --- resources ----------------------------------------------------------------------------------

/// For structures with a sharing mode.
template <typename Info>
bool check_families(Decoder& in, Info& info) {
    if (info.sharingMode != VK_SHARING_MODE_CONCURRENT) {
        info.queueFamilyIndexCount = 0;
        info.pQueueFamilyIndices = nullptr;
    }
    return info.queueFamilyIndexCount == 0 || info.pQueueFamilyIndices != nullptr ||
           in.fail("{} queue families are missing.", info.queueFamilyIndexCount);
}

bool check(Decoder& in, VkBufferCreateInfo& info) {
    return check_families(in, info);
}
bool check(Decoder& in, VkImageCreateInfo& info) {
    return check_families(in, info);
}

// --- recorded commands --------------------------------------------------------------------------

bool check(Decoder& in, args::vkCmdSetViewport& a) {
    return within(in, "viewports", a.firstViewport, a.viewportCount, kMostViewports);
}
bool check(Decoder& in, args::vkCmdSetScissor& a) {
    return within(in, "scissors", a.firstScissor, a.scissorCount, kMostViewports);
}
bool check(Decoder& in, args::vkCmdSetViewportWithCount& a) {
    return within(in, "viewports", 0, a.viewportCount, kMostViewports);
}
bool check(Decoder& in, args::vkCmdSetScissorWithCount& a) {
    return within(in, "scissors", 0, a.scissorCount, kMostViewports);
}
bool check(Decoder& in, args::vkCmdBindVertexBuffers& a) {
    return within(in, "vertex bindings", a.firstBinding, a.bindingCount, kMostVertexBindings);
}
bool check(Decoder& in, args::vkCmdBindVertexBuffers2& a) {
    return within(in, "vertex bindings", a.firstBinding, a.bindingCount, kMostVertexBindings);
}
bool check(Decoder& in, args::vkCmdPushConstants& a) {
    return within(in, "bytes of push constants", a.offset, a.size, kMostPushBytes);
}
bool check(Decoder& in, args::vkCmdSetPatchControlPointsEXT& a) {
    return within(in, "control points", 0, a.patchControlPoints, kMostControlPoints);
}
bool check(Decoder& in, args::vkCmdSetColorWriteEnableEXT& a) {
    return within(in, "colour attachments", 0, a.attachmentCount, kMostColorAttachments);
}
bool check(Decoder& in, args::vkCmdBindTransformFeedbackBuffersEXT& a) {
    return within(in, "feedback buffers", a.firstBinding, a.bindingCount, kMostFeedbackBuffers);
}
bool check(Decoder& in, args::vkCmdBeginTransformFeedbackEXT& a) {
    return within(in, "feedback buffers", a.firstCounterBuffer, a.counterBufferCount,
                  kMostFeedbackBuffers);
}
bool check(Decoder& in, args::vkCmdEndTransformFeedbackEXT& a) {
    return within(in, "feedback buffers", a.firstCounterBuffer, a.counterBufferCount,
                  kMostFeedbackBuffers);
}

/// Drivers have an array with a place for each.
bool check_bind_point(Decoder& in, VkPipelineBindPoint point) {
    return point == VK_PIPELINE_BIND_POINT_GRAPHICS || point == VK_PIPELINE_BIND_POINT_COMPUTE ||
           in.fail("There is no bind point {}.", static_cast<uint32_t>(point));
}
bool check(Decoder& in, args::vkCmdBindPipeline& a) {
    return check_bind_point(in, a.pipelineBindPoint);
}
bool check(Decoder& in, args::vkCmdBindDescriptorSets& a) {
    return check_bind_point(in, a.pipelineBindPoint);
}

template <typename T>
bool check_as(Decoder& in, void* structure) {
    return check(in, *static_cast<T*>(structure));
}

consteval Checks make_checks() {
    Checks all{};
    const auto structure = [&all]<typename T>(LayoutId id, const T*) {
        all[static_cast<size_t>(id)] = &check_as<T>;
    };
#define SWEDE_STRUCTURE(name) structure(LayoutId::name, static_cast<const name*>(nullptr))
#define SWEDE_COMMAND(name) structure(LayoutId::name, static_cast<const args::name*>(nullptr))
    SWEDE_STRUCTURE(VkDescriptorSetLayoutBinding);
    SWEDE_STRUCTURE(VkDescriptorSetLayoutCreateInfo);
    SWEDE_STRUCTURE(VkWriteDescriptorSet);
    SWEDE_STRUCTURE(VkCopyDescriptorSet);
    SWEDE_STRUCTURE(VkSpecializationInfo);
    SWEDE_STRUCTURE(VkPipelineVertexInputStateCreateInfo);
    SWEDE_STRUCTURE(VkPipelineViewportStateCreateInfo);
    SWEDE_STRUCTURE(VkPipelineColorBlendStateCreateInfo);
    SWEDE_STRUCTURE(VkPipelineColorWriteCreateInfoEXT);
    SWEDE_STRUCTURE(VkPipelineRenderingCreateInfo);
    SWEDE_STRUCTURE(VkCommandBufferInheritanceRenderingInfo);
    SWEDE_STRUCTURE(VkPipelineShaderStageCreateInfo);
    SWEDE_STRUCTURE(VkShaderModuleCreateInfo);
    SWEDE_STRUCTURE(VkPipelineTessellationStateCreateInfo);
    SWEDE_STRUCTURE(VkComputePipelineCreateInfo);
    SWEDE_STRUCTURE(VkGraphicsPipelineCreateInfo);
    SWEDE_STRUCTURE(VkRenderingInfo);
    SWEDE_STRUCTURE(VkRenderPassCreateInfo);
    SWEDE_STRUCTURE(VkRenderPassCreateInfo2);
    SWEDE_STRUCTURE(VkFramebufferCreateInfo);
    SWEDE_STRUCTURE(VkRenderPassBeginInfo);
    SWEDE_STRUCTURE(VkBufferCreateInfo);
    SWEDE_STRUCTURE(VkImageCreateInfo);
    SWEDE_COMMAND(vkCmdBindPipeline);
    SWEDE_COMMAND(vkCmdBindDescriptorSets);
    SWEDE_COMMAND(vkCmdSetViewport);
    SWEDE_COMMAND(vkCmdSetScissor);
    SWEDE_COMMAND(vkCmdSetViewportWithCount);
    SWEDE_COMMAND(vkCmdSetScissorWithCount);
    SWEDE_COMMAND(vkCmdBindVertexBuffers);
    SWEDE_COMMAND(vkCmdBindVertexBuffers2);
    SWEDE_COMMAND(vkCmdPushConstants);
    SWEDE_COMMAND(vkCmdSetPatchControlPointsEXT);
    SWEDE_COMMAND(vkCmdSetColorWriteEnableEXT);
    SWEDE_COMMAND(vkCmdBindTransformFeedbackBuffersEXT);
    SWEDE_COMMAND(vkCmdBeginTransformFeedbackEXT);
    SWEDE_COMMAND(vkCmdEndTransformFeedbackEXT);
#undef SWEDE_STRUCTURE
#undef SWEDE_COMMAND
    return all;
}

constexpr Checks kChecks = make_checks();

}  // namespace

const Checks& count_checks() {
    return kChecks;
}

}  // namespace swede::gfxstream::vulkan
