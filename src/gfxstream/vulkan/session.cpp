// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/session.h"

#include <algorithm>
#include <cstdlib>

#include "base/log.h"
#include "gfxstream/vulkan/command_data.h"
#include "gfxstream/vulkan/commands.h"
#include "gfxstream/vulkan/descriptor_data.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

/// A driver that is not idle by then hangs, and nothing can take its work away but the end of the
/// process.
constexpr std::chrono::seconds kLastWait{5};
/// For work that ends by itself. What is left may wait for the guest, which is gone.
constexpr std::chrono::milliseconds kPatience{200};

void destroy_object(Object& object) {
    switch (object.type) {
        case ObjectType::kCommandBuffer: {
            // Its pool's memory is in use while another command buffer of the pool is recorded.
            const std::lock_guard lock(object.parent->get<CommandPoolData>().mutex);
            return destroy_driver_object(object);
        }
        case ObjectType::kDescriptorSet:
            return free_descriptor_set(object);
        case ObjectType::kQueue:
            if (const VkSemaphore done = object.get<QueueData>().done; done != VK_NULL_HANDLE)
                functions_of(object).vkDestroySemaphore(device_handle(object), done, nullptr);
            return;
        default:
            return destroy_driver_object(object);
    }
}

}  // namespace

Result<std::shared_ptr<Session>> Session::create(Host& host, SessionServices& services) {
    return std::shared_ptr<Session>(new Session(host, services));
}

Session::Session(Host& host, SessionServices& services)
    : host_(host),
      services_(services),
      table_(destroy_object, HandleTable::kCapacity, services.budget()) {}

Session::~Session() {
    closing_ = true;
    const auto deadline = std::chrono::steady_clock::now() + kLastWait;
    while (!instances_.empty()) {
        const uint64_t id = instances_.back();
        instances_.pop_back();
        Object* const instance = table_.pin(ObjectType::kInstance, id);
        if (instance == nullptr) continue;
        const auto soon = std::min(deadline, Clock::now() + kPatience);
        if (close_devices(*instance, soon) == VK_TIMEOUT) end_waits(*instance);
        if (close_devices(*instance, deadline) == VK_TIMEOUT) {
            if (!host_.shares_process()) {
                log_.error("A Vulkan driver is still busy after {} s; its process is given up.",
                           kLastWait.count());
                std::_Exit(EXIT_FAILURE);
            }
            log_.error("A Vulkan driver is still busy after {} s; a thread waits for its end.",
                       kLastWait.count());
            static_cast<void>(close_devices(*instance, Clock::time_point::max()));
        }
        table_.remove(id, ObjectType::kInstance);
        table_.unpin(instance);
    }
}

Result<void> Session::execute(uint32_t opcode, std::span<const std::byte> parameters,
                              RingState& ring) {
    ring.reply.clear();
    const Command* const command = find_command(opcode);
    if (command == nullptr) [[unlikely]]
        return fail(ErrorCode::kProtocol, "There is no Vulkan command {}.", opcode);
    if (abandoned()) [[unlikely]]
        return fail(ErrorCode::kDeviceLost, "{}: the context is lost.", command->name);
    ring.pins.use(&table_);
    Decoder in(parameters, ring.arena, ring.pins, &count_checks());
    Call call{*this, ring, in, ring.reply};
    const bool done = command->run(call);
    ring.pins.release_all();
    ring.arena.reset();
    if (done) [[likely]]
        return {};
    ring.reply.clear();
    return fail(ErrorCode::kProtocol, "{}: {}", command->name, in.sentence());
}

Result<std::shared_ptr<HostMemory>> Session::take_blob(uint64_t blob_id, uint64_t size) {
    std::shared_ptr<HostMemory> memory = blobs_.take(blob_id);
    if (memory == nullptr)
        return fail(ErrorCode::kInvalidParameter, "No memory has the blob id {}.", blob_id);
    if (size > memory->size())
        return fail(ErrorCode::kInvalidParameter,
                    "A blob of {} bytes is asked for of memory with {} bytes.", size,
                    memory->size());
    return memory;
}

bool Session::pay(uint64_t bytes, Budget::Charge& charge) {
    const std::shared_ptr<Budget>& budget = services_.budget();
    if (budget == nullptr) return true;
    Result<Budget::Charge> paid = budget->charge(BudgetKind::kHostBytes, bytes);
    if (paid) charge = *std::move(paid);
    return paid.has_value();
}

uint64_t Session::adopt(ObjectType type, uint64_t made, Object& parent, VkResult& result,
                        std::unique_ptr<ObjectData> data) {
    const Object* const object = table_.add(type, made, &parent, parent.device, std::move(data));
    if (object != nullptr) return object->id;
    Object homeless{.type = type,
                    .id = 0,
                    .driver = made,
                    .parent = &parent,
                    .device = parent.device,
                    .data = std::move(data)};
    destroy_object(homeless);
    result = VK_ERROR_OUT_OF_HOST_MEMORY;
    return 0;
}

}  // namespace swede::gfxstream::vulkan
