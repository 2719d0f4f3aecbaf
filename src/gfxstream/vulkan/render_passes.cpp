// SPDX-License-Identifier: Apache-2.0
// Render passes and framebuffers: drivers take it for granted that these and what begins them agree
// on attachments and subpasses.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/command_data.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/render_pass_data.h"
#include "gfxstream/vulkan/resource_data.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

struct FramebufferData : MadeOfOthers {
    using MadeOfOthers::MadeOfOthers;
    uint32_t attachments = 0;
    bool imageless = false;
    VkExtent2D extent{};
    uint32_t layers = 0;
};

/// Whether all of `views` have room for what is drawn; `views` may hold null. `multiview`: the
/// masks of all views that are drawn at once.
bool have_room(Call& call, std::span<const VkImageView> views, VkExtent2D extent, uint32_t layers,
               uint32_t multiview) {
    const uint32_t wanted = std::max(layers, static_cast<uint32_t>(std::bit_width(multiview)));
    for (const VkImageView view : views) {
        if (view == VK_NULL_HANDLE) continue;
        const Object* const object = call.ring.pins.find(ObjectType::kImageView, raw(view));
        if (object == nullptr) return call.in.fail("A view is drawn to that has gone.");
        const auto& has = object->get<ViewData>();
        if (extent.width > has.extent.width || extent.height > has.extent.height ||
            wanted > has.layers)
            return call.in.fail("{}x{}x{} texels are drawn to a view of {}x{}x{}.", extent.width,
                                extent.height, wanted, has.extent.width, has.extent.height,
                                has.layers);
    }
    return true;
}

/// The lower right corner of `area`; empty: it is not within `extent`.
std::optional<VkExtent2D> end_of(const VkRect2D& area, VkExtent2D extent) {
    if (area.offset.x < 0 || area.offset.y < 0 ||
        !range_fits(static_cast<uint32_t>(area.offset.x), area.extent.width, extent.width) ||
        !range_fits(static_cast<uint32_t>(area.offset.y), area.extent.height, extent.height))
        return std::nullopt;
    return VkExtent2D{static_cast<uint32_t>(area.offset.x) + area.extent.width,
                      static_cast<uint32_t>(area.offset.y) + area.extent.height};
}

bool begin_pass(Call& call, const Object& command_buffer, PassInHand begun) {
    PassInHand& pass = command_buffer.get<CommandBufferData>().pass;
    if (pass.kind != PassInHand::Kind::kNone)
        return call.in.fail("A pass is begun inside of another one.");
    begun.needed = pass.needed;
    pass = std::move(begun);
    return true;
}

/// Makes `info` fit its objects, or fails.
bool prepare(Call& call, const Object& command_buffer, VkRenderPassBeginInfo& info) {
    const Object* const pass = call.ring.pins.find(ObjectType::kRenderPass, raw(info.renderPass));
    const Object* const framebuffer =
        call.ring.pins.find(ObjectType::kFramebuffer, raw(info.framebuffer));
    if (pass == nullptr || framebuffer == nullptr)
        return call.in.fail("A render pass is begun without it, or without a framebuffer.");
    const auto& pass_data = pass->get<RenderPassData>();
    const auto& target = framebuffer->get<FramebufferData>();
    const uint32_t count = pass_data.attachments;
    if (target.attachments != count)
        return call.in.fail("A render pass with {} attachments is begun on a framebuffer with {}.",
                            count, target.attachments);
    const auto* const views = find_in_chain<VkRenderPassAttachmentBeginInfo>(
        info.pNext, VK_STRUCTURE_TYPE_RENDER_PASS_ATTACHMENT_BEGIN_INFO);
    if (target.imageless && (views == nullptr || views->attachmentCount != count))
        return call.in.fail("A framebuffer without images gets none for its {} attachments.",
                            count);
    if (!target.imageless)
        drop_from_chain(info, [](VkStructureType type) {
            return type == VK_STRUCTURE_TYPE_RENDER_PASS_ATTACHMENT_BEGIN_INFO;
        });
    const auto end = end_of(info.renderArea, target.extent);
    if (!end) return call.in.fail("A render area is larger than its framebuffer.");
    if (target.imageless && !have_room(call, {views->pAttachments, count}, target.extent,
                                       target.layers, pass_data.views))
        return false;
    if (info.clearValueCount < count) {  // drivers read one for each that is cleared
        auto* const values = room_for<VkClearValue>(call, count);
        if (values == nullptr) return false;
        std::copy_n(info.pClearValues, info.clearValueCount, values);
        info.clearValueCount = count;
        info.pClearValues = values;
    }
    return begin_pass(call, command_buffer,
                      {.kind = PassInHand::Kind::kRenderPass,
                       .next_subpasses = pass_data.subpasses - 1,
                       .colors = pass_data.colors->front(),
                       .all_colors = pass_data.colors,
                       .end = *end,
                       .layers = target.layers});
}

bool next_subpass(Call& call, const Object& command_buffer) {
    PassInHand& pass = command_buffer.get<CommandBufferData>().pass;
    if (pass.next_subpasses == 0) return call.in.fail("A render pass has no next subpass.");
    --pass.next_subpasses;
    pass.colors = (*pass.all_colors)[pass.all_colors->size() - 1 - pass.next_subpasses];
    return true;
}

bool end_pass(Call& call, const Object& command_buffer, PassInHand::Kind kind) {
    PassInHand& pass = command_buffer.get<CommandBufferData>().pass;
    if (pass.kind != kind) return call.in.fail("A pass ends that was not begun.");
    pass = {.needed = pass.needed};
    return true;
}

bool has(Call& call, const void* function) {
    return function != nullptr || call.in.fail("The driver does not offer this to the device.");
}

}  // namespace

template <typename Info, typename Function>
VkResult Session::create_render_pass(Object& device, const Info& info, uint64_t& made,
                                     Function DeviceFunctions::* function) {
    auto data = std::make_unique<RenderPassData>();
    data->attachments = info.attachmentCount;
    data->subpasses = info.subpassCount;
    uint64_t parts = uint64_t{info.attachmentCount} + info.dependencyCount;
    std::vector<uint32_t> colors;
    for (const auto& subpass : std::span(info.pSubpasses, info.subpassCount)) {
        parts += uint64_t{subpass.inputAttachmentCount} + subpass.preserveAttachmentCount +
                 2 * subpass.colorAttachmentCount + 2;
        colors.push_back(subpass.colorAttachmentCount);
        if constexpr (requires { subpass.viewMask; }) data->views |= subpass.viewMask;
    }
    if (const auto* const multiview = find_in_chain<VkRenderPassMultiviewCreateInfo>(
            info.pNext, VK_STRUCTURE_TYPE_RENDER_PASS_MULTIVIEW_CREATE_INFO))
        for (const uint32_t mask : std::span(multiview->pViewMasks, multiview->subpassCount))
            data->views |= mask;
    if (!pay(parts * cost::kRenderPassPart, data->charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    data->colors = std::make_shared<const std::vector<uint32_t>>(std::move(colors));
    VkRenderPass pass = VK_NULL_HANDLE;
    VkResult result =
        (functions_of(device).*function)(device.as<VkDevice>(), &info, nullptr, &pass);
    if (result != VK_SUCCESS) return result;
    made = adopt(ObjectType::kRenderPass, raw(pass), device, result, std::move(data));
    return result;
}

VkResult Session::vkCreateRenderPass(Call&, Object& device,
                                     const VkRenderPassCreateInfo* pCreateInfo,
                                     uint64_t* pRenderPass) {
    return create_render_pass(device, *pCreateInfo, *pRenderPass,
                              &DeviceFunctions::vkCreateRenderPass);
}

VkResult Session::vkCreateRenderPass2(Call& call, Object& device,
                                      const VkRenderPassCreateInfo2* pCreateInfo,
                                      uint64_t* pRenderPass) {
    if (!has(call, reinterpret_cast<const void*>(functions_of(device).vkCreateRenderPass2)))
        return VK_ERROR_UNKNOWN;
    return create_render_pass(device, *pCreateInfo, *pRenderPass,
                              &DeviceFunctions::vkCreateRenderPass2);
}

VkResult Session::vkCreateFramebuffer(Call& call, Object& device,
                                      const VkFramebufferCreateInfo* pCreateInfo,
                                      uint64_t* pFramebuffer) {
    const Object* const pass =
        call.ring.pins.find(ObjectType::kRenderPass, raw(pCreateInfo->renderPass));
    auto data = std::make_unique<FramebufferData>(table_);
    data->attachments = pCreateInfo->attachmentCount;
    data->imageless = (pCreateInfo->flags & VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT) != 0;
    const std::span views(pCreateInfo->pAttachments,
                          data->imageless ? 0 : pCreateInfo->attachmentCount);
    if (pass == nullptr || pass->get<RenderPassData>().attachments != data->attachments ||
        std::ranges::find(views, VkImageView{}) != views.end()) {
        call.in.fail("A framebuffer with {} attachments does not fit its render pass.",
                     data->attachments);
        return VK_ERROR_UNKNOWN;
    }
    if (views.size() > cost::kMostAttachments) return VK_ERROR_OUT_OF_HOST_MEMORY;
    data->extent = {pCreateInfo->width, pCreateInfo->height};
    data->layers = pCreateInfo->layers;
    const VkPhysicalDeviceLimits& limits = host_.limits();
    if (pCreateInfo->width > limits.maxFramebufferWidth ||
        pCreateInfo->height > limits.maxFramebufferHeight ||
        pCreateInfo->layers > limits.maxFramebufferLayers) {
        call.in.fail("A framebuffer has {}x{}x{} texels, more than the device allows.",
                     pCreateInfo->width, pCreateInfo->height, pCreateInfo->layers);
        return VK_ERROR_UNKNOWN;
    }
    if (!have_room(call, views, data->extent, data->layers, pass->get<RenderPassData>().views))
        return VK_ERROR_UNKNOWN;
    for (const VkImageView view : views)
        if (!hold(call, ObjectType::kImageView, raw(view), data->others)) return VK_ERROR_UNKNOWN;
    VkFramebuffer made = VK_NULL_HANDLE;
    VkResult result = functions_of(device).vkCreateFramebuffer(device.as<VkDevice>(), pCreateInfo,
                                                               nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pFramebuffer = adopt(ObjectType::kFramebuffer, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkCmdBeginRenderPass(Call& call, Object& commandBuffer,
                                   const VkRenderPassBeginInfo* pRenderPassBegin,
                                   VkSubpassContents contents) {
    VkRenderPassBeginInfo info = *pRenderPassBegin;
    if (!prepare(call, commandBuffer, info)) return;
    functions_of(commandBuffer)
        .vkCmdBeginRenderPass(commandBuffer.as<VkCommandBuffer>(), &info, contents);
}

void Session::vkCmdBeginRenderPass2(Call& call, Object& commandBuffer,
                                    const VkRenderPassBeginInfo* pRenderPassBegin,
                                    const VkSubpassBeginInfo* pSubpassBeginInfo) {
    const auto function = functions_of(commandBuffer).vkCmdBeginRenderPass2;
    VkRenderPassBeginInfo info = *pRenderPassBegin;
    if (!has(call, reinterpret_cast<const void*>(function)) || !prepare(call, commandBuffer, info))
        return;
    function(commandBuffer.as<VkCommandBuffer>(), &info, pSubpassBeginInfo);
}

void Session::vkCmdNextSubpass(Call& call, Object& commandBuffer, VkSubpassContents contents) {
    if (!next_subpass(call, commandBuffer)) return;
    functions_of(commandBuffer).vkCmdNextSubpass(commandBuffer.as<VkCommandBuffer>(), contents);
}

void Session::vkCmdNextSubpass2(Call& call, Object& commandBuffer,
                                const VkSubpassBeginInfo* pSubpassBeginInfo,
                                const VkSubpassEndInfo* pSubpassEndInfo) {
    const auto function = functions_of(commandBuffer).vkCmdNextSubpass2;
    if (!has(call, reinterpret_cast<const void*>(function)) || !next_subpass(call, commandBuffer))
        return;
    function(commandBuffer.as<VkCommandBuffer>(), pSubpassBeginInfo, pSubpassEndInfo);
}

void Session::vkCmdEndRenderPass(Call& call, Object& commandBuffer) {
    if (!end_pass(call, commandBuffer, PassInHand::Kind::kRenderPass)) return;
    functions_of(commandBuffer).vkCmdEndRenderPass(commandBuffer.as<VkCommandBuffer>());
}

void Session::vkCmdEndRenderPass2(Call& call, Object& commandBuffer,
                                  const VkSubpassEndInfo* pSubpassEndInfo) {
    const auto function = functions_of(commandBuffer).vkCmdEndRenderPass2;
    if (!has(call, reinterpret_cast<const void*>(function)) ||
        !end_pass(call, commandBuffer, PassInHand::Kind::kRenderPass))
        return;
    function(commandBuffer.as<VkCommandBuffer>(), pSubpassEndInfo);
}

void Session::vkCmdBeginRendering(Call& call, Object& commandBuffer,
                                  const VkRenderingInfo* pRenderingInfo) {
    const auto function = functions_of(commandBuffer).vkCmdBeginRendering;
    if (!has(call, reinterpret_cast<const void*>(function))) return;
    const VkRenderingInfo& info = *pRenderingInfo;
    const VkPhysicalDeviceLimits& limits = host_.limits();
    const auto end =
        end_of(info.renderArea, {limits.maxFramebufferWidth, limits.maxFramebufferHeight});
    const uint32_t layers = info.viewMask != 0 ? 1 : info.layerCount;
    if (!end || layers > limits.maxFramebufferLayers) {
        call.in.fail("A render area is larger than the device allows.");
        return;
    }
    const auto is_whole = [&](const VkRenderingAttachmentInfo& one) {
        const std::array views{one.imageView, one.resolveMode != VK_RESOLVE_MODE_NONE
                                                  ? one.resolveImageView
                                                  : VK_NULL_HANDLE};
        return have_room(call, views, *end, layers, info.viewMask);
    };
    if (!std::ranges::all_of(std::span(info.pColorAttachments, info.colorAttachmentCount),
                             is_whole) ||
        (info.pDepthAttachment != nullptr && !is_whole(*info.pDepthAttachment)) ||
        (info.pStencilAttachment != nullptr && !is_whole(*info.pStencilAttachment)) ||
        !begin_pass(call, commandBuffer,
                    {.kind = PassInHand::Kind::kRendering,
                     .colors = info.colorAttachmentCount,
                     .end = *end,
                     .layers = layers}))
        return;
    function(commandBuffer.as<VkCommandBuffer>(), pRenderingInfo);
}

void Session::vkCmdEndRendering(Call& call, Object& commandBuffer) {
    const auto function = functions_of(commandBuffer).vkCmdEndRendering;
    if (!has(call, reinterpret_cast<const void*>(function)) ||
        !end_pass(call, commandBuffer, PassInHand::Kind::kRendering))
        return;
    function(commandBuffer.as<VkCommandBuffer>());
}

void Session::vkCmdClearAttachments(Call& call, Object& commandBuffer, uint32_t attachmentCount,
                                    const VkClearAttachment* pAttachments, uint32_t rectCount,
                                    const VkClearRect* pRects) {
    PassInHand& pass = commandBuffer.get<CommandBufferData>().pass;
    if (pass.kind == PassInHand::Kind::kNone) {
        call.in.fail("Attachments are cleared outside of a pass.");
        return;
    }
    auto* const cleared = room_for<VkClearAttachment>(call, attachmentCount);
    if (cleared == nullptr) return;
    uint32_t count = 0;
    for (const VkClearAttachment& one : std::span(pAttachments, attachmentCount)) {
        if ((one.aspectMask & VK_IMAGE_ASPECT_COLOR_BIT) != 0) {
            if (one.colorAttachment == VK_ATTACHMENT_UNUSED) continue;  // has no effect
            if (one.colorAttachment >= pass.colors) {
                call.in.fail("The colour attachment {} is cleared where there are {}.",
                             one.colorAttachment, pass.colors);
                return;
            }
            pass.needed.colors = std::max(pass.needed.colors, one.colorAttachment + 1);
        }
        cleared[count++] = one;
    }
    for (const VkClearRect& one : std::span(pRects, rectCount)) {
        const auto end = end_of(one.rect, pass.end);
        if (!end || !range_fits(one.baseArrayLayer, one.layerCount, pass.layers)) {
            call.in.fail("What is cleared is not within the pass.");
            return;
        }
        auto& needed = pass.needed;
        needed.end = {std::max(needed.end.width, end->width),
                      std::max(needed.end.height, end->height)};
        needed.layers = std::max(needed.layers, one.baseArrayLayer + one.layerCount);
    }
    if (count == 0 || rectCount == 0) return;
    functions_of(commandBuffer)
        .vkCmdClearAttachments(commandBuffer.as<VkCommandBuffer>(), count, cleared, rectCount,
                               pRects);
}

}  // namespace swede::gfxstream::vulkan
