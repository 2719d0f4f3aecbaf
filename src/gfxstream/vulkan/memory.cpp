// SPDX-License-Identifier: Apache-2.0
// Device memory. What a guest may map is a zeroed file of ours that the driver imports by pointer;
// colour buffers are such files that contexts share; the rest is the driver's own.
#include <algorithm>
#include <optional>

#include "base/checked.h"
#include "base/log.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/generated/gfxstream_structs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/resource_data.h"
#include "gfxstream/vulkan/session.h"
#include "wire/virtio_gpu.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

/// What goes on to the driver. All else names handles of other processes, or was done here.
bool is_kept(VkStructureType type) {
    return type == VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO ||
           type == VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO;
}

}  // namespace

VkResult Session::vkAllocateMemory(Call&, Object& device, const VkMemoryAllocateInfo* pAllocateInfo,
                                   uint64_t* pMemory) {
    VkMemoryAllocateInfo info = *pAllocateInfo;
    const auto* const blob =
        find_in_chain<VkCreateBlobGOOGLE>(info.pNext, VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE);
    const auto* const color_buffer = find_in_chain<VkImportColorBufferGOOGLE>(
        info.pNext, VK_STRUCTURE_TYPE_IMPORT_COLOR_BUFFER_GOOGLE);
    const auto* const buffer =
        find_in_chain<VkImportBufferGOOGLE>(info.pNext, VK_STRUCTURE_TYPE_IMPORT_BUFFER_GOOGLE);
    drop_from_chain(info, [](VkStructureType type) { return !is_kept(type); });
    if (auto* const flags = find_in_chain<VkMemoryAllocateFlagsInfo>(
            info.pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO)) {
        flags->flags &= VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
        flags->deviceMask = 0;
    }
    const MemoryTypes& types = host_.memory();
    if (info.memoryTypeIndex >= types.guest.memoryTypeCount || info.allocationSize == 0)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;  // drivers take the index as it is
    const bool mapped = (types.importable >> info.memoryTypeIndex & 1) != 0;
    if (color_buffer != nullptr)
        return import_color_buffer(device, info, color_buffer->colorBuffer, *pMemory);
    if (buffer != nullptr) return import_color_buffer(device, info, buffer->buffer, *pMemory);
    if (!mapped) return allocate_local(device, info, *pMemory);
    // With a name or without: a driver of the CPU takes its own memory from the process's heap,
    // with what lay there before.
    const bool named = blob != nullptr && blob->blobMem == wire::kBlobMemHost3d;
    return allocate_shared(device, info, named ? std::optional(blob->blobId) : std::nullopt,
                           *pMemory);
}

VkResult Session::import_memory(Object& device, VkMemoryAllocateInfo info,
                                std::unique_ptr<MemoryData> data, uint64_t& memory) {
    // Dedication would be to an image that the driver places; here, we do.
    drop_from_chain(info, [](VkStructureType type) {
        return type == VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO;
    });
    VkImportMemoryHostPointerInfoEXT pointer{};
    pointer.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
    pointer.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    pointer.pHostPointer = data->host->data();
    push_to_chain(info, pointer);
    info.allocationSize = data->host->size();
    data->size = info.allocationSize;
    data->type = info.memoryTypeIndex;
    VkDeviceMemory made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkAllocateMemory(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) {
        log_.warn("The driver does not import {} bytes of memory ({}).", info.allocationSize,
                  text_of(result));
        return result;
    }
    memory = adopt(ObjectType::kDeviceMemory, raw(made), device, result, std::move(data));
    return result;
}

VkResult Session::allocate_shared(Object& device, const VkMemoryAllocateInfo& info,
                                  std::optional<uint64_t> blob_id, uint64_t& memory) {
    const uint64_t alignment = host_.memory().import_alignment;
    const auto raised = checked_add<uint64_t>(info.allocationSize, alignment - 1);
    if (!raised) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    auto data = std::make_unique<MemoryData>();
    Result<std::shared_ptr<HostMemory>> made =
        HostMemory::create(*raised / alignment * alignment, services_.budget());
    if (!made) {
        log_.info("{} bytes of memory for a guest: {}", info.allocationSize, made.error().message);
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    data->host = *std::move(made);
    if (blob_id) {
        data->blob_id = *blob_id;
        data->blobs = &blobs_;
    }
    return import_memory(device, info, std::move(data), memory);
}

VkResult Session::import_color_buffer(Object& device, VkMemoryAllocateInfo info, uint32_t resource,
                                      uint64_t& memory) {
    std::shared_ptr<ColorBuffer> color_buffer = services_.color_buffer(resource);
    if (color_buffer == nullptr || color_buffer->memory == nullptr) {
        log_.info("The resource {} is imported, which is no colour buffer of the context.",
                  resource);
        return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    }
    // The guest's driver guesses size and type (Mesa 25.0.7, ResourceTracker.cpp
    // on_vkAllocateMemory).
    info.memoryTypeIndex = host_.memory().color_buffer_import;
    auto data = std::make_unique<MemoryData>();
    data->host = color_buffer->memory;
    data->color_buffer = std::move(color_buffer);
    return import_memory(device, info, std::move(data), memory);
}

VkResult Session::allocate_local(Object& device, const VkMemoryAllocateInfo& info,
                                 uint64_t& memory) {
    auto data = std::make_unique<MemoryData>();
    data->size = info.allocationSize;
    data->type = info.memoryTypeIndex;
    if (const std::shared_ptr<Budget>& budget = services_.budget()) {
        Result<Budget::Charge> charge = budget->charge(BudgetKind::kHostBytes, info.allocationSize);
        if (!charge) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
        data->charge = *std::move(charge);
    }
    VkDeviceMemory made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkAllocateMemory(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    memory = adopt(ObjectType::kDeviceMemory, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkFreeMemory(Call&, Object&, Object* memory) {
    if (memory != nullptr) table_.remove(memory->id, memory->type);
}

VkResult Session::vkFreeMemorySyncGOOGLE(Call& call, Object& device, Object* memory) {
    vkFreeMemory(call, device, memory);
    return VK_SUCCESS;
}

VkResult Session::vkGetBlobGOOGLE(Call&, Object&, Object& memory) {
    const auto& data = memory.get<MemoryData>();
    if (data.blobs == nullptr) return VK_ERROR_MEMORY_MAP_FAILED;
    blobs_.publish(data.blob_id, data.host);
    return VK_SUCCESS;
}

VkResult Session::vkGetMemoryHostAddressInfoGOOGLE(Call&, Object&, Object&, uint64_t*, uint64_t*,
                                                   uint64_t*) {
    return VK_ERROR_MEMORY_MAP_FAILED;  // for guests without deferred mapping, which we ask for
}

namespace {

/// All mapped memory is coherent, and the guest maps the pages that the driver uses.
VkResult check_ranges(Call& call, const Object& device,
                      std::span<const VkMappedMemoryRange> ranges) {
    for (const VkMappedMemoryRange& range : ranges) {
        const Object* const memory =
            look_up(call, ObjectType::kDeviceMemory, guest_id(range.memory), device);
        if (memory == nullptr) return VK_ERROR_UNKNOWN;
    }
    return VK_SUCCESS;
}

}  // namespace

VkResult Session::vkFlushMappedMemoryRanges(Call& call, Object& device, uint32_t memoryRangeCount,
                                            const VkMappedMemoryRange* pMemoryRanges) {
    return check_ranges(call, device, std::span(pMemoryRanges, memoryRangeCount));
}

VkResult Session::vkInvalidateMappedMemoryRanges(Call& call, Object& device,
                                                 uint32_t memoryRangeCount,
                                                 const VkMappedMemoryRange* pMemoryRanges) {
    return check_ranges(call, device, std::span(pMemoryRanges, memoryRangeCount));
}

}  // namespace swede::gfxstream::vulkan
