// SPDX-License-Identifier: Apache-2.0
// Images. How a guest's image is made on the host is image_plan.h's; here are the calls.
#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/checked.h"
#include "base/log.h"
#include "gfxstream/vulkan/binding.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/image_plan.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

/// The rows of an image in one piece of memory.
VkSubresourceLayout rows_of(const Object& device, VkImage image) {
    const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
    VkSubresourceLayout layout{};
    functions_of(device).vkGetImageSubresourceLayout(device.as<VkDevice>(), image, &subresource,
                                                     &layout);
    return layout;
}

/// To the guest, an image with a modifier has memory planes, and ours has colours. Guests ask for
/// either with either (Mesa 25.0.7 and 26.2.6 differ). False: there is no such plane.
bool to_host_aspect(VkImageAspectFlags& aspect) {
    constexpr VkImageAspectFlags kMemoryPlanes =
        VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT | VK_IMAGE_ASPECT_MEMORY_PLANE_1_BIT_EXT |
        VK_IMAGE_ASPECT_MEMORY_PLANE_2_BIT_EXT | VK_IMAGE_ASPECT_MEMORY_PLANE_3_BIT_EXT;
    if (aspect == VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT) aspect = VK_IMAGE_ASPECT_COLOR_BIT;
    return (aspect & kMemoryPlanes) == 0;
}

/// Texels of a compressed format's block; of all others one.
VkExtent2D block_of(VkFormat format) {
    constexpr std::array<VkExtent2D, 14> kAstc{{{4, 4},
                                                {5, 4},
                                                {5, 5},
                                                {6, 5},
                                                {6, 6},
                                                {8, 5},
                                                {8, 6},
                                                {8, 8},
                                                {10, 5},
                                                {10, 6},
                                                {10, 8},
                                                {10, 10},
                                                {12, 10},
                                                {12, 12}}};
    if (format >= VK_FORMAT_ASTC_4x4_UNORM_BLOCK && format <= VK_FORMAT_ASTC_12x12_SRGB_BLOCK)
        return kAstc[static_cast<size_t>(format - VK_FORMAT_ASTC_4x4_UNORM_BLOCK) / 2];
    if (format >= VK_FORMAT_ASTC_4x4_SFLOAT_BLOCK && format <= VK_FORMAT_ASTC_12x12_SFLOAT_BLOCK)
        return kAstc[static_cast<size_t>(format - VK_FORMAT_ASTC_4x4_SFLOAT_BLOCK)];
    if (format >= VK_FORMAT_BC1_RGB_UNORM_BLOCK && format <= VK_FORMAT_EAC_R11G11_SNORM_BLOCK)
        return {4, 4};
    return {1, 1};
}

/// What of the image a view shows, for `view`; fails when the image does not have it: drivers
/// follow the numbers.
bool look_at_range(Call& call, const ImageData& image, const VkImageViewCreateInfo& info,
                   ViewData& view) {
    const VkImageSubresourceRange& range = info.subresourceRange;
    // Slices of a 3D image may be shown as layers.
    const bool sliced = image.type == VK_IMAGE_TYPE_3D && info.viewType != VK_IMAGE_VIEW_TYPE_3D;
    const auto at_level = [&](uint32_t size) {
        return range.baseMipLevel < 32 ? std::max(size >> range.baseMipLevel, 1U) : 1U;
    };
    const uint32_t all_layers = sliced ? at_level(image.extent.depth) : image.layers;
    const uint32_t levels = range.levelCount != VK_REMAINING_MIP_LEVELS
                                ? range.levelCount
                                : image.levels - std::min(range.baseMipLevel, image.levels);
    view.layers = range.layerCount != VK_REMAINING_ARRAY_LAYERS
                      ? range.layerCount
                      : all_layers - std::min(range.baseArrayLayer, all_layers);
    if (levels == 0 || !range_fits(range.baseMipLevel, levels, image.levels) || view.layers == 0 ||
        !range_fits(range.baseArrayLayer, view.layers, all_layers))
        return call.in.fail(
            "A view is of {} levels from {} and {} layers from {} on, of {} and {}.", levels,
            range.baseMipLevel, view.layers, range.baseArrayLayer, image.levels, all_layers);
    view.extent = {at_level(image.extent.width), at_level(image.extent.height)};
    const VkExtent2D block = block_of(image.format);
    const VkExtent2D own = block_of(info.format);
    if (block.width != own.width || block.height != own.height)  // a texel for each block
        view.extent = {(view.extent.width + block.width - 1) / block.width * own.width,
                       (view.extent.height + block.height - 1) / block.height * own.height};
    // Planes of less than all texels: what has all of them is not drawn to by any guest.
    if ((range.aspectMask & (VK_IMAGE_ASPECT_PLANE_1_BIT | VK_IMAGE_ASPECT_PLANE_2_BIT)) != 0)
        view.extent = {(view.extent.width + 1) / 2, (view.extent.height + 1) / 2};
    return true;
}

}  // namespace

/// Keeps images that cannot lie in imported memory out of what the guest maps.
void Session::restrict_types(VkMemoryRequirements& requirements, bool importable) const {
    const uint32_t others = requirements.memoryTypeBits & ~host_.memory().importable;
    if (!importable && others != 0) requirements.memoryTypeBits = others;
}

VkResult Session::create_image(Object& device, const VkImageCreateInfo& guest, uint64_t& image,
                               VkMemoryRequirements* requirements) {
    const DeviceFunctions& vk = functions_of(device);
    const auto handle = device.as<VkDevice>();
    const Object& physical = *device.parent;
    ImagePlan plan;
    VkResult result = plan_image(host_, functions_of_physical(physical),
                                 physical.as<VkPhysicalDevice>(), guest, plan);
    if (result != VK_SUCCESS) return result;
    VkImage made = VK_NULL_HANDLE;
    result = vk.vkCreateImage(handle, plan.create_info(), nullptr, &made);
    if (result != VK_SUCCESS) return result;
    auto data = std::make_unique<ImageData>();
    data->importable = plan.importable;
    data->shared = plan.shared;
    data->linear = plan.info.tiling == VK_IMAGE_TILING_LINEAR;
    data->disjoint = (plan.info.flags & VK_IMAGE_CREATE_DISJOINT_BIT) != 0;
    data->extent = plan.info.extent;
    data->levels = plan.info.mipLevels;
    data->layers = plan.info.arrayLayers;
    data->format = plan.info.format;
    data->type = plan.info.imageType;
    if (data->shared && data->linear) {
        const VkSubresourceLayout rows = rows_of(device, made);
        if (rows.offset != 0 || rows.rowPitch > std::numeric_limits<uint32_t>::max() ||
            (plan.explicit_rows && plan.row_pitch != rows.rowPitch)) {
            vk.vkDestroyImage(handle, made, nullptr);
            return VK_ERROR_INVALID_DRM_FORMAT_MODIFIER_PLANE_LAYOUT_EXT;
        }
        data->row_pitch = static_cast<uint32_t>(rows.rowPitch);
    }
    if (requirements != nullptr && !data->disjoint) {  // else each plane has its own
        vk.vkGetImageMemoryRequirements(handle, made, requirements);
        restrict_types(*requirements, data->importable);
    }
    image = adopt(ObjectType::kImage, raw(made), device, result, std::move(data));
    return result;
}

VkResult Session::vkCreateImage(Call&, Object& device, const VkImageCreateInfo* pCreateInfo,
                                uint64_t* pImage) {
    return create_image(device, *pCreateInfo, *pImage, nullptr);
}

VkResult Session::vkCreateImageWithRequirementsGOOGLE(Call&, Object& device,
                                                      const VkImageCreateInfo* pCreateInfo,
                                                      uint64_t* pImage,
                                                      VkMemoryRequirements* pMemoryRequirements) {
    *pMemoryRequirements = {};
    return create_image(device, *pCreateInfo, *pImage, pMemoryRequirements);
}

void Session::vkDestroyImage(Call&, Object&, Object* image) {
    if (image != nullptr) table_.remove(image->id, image->type);
}

VkResult Session::vkCreateImageView(Call& call, Object& device,
                                    const VkImageViewCreateInfo* pCreateInfo, uint64_t* pView) {
    auto data = std::make_unique<ViewData>(table_);
    const Object* const image = call.ring.pins.find(ObjectType::kImage, raw(pCreateInfo->image));
    if (image == nullptr || !look_at_range(call, image->get<ImageData>(), *pCreateInfo, *data) ||
        !hold(call, ObjectType::kImage, raw(pCreateInfo->image), data->others))
        return VK_ERROR_UNKNOWN;
    VkImageView made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateImageView(device.as<VkDevice>(), pCreateInfo, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pView = adopt(ObjectType::kImageView, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkGetImageMemoryRequirements(Call&, Object& device, Object& image,
                                           VkMemoryRequirements* pMemoryRequirements) {
    *pMemoryRequirements = {};
    if (image.get<ImageData>().disjoint) return;
    functions_of(device).vkGetImageMemoryRequirements(device.as<VkDevice>(), image.as<VkImage>(),
                                                      pMemoryRequirements);
    restrict_types(*pMemoryRequirements, image.get<ImageData>().importable);
}

void Session::vkGetImageMemoryRequirements2(Call& call, Object& device,
                                            const VkImageMemoryRequirementsInfo2* pInfo,
                                            VkMemoryRequirements2* pMemoryRequirements) {
    const Object* const image = look_up(call, ObjectType::kImage, guest_id(pInfo->image), device);
    if (image == nullptr) return;
    VkImageMemoryRequirementsInfo2 info = *pInfo;
    info.image = image->as<VkImage>();
    functions_of(device).vkGetImageMemoryRequirements2(device.as<VkDevice>(), &info,
                                                       pMemoryRequirements);
    restrict_types(pMemoryRequirements->memoryRequirements, image->get<ImageData>().importable);
}

void Session::vkGetDeviceImageMemoryRequirements(Call& call, Object& device,
                                                 const VkDeviceImageMemoryRequirements* pInfo,
                                                 VkMemoryRequirements2* pMemoryRequirements) {
    const auto function = functions_of(device).vkGetDeviceImageMemoryRequirements;
    if (function == nullptr || pInfo->pCreateInfo == nullptr) {
        call.in.fail("The device answers no such question.");
        return;
    }
    const Object& physical = *device.parent;
    ImagePlan plan;
    pMemoryRequirements->memoryRequirements = {};
    if (plan_image(host_, functions_of_physical(physical), physical.as<VkPhysicalDevice>(),
                   *pInfo->pCreateInfo, plan) != VK_SUCCESS)
        return;
    VkDeviceImageMemoryRequirements info = *pInfo;
    info.pCreateInfo = plan.create_info();
    function(device.as<VkDevice>(), &info, pMemoryRequirements);
    restrict_types(pMemoryRequirements->memoryRequirements, plan.importable);
}

void Session::vkGetImageSubresourceLayout(Call&, Object& device, Object& image,
                                          const VkImageSubresource* pSubresource,
                                          VkSubresourceLayout* pLayout) {
    VkImageSubresource subresource = *pSubresource;
    *pLayout = {};
    // Guests may ask for the rows of OPTIMAL images (26.2.6); those that matter are LINEAR here.
    if (!image.get<ImageData>().linear || !to_host_aspect(subresource.aspectMask)) return;
    functions_of(device).vkGetImageSubresourceLayout(device.as<VkDevice>(), image.as<VkImage>(),
                                                     &subresource, pLayout);
}

void Session::vkGetImageSubresourceLayout2(Call& call, Object& device, Object& image,
                                           const VkImageSubresource2* pSubresource,
                                           VkSubresourceLayout2* pLayout) {
    vkGetImageSubresourceLayout(call, device, image, &pSubresource->imageSubresource,
                                &pLayout->subresourceLayout);
}

void Session::vkGetDeviceImageSubresourceLayout(Call& call, Object& device,
                                                const VkDeviceImageSubresourceInfo* pInfo,
                                                VkSubresourceLayout2* pLayout) {
    // A part of 1.4 and of an extension that guests are not offered.
    (void)device;
    (void)pInfo;
    (void)pLayout;
    call.in.fail("The device answers no such question.");
}

VkResult Session::vkGetImageDrmFormatModifierPropertiesEXT(
    Call&, Object&, Object&, VkImageDrmFormatModifierPropertiesEXT* pProperties) {
    pProperties->drmFormatModifier = kLinearModifier;
    return VK_SUCCESS;
}

VkResult Session::bind_image(Call& call, Object& device, const VkBindImageMemoryInfo& info) {
    Object* const image = look_up(call, ObjectType::kImage, guest_id(info.image), device);
    Object* const memory = look_up(call, ObjectType::kDeviceMemory, guest_id(info.memory), device);
    if (image == nullptr || memory == nullptr) return VK_ERROR_UNKNOWN;
    const auto* const plane = find_in_chain<VkBindImagePlaneMemoryInfo>(
        info.pNext, VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO);
    auto& data = image->get<ImageData>();
    if (plane == nullptr)
        return vkBindImageMemory(call, device, *image, *memory, info.memoryOffset);
    const auto index = static_cast<uint32_t>(
        std::countr_zero(static_cast<uint32_t>(plane->planeAspect) / VK_IMAGE_ASPECT_PLANE_0_BIT));
    if (!data.disjoint || index >= data.planes.size()) return VK_ERROR_OUT_OF_DEVICE_MEMORY;

    const DeviceFunctions& vk = functions_of(device);
    VkImagePlaneMemoryRequirementsInfo which{};
    which.sType = VK_STRUCTURE_TYPE_IMAGE_PLANE_MEMORY_REQUIREMENTS_INFO;
    which.planeAspect = plane->planeAspect;
    const VkImageMemoryRequirementsInfo2 question{
        VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2, &which, image->as<VkImage>()};
    VkMemoryRequirements2 requirements{};
    requirements.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2;
    vk.vkGetImageMemoryRequirements2(device.as<VkDevice>(), &question, &requirements);
    MemoryHold& hold = data.planes[index];
    if (!fits(requirements.memoryRequirements, memory->get<MemoryData>(), info.memoryOffset) ||
        !hold.hold(table_, *memory))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    VkBindImagePlaneMemoryInfo host_plane{};
    host_plane.sType = VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO;
    host_plane.planeAspect = plane->planeAspect;
    const VkBindImageMemoryInfo bind{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &host_plane,
                                     image->as<VkImage>(), memory->as<VkDeviceMemory>(),
                                     info.memoryOffset};
    const VkResult result = vk.vkBindImageMemory2(device.as<VkDevice>(), 1, &bind);
    if (result != VK_SUCCESS) hold.let_go();
    return result;
}

VkResult Session::vkBindImageMemory(Call&, Object& device, Object& image, Object& memory,
                                    VkDeviceSize memoryOffset) {
    auto& data = image.get<ImageData>();
    if (data.disjoint) return VK_ERROR_OUT_OF_DEVICE_MEMORY;  // its planes are bound one by one
    const DeviceFunctions& vk = functions_of(device);
    VkMemoryRequirements requirements{};
    vk.vkGetImageMemoryRequirements(device.as<VkDevice>(), image.as<VkImage>(), &requirements);
    const auto& target = memory.get<MemoryData>();
    ColorBuffer* const color_buffer = data.row_pitch != 0 ? target.color_buffer.get() : nullptr;
    if (color_buffer != nullptr && color_buffer->has_fixed_stride &&
        color_buffer->stride != data.row_pitch) {
        log_.info("An image with rows of {} bytes is not bound to memory with rows of {}.",
                  data.row_pitch, color_buffer->stride.load());
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    if (!fits(requirements, target, memoryOffset) || !data.planes[0].hold(table_, memory))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const VkResult result = vk.vkBindImageMemory(device.as<VkDevice>(), image.as<VkImage>(),
                                                 memory.as<VkDeviceMemory>(), memoryOffset);
    if (result != VK_SUCCESS) {
        data.planes[0].let_go();
    } else if (color_buffer != nullptr) {
        color_buffer->stride = data.row_pitch;
    }
    return result;
}

VkResult Session::vkBindImageMemory2(Call& call, Object& device, uint32_t bindInfoCount,
                                     const VkBindImageMemoryInfo* pBindInfos) {
    VkResult result = VK_SUCCESS;
    for (const VkBindImageMemoryInfo& info : std::span(pBindInfos, bindInfoCount)) {
        const VkResult one = bind_image(call, device, info);
        if (call.in.failed()) return one;
        if (one != VK_SUCCESS) result = one;
    }
    return result;
}

}  // namespace swede::gfxstream::vulkan
