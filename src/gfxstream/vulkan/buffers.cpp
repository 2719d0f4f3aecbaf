// SPDX-License-Identifier: Apache-2.0
// Buffers. Each may come to lie in imported memory, and says so to the driver where that can be.
#include "base/checked.h"
#include "gfxstream/vulkan/binding.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr VkBufferCreateFlags kRefusedFlags =
    VK_BUFFER_CREATE_SPARSE_BINDING_BIT | VK_BUFFER_CREATE_SPARSE_RESIDENCY_BIT |
    VK_BUFFER_CREATE_SPARSE_ALIASED_BIT | VK_BUFFER_CREATE_PROTECTED_BIT |
    VK_BUFFER_CREATE_DEVICE_ADDRESS_CAPTURE_REPLAY_BIT;

/// Structures of the guest that do not go on: handles of other processes, addresses of other runs.
bool is_dropped(VkStructureType type) {
    return type == VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO ||
           type == VK_STRUCTURE_TYPE_BUFFER_OPAQUE_CAPTURE_ADDRESS_CREATE_INFO;
}

/// What vkCreateBuffer takes; must not move once `external` is in the chain.
struct BufferPlan {
    VkBufferCreateInfo info{};
    VkExternalMemoryBufferCreateInfo external{};

    BufferPlan(const Host& host, const VkBufferCreateInfo& guest) : info(guest) {
        drop_from_chain(info, is_dropped);
        if (!host.imports_buffers()) return;
        external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO;
        external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
        push_to_chain(info, external);
    }
    BufferPlan(const BufferPlan&) = delete;
    BufferPlan& operator=(const BufferPlan&) = delete;
};

}  // namespace

VkResult Session::vkCreateBuffer(Call&, Object& device, const VkBufferCreateInfo* pCreateInfo,
                                 uint64_t* pBuffer) {
    if ((pCreateInfo->flags & kRefusedFlags) != 0) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const BufferPlan plan(host_, *pCreateInfo);
    VkBuffer made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateBuffer(device.as<VkDevice>(), &plan.info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    auto data = std::make_unique<BufferData>();
    data->size = pCreateInfo->size;
    *pBuffer = adopt(ObjectType::kBuffer, raw(made), device, result, std::move(data));
    return result;
}

VkResult Session::vkCreateBufferWithRequirementsGOOGLE(Call& call, Object& device,
                                                       const VkBufferCreateInfo* pCreateInfo,
                                                       uint64_t* pBuffer,
                                                       VkMemoryRequirements* pMemoryRequirements) {
    *pMemoryRequirements = {};
    const VkResult result = vkCreateBuffer(call, device, pCreateInfo, pBuffer);
    if (result != VK_SUCCESS) return result;
    if (Object* const buffer = call.ring.pins.pin(ObjectType::kBuffer, *pBuffer))
        vkGetBufferMemoryRequirements(call, device, *buffer, pMemoryRequirements);
    return result;
}

void Session::vkDestroyBuffer(Call&, Object&, Object* buffer) {
    if (buffer != nullptr) table_.remove(buffer->id, buffer->type);
}

VkResult Session::vkCreateBufferView(Call& call, Object& device,
                                     const VkBufferViewCreateInfo* pCreateInfo, uint64_t* pView) {
    auto data = std::make_unique<MadeOfOthers>(table_);
    const Object* const buffer = call.ring.pins.find(ObjectType::kBuffer, raw(pCreateInfo->buffer));
    if (buffer == nullptr ||
        !hold(call, ObjectType::kBuffer, raw(pCreateInfo->buffer), data->others))
        return VK_ERROR_UNKNOWN;
    const uint64_t size = buffer->get<BufferData>().size;
    const uint64_t range = pCreateInfo->range != VK_WHOLE_SIZE ? pCreateInfo->range : 0;
    if (!range_fits(pCreateInfo->offset, range, size)) {
        call.in.fail("A view is of {} bytes at {} of {}.", pCreateInfo->range, pCreateInfo->offset,
                     size);
        return VK_ERROR_UNKNOWN;
    }
    VkBufferView made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateBufferView(device.as<VkDevice>(), pCreateInfo, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pView = adopt(ObjectType::kBufferView, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkGetBufferMemoryRequirements(Call&, Object& device, Object& buffer,
                                            VkMemoryRequirements* pMemoryRequirements) {
    functions_of(device).vkGetBufferMemoryRequirements(device.as<VkDevice>(), buffer.as<VkBuffer>(),
                                                       pMemoryRequirements);
}

void Session::vkGetBufferMemoryRequirements2(Call& call, Object& device,
                                             const VkBufferMemoryRequirementsInfo2* pInfo,
                                             VkMemoryRequirements2* pMemoryRequirements) {
    const Object* const buffer =
        look_up(call, ObjectType::kBuffer, guest_id(pInfo->buffer), device);
    if (buffer == nullptr) return;
    VkBufferMemoryRequirementsInfo2 info = *pInfo;
    info.pNext = nullptr;
    info.buffer = buffer->as<VkBuffer>();
    functions_of(device).vkGetBufferMemoryRequirements2(device.as<VkDevice>(), &info,
                                                        pMemoryRequirements);
}

void Session::vkGetDeviceBufferMemoryRequirements(Call& call, Object& device,
                                                  const VkDeviceBufferMemoryRequirements* pInfo,
                                                  VkMemoryRequirements2* pMemoryRequirements) {
    const auto function = functions_of(device).vkGetDeviceBufferMemoryRequirements;
    if (function == nullptr || pInfo->pCreateInfo == nullptr) {
        call.in.fail("The device answers no such question.");
        return;
    }
    const BufferPlan plan(host_, *pInfo->pCreateInfo);
    VkDeviceBufferMemoryRequirements info = *pInfo;
    info.pNext = nullptr;
    info.pCreateInfo = &plan.info;
    function(device.as<VkDevice>(), &info, pMemoryRequirements);
}

VkResult Session::vkBindBufferMemory(Call&, Object& device, Object& buffer, Object& memory,
                                     VkDeviceSize memoryOffset) {
    const DeviceFunctions& vk = functions_of(device);
    VkMemoryRequirements requirements{};
    vk.vkGetBufferMemoryRequirements(device.as<VkDevice>(), buffer.as<VkBuffer>(), &requirements);
    auto& data = buffer.get<BufferData>();
    if (!fits(requirements, memory.get<MemoryData>(), memoryOffset) ||
        !data.memory.hold(table_, memory))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const VkResult result = vk.vkBindBufferMemory(device.as<VkDevice>(), buffer.as<VkBuffer>(),
                                                  memory.as<VkDeviceMemory>(), memoryOffset);
    if (result != VK_SUCCESS) data.memory.let_go();
    return result;
}

VkResult Session::vkBindBufferMemory2(Call& call, Object& device, uint32_t bindInfoCount,
                                      const VkBindBufferMemoryInfo* pBindInfos) {
    VkResult result = VK_SUCCESS;
    for (const VkBindBufferMemoryInfo& info : std::span(pBindInfos, bindInfoCount)) {
        Object* const buffer = look_up(call, ObjectType::kBuffer, guest_id(info.buffer), device);
        Object* const memory =
            look_up(call, ObjectType::kDeviceMemory, guest_id(info.memory), device);
        if (buffer == nullptr || memory == nullptr) return VK_ERROR_UNKNOWN;
        const VkResult one = vkBindBufferMemory(call, device, *buffer, *memory, info.memoryOffset);
        if (one != VK_SUCCESS) result = one;
    }
    return result;
}

}  // namespace swede::gfxstream::vulkan
