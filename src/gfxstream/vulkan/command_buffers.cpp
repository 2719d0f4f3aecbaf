// SPDX-License-Identifier: Apache-2.0
// Command pools, command buffers and the recordings that guests send. A guest records by itself and
// sends the whole before it submits (Mesa 25.0.7, CommandBufferStagingStream.cpp).
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/log.h"
#include "gfxstream/vulkan/chain.h"
#include "gfxstream/vulkan/command_data.h"
#include "gfxstream/vulkan/commands.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/heap.h"
#include "gfxstream/vulkan/render_pass_data.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

constexpr uint32_t kBeginCommandBuffer = 20321;  // vkBeginCommandBufferAsyncGOOGLE
constexpr uint32_t kEndCommandBuffer = 20322;    // vkEndCommandBufferAsyncGOOGLE
constexpr uint32_t kResetCommandBuffer = 20323;  // vkResetCommandBufferAsyncGOOGLE
constexpr uint32_t kExecuteCommands = 20136;

/// The driver failed to record, which the guest cannot hear of.
void give_up(Object& command_buffer, VkResult result) {
    log_.warn("A command buffer of the guest cannot be recorded ({}); its device counts as lost.",
              static_cast<int>(result));
    command_buffer.get<CommandBufferData>().finish(Recording::kInvalid);
    device_data(command_buffer).lost = true;
}

/// Drivers follow what a secondary command buffer inherits if it goes on with a pass.
bool prepare(Call& call, VkCommandBufferUsageFlags flags, VkCommandBufferInheritanceInfo& info,
             PassInHand& pass) {
    if ((flags & VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT) == 0) {
        info.renderPass = VK_NULL_HANDLE;  // ignored
        info.framebuffer = VK_NULL_HANDLE;
        info.subpass = 0;
        return true;
    }
    pass.kind = PassInHand::Kind::kInherited;
    if (info.renderPass != VK_NULL_HANDLE) {
        const auto& begun = call.ring.pins.find(ObjectType::kRenderPass, raw(info.renderPass))
                                ->get<RenderPassData>();
        if (info.subpass >= begun.subpasses)
            return call.in.fail("The subpass {} is inherited, which there is not.", info.subpass);
        pass.colors = (*begun.colors)[info.subpass];
        return true;
    }
    const auto* const rendering = find_in_chain<VkCommandBufferInheritanceRenderingInfo>(
        info.pNext, VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_RENDERING_INFO);
    if (rendering == nullptr) return call.in.fail("A pass is inherited that nothing describes.");
    pass.colors = rendering->colorAttachmentCount;
    return true;
}

}  // namespace

VkResult Session::vkCreateCommandPool(Call&, Object& device,
                                      const VkCommandPoolCreateInfo* pCreateInfo,
                                      uint64_t* pCommandPool) {
    let_heap_grow();
    VkCommandPoolCreateInfo info = *pCreateInfo;
    info.pNext = nullptr;
    VkCommandPool made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateCommandPool(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pCommandPool = adopt(ObjectType::kCommandPool, raw(made), device, result,
                          std::make_unique<CommandPoolData>());
    return result;
}

void Session::vkDestroyCommandPool(Call&, Object&, Object* commandPool) {
    if (commandPool != nullptr) table_.remove(commandPool->id, commandPool->type);
}

VkResult Session::vkResetCommandPool(Call&, Object& device, Object& commandPool,
                                     VkCommandPoolResetFlags flags) {
    auto& pool = commandPool.get<CommandPoolData>();
    bool resetting = false;  // from when on no use starts
    const auto none_is_used = [&] { return resetting = pool.start_reset(); };
    if (!none_is_used() && !wait_for_work(device, none_is_used)) return VK_ERROR_DEVICE_LOST;
    const std::lock_guard lock(pool.mutex);
    table_.for_each_child(commandPool, ObjectType::kCommandBuffer, [&](Object& command_buffer) {
        auto& data = command_buffer.get<CommandBufferData>();
        (void)data.start_again(Recording::kInitial);  // not in use
        data.recorded.release();
    });
    const VkResult result = functions_of(device).vkResetCommandPool(
        device.as<VkDevice>(), commandPool.as<VkCommandPool>(), flags);
    pool.end_reset();
    return result;
}

void Session::vkTrimCommandPool(Call&, Object& device, Object& commandPool,
                                VkCommandPoolTrimFlags flags) {
    const std::lock_guard lock(commandPool.get<CommandPoolData>().mutex);
    const auto function = functions_of(device).vkTrimCommandPool;
    if (function != nullptr)
        function(device.as<VkDevice>(), commandPool.as<VkCommandPool>(), flags);
}

VkResult Session::vkAllocateCommandBuffers(Call& call, Object& device,
                                           const VkCommandBufferAllocateInfo* pAllocateInfo,
                                           uint64_t* pCommandBuffers) {
    VkCommandBufferAllocateInfo info = *pAllocateInfo;
    Object* const pool =
        look_up(call, ObjectType::kCommandPool, guest_id(info.commandPool), device);
    if (pool == nullptr) return VK_ERROR_UNKNOWN;
    auto* const made = room_for<VkCommandBuffer>(call, info.commandBufferCount);
    if (made == nullptr) return VK_ERROR_OUT_OF_HOST_MEMORY;
    info.pNext = nullptr;
    info.commandPool = pool->as<VkCommandPool>();
    const bool primary = info.level == VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    if (!primary) info.level = VK_COMMAND_BUFFER_LEVEL_SECONDARY;
    std::fill_n(pCommandBuffers, info.commandBufferCount, uint64_t{0});
    if (info.commandBufferCount == 0) return VK_SUCCESS;
    if (info.commandBufferCount > cost::kMostCommandBuffers) return VK_ERROR_OUT_OF_HOST_MEMORY;
    std::vector<std::unique_ptr<CommandBufferData>> data;
    for (uint32_t i = 0; i < info.commandBufferCount; ++i) {
        data.push_back(std::make_unique<CommandBufferData>(pool->get<CommandPoolData>(), primary));
        if (!pay(cost::kCommandBuffer, data.back()->charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    }

    const std::lock_guard lock(pool->get<CommandPoolData>().mutex);
    VkResult result =
        functions_of(device).vkAllocateCommandBuffers(device.as<VkDevice>(), &info, made);
    if (result != VK_SUCCESS) return result;
    for (uint32_t i = 0; i < info.commandBufferCount; ++i)
        pCommandBuffers[i] =
            adopt(ObjectType::kCommandBuffer, raw(made[i]), *pool, result, std::move(data[i]));
    if (result == VK_SUCCESS) return result;
    for (uint32_t i = 0; i < info.commandBufferCount; ++i)  // all or nothing
        if (pCommandBuffers[i] != 0) table_.remove(pCommandBuffers[i], ObjectType::kCommandBuffer);
    std::fill_n(pCommandBuffers, info.commandBufferCount, uint64_t{0});
    return result;
}

void Session::vkFreeCommandBuffers(Call& call, Object&, Object& commandPool, uint32_t,
                                   std::span<Object* const> pCommandBuffers) {
    for (Object* const command_buffer : pCommandBuffers) {
        if (command_buffer == nullptr) continue;
        if (command_buffer->parent != &commandPool) {
            call.in.fail("The command buffer {:#x} is of another pool.", command_buffer->id);
            return;
        }
        table_.remove(command_buffer->id, command_buffer->type);
    }
}

void Session::vkBeginCommandBufferAsyncGOOGLE(Call& call, Object& commandBuffer,
                                              const VkCommandBufferBeginInfo* pBeginInfo) {
    auto& data = commandBuffer.get<CommandBufferData>();
    if (data.state() == Recording::kRecording) {
        call.in.fail("The command buffer {:#x} is begun twice.", commandBuffer.id);
        return;
    }
    VkCommandBufferBeginInfo info = *pBeginInfo;
    info.pNext = nullptr;
    VkCommandBufferInheritanceInfo inherited{};
    PassInHand pass;
    if (data.primary) {
        info.pInheritanceInfo = nullptr;
    } else if (info.pInheritanceInfo == nullptr) {
        call.in.fail("The secondary command buffer {:#x} inherits nothing.", commandBuffer.id);
        return;
    } else {
        inherited = *info.pInheritanceInfo;
        info.pInheritanceInfo = &inherited;
        if (!prepare(call, info.flags, inherited, pass)) return;
    }
    if (!data.start_again(Recording::kRecording)) {
        call.in.fail("The command buffer {:#x} is begun while it is in use.", commandBuffer.id);
        return;
    }
    const VkResult result = functions_of(commandBuffer)
                                .vkBeginCommandBuffer(commandBuffer.as<VkCommandBuffer>(), &info);
    if (result != VK_SUCCESS) return give_up(commandBuffer, result);
    data.pass = pass;
    data.recorded.release();
}

void Session::vkEndCommandBufferAsyncGOOGLE(Call& call, Object& commandBuffer) {
    const PassInHand::Kind pass = commandBuffer.get<CommandBufferData>().pass.kind;
    if (pass == PassInHand::Kind::kRenderPass || pass == PassInHand::Kind::kRendering) {
        call.in.fail("The command buffer {:#x} ends inside of a pass.", commandBuffer.id);
        return;
    }
    const VkResult result =
        functions_of(commandBuffer).vkEndCommandBuffer(commandBuffer.as<VkCommandBuffer>());
    if (result != VK_SUCCESS) return give_up(commandBuffer, result);
    commandBuffer.get<CommandBufferData>().finish(Recording::kExecutable);
}

void Session::vkResetCommandBufferAsyncGOOGLE(Call& call, Object& commandBuffer,
                                              VkCommandBufferResetFlags flags) {
    auto& data = commandBuffer.get<CommandBufferData>();
    if (!data.start_again(Recording::kInitial)) {
        call.in.fail("The command buffer {:#x} is reset while it is in use.", commandBuffer.id);
        return;
    }
    const VkResult result = functions_of(commandBuffer)
                                .vkResetCommandBuffer(commandBuffer.as<VkCommandBuffer>(), flags);
    if (result != VK_SUCCESS) return give_up(commandBuffer, result);
    data.recorded.release();
}

void Session::vkCmdExecuteCommands(Call& call, Object& commandBuffer, uint32_t commandBufferCount,
                                   std::span<Object* const> pCommandBuffers) {
    const VkCommandBuffer* const handles = handles_of<VkCommandBuffer>(call, pCommandBuffers);
    if (handles == nullptr || commandBufferCount == 0) return;
    auto& data = commandBuffer.get<CommandBufferData>();
    // One level only, so that no recursion is to be feared.
    bool allowed = data.primary;
    size_t read = 0;  // none of these changes while the driver reads it
    for (; allowed && read < pCommandBuffers.size(); ++read) {
        auto& other = pCommandBuffers[read]->get<CommandBufferData>();
        const uint64_t recording = other.primary ? 0 : other.start_reading();
        allowed = recording != 0;
        if (!allowed) break;
        // What inherits a pass, and only that, is executed in one, which has what it clears.
        const bool inherits = other.pass.kind == PassInHand::Kind::kInherited;
        const bool inside = data.pass.kind != PassInHand::Kind::kNone;
        if (inherits != inside || (inherits && !data.pass.has(other.pass.needed))) {
            other.end_reading();
            allowed = false;
            break;
        }
        data.name({.id = pCommandBuffers[read]->id, .recording = recording});
    }
    if (allowed)
        functions_of(commandBuffer)
            .vkCmdExecuteCommands(commandBuffer.as<VkCommandBuffer>(), commandBufferCount, handles);
    else
        call.in.fail(
            "A command buffer is executed that is not secondary, not complete, or for a pass that "
            "this is not.");
    while (read > 0) pCommandBuffers[--read]->get<CommandBufferData>().end_reading();
}

void Session::vkQueueFlushCommandsGOOGLE(Call& call, Object& queue, Object& commandBuffer,
                                         VkDeviceSize dataSize, const void* pData) {
    (void)queue;
    auto& data = commandBuffer.get<CommandBufferData>();
    // A guest may have seen its work done before we have.
    if (data.in_use() && !wait_for_work(*commandBuffer.device, [&] { return !data.in_use(); })) {
        call.in.fail("The context is lost.");
        return;
    }
    const std::lock_guard lock(commandBuffer.parent->get<CommandPoolData>().mutex);
    Budget::Charge charge;
    if (!pay(dataSize * cost::kRecording, charge))
        return give_up(commandBuffer, VK_ERROR_OUT_OF_HOST_MEMORY);
    (void)run_recorded(call, commandBuffer,
                       {static_cast<const std::byte*>(pData), static_cast<size_t>(dataSize)});
    // Kept beside what earlier flushes brought, unless this one began the recording anew.
    data.recorded.add(std::move(charge));
}

bool Session::run_recorded(Call& call, Object& command_buffer,
                           std::span<const std::byte> commands) {
    auto& data = command_buffer.get<CommandBufferData>();
    const Arena::Mark arena = call.ring.arena.mark();
    size_t pins = call.ring.pins.mark();
    while (!commands.empty()) {
        uint32_t opcode = 0;
        uint32_t size = 0;
        constexpr size_t kHeader = sizeof(opcode) + sizeof(size);
        if (commands.size() < kHeader)
            return call.in.fail("A recording ends with {} bytes too many.", commands.size());
        std::memcpy(&opcode, commands.data(), sizeof(opcode));
        std::memcpy(&size, commands.data() + sizeof(opcode), sizeof(size));
        if (size < kHeader || size > commands.size())
            return call.in.fail("A recorded command has {} bytes where {} are left.", size,
                                commands.size());
        const Command* const command = find_command(opcode);
        if (command == nullptr || (command->flags & kCommandBuffer) == 0)
            return call.in.fail("The command {} is recorded, which is not for that.", opcode);
        if (must_return()) return call.in.fail("The context is lost.");
        const Recording state = data.state();
        if (state == Recording::kInvalid && opcode != kBeginCommandBuffer) {
            // The driver gave up on it; the device counts as lost.
        } else if (state != Recording::kRecording && opcode != kBeginCommandBuffer &&
                   opcode != kResetCommandBuffer) {
            return call.in.fail("{} is recorded into a command buffer that is not begun.",
                                command->name);
        } else {
            Decoder in(commands.subspan(kHeader, size - kHeader), call.ring.arena, call.ring.pins,
                       &count_checks());
            Call inner{*this, call.ring, in, call.out, &command_buffer};
            if (opcode == kEndCommandBuffer) data.name(call.ring.pins.since(pins));
            if (!command->run(inner)) return call.in.fail("{}: {}", command->name, in.sentence());
            const std::span<Object* const> named = call.ring.pins.since(pins);
            if (opcode == kExecuteCommands) {
                // Command buffers stay pinned until the pool's lock is open: letting the last pin
                // of one go takes the lock of its pool, and two rings could take two the other way
                // round.
                data.name(named);
                pins = call.ring.pins.mark();
            } else if (opcode == kBeginCommandBuffer) {
                call.ring.pins.release_to(pins);  // what it names is nothing that is executed
            } else if (named.size() > Pins::kRecent) {
                data.name(named);
                call.ring.pins.release_to(pins);
            }
            call.ring.arena.rewind(arena);
        }
        commands = commands.subspan(size);
    }
    // Without an end, the recording goes on in the next flush.
    if (data.state() == Recording::kRecording) data.name(call.ring.pins.since(pins));
    return true;
}

}  // namespace swede::gfxstream::vulkan
