// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "rutabaga/fence_timelines.h"
#include "rutabaga/gpu.h"
#include "virtio/device.h"
#include "virtio_gpu/blob_mapper.h"
#include "virtio_gpu/command.h"
#include "virtio_gpu/command_scheduler.h"
#include "virtio_gpu/command_table.h"
#include "virtio_gpu/cursor.h"
#include "virtio_gpu/scanouts.h"

namespace swede::virtio_gpu {

inline constexpr uint16_t kNumQueues = 2;

/// Takes commands from the queues, runs their handlers in the order that the scheduler allows, and
/// answers each once, in its fence's turn (decision 6). Owned by the device, on its thread. Steady
/// state allocates nothing: commands are pooled.
class Processor {
  public:
    /// What commands work on. All of it is the device's and outlives the processor.
    struct Parts {
        rutabaga::Gpu& gpu;
        Scanouts& scanouts;
        Cursors& cursors;
        BlobMapper& mapper;
        virtio::GuestMemory& memory;
        std::span<virtio::Virtqueue> queues;
        virtio::DeviceHost& host;
    };

    explicit Processor(const Parts& parts);
    Processor(const Processor&) = delete;
    Processor& operator=(const Processor&) = delete;

    void set_features(uint64_t features) { features_ = features; }

    struct Served {
        size_t commands = 0;
        bool more = false;  ///< the batch was full: serve again after other events
    };
    /// Runs up to a batch of commands of an enabled queue.
    Served serve(uint16_t queue);

    // What renderers report.
    void fence_done(uint64_t ticket);
    void context_lost(rutabaga::ContextId context, const Error& why);

    /// Runs commands whose turn has come and sends the interrupts that are due. To be called after
    /// completions have run; serve() does it by itself.
    void settle();

    /// Forgets all commands without answering them; the queues are the caller's.
    void reset();

    [[nodiscard]] size_t pending_commands() const { return retained_; }
    [[nodiscard]] size_t pending_fences() const { return timelines_.pending(); }
    [[nodiscard]] uint64_t commands() const { return commands_; }

    // For handlers.
    [[nodiscard]] rutabaga::Gpu& gpu() { return parts_.gpu; }
    [[nodiscard]] Scanouts& scanouts() { return parts_.scanouts; }
    [[nodiscard]] Cursors& cursors() { return parts_.cursors; }
    [[nodiscard]] BlobMapper& mapper() { return parts_.mapper; }
    [[nodiscard]] bool has_feature(uint64_t bit) const { return (features_ & bit) != 0; }

    /// The command is executed. It is answered now or in its fence's turn, and gone for the caller.
    void finish(Command& command, Result<void> result);
    /// Completes the fences of a context that is gone.
    void complete_fences(rutabaga::ContextId context) { timelines_.complete_context(context); }

    /// An answer to a renderer's call; does nothing after a reset.
    template <typename T, typename Function>
    [[nodiscard]] rutabaga::Completion<T> completion(Function function) {
        return rutabaga::Completion<T>(
            parts_.gpu.sink(),
            [this, epoch = epoch_, function = std::move(function)](Result<T> result) mutable {
                if (epoch == epoch_) function(std::move(result));
            });
    }
    /// The answer that finishes the command.
    [[nodiscard]] rutabaga::Completion<> finishing(Command& command) {
        return completion<void>(
            [this, &command](Result<void> result) { finish(command, std::move(result)); });
    }

    /// The ring that the command names, if it names one (INFO_RING_IDX).
    [[nodiscard]] std::optional<uint8_t> ring_of(const Command& command) const;
    /// Copies `size` bytes behind the fixed request of `T` into a buffer that the next call reuses.
    template <WireStruct T>
    [[nodiscard]] Result<std::span<const std::byte>> tail(const Command& command, uint64_t size) {
        return read_tail(command, sizeof(wire::ControlHeader) + sizeof(T), size);
    }
    /// The guest memory that `count` entries behind the fixed request of `T` list.
    template <WireStruct T>
    [[nodiscard]] Result<std::shared_ptr<Backing>> backing(const Command& command, uint32_t count) {
        return read_backing(command, sizeof(wire::ControlHeader) + sizeof(T), count);
    }

  private:
    /// What a context holds of the control queue.
    struct Share {
        uint32_t commands = 0;    ///< taken and not answered
        uint32_t over = 0;        ///< those of them that were refused for being over the share
        bool destroying = false;  ///< a CTX_DESTROY is among them
    };

    [[nodiscard]] Command& take_command(uint16_t queue);
    void dispatch(Command& command);
    [[nodiscard]] Result<void> read_request(Command& command);
    [[nodiscard]] Result<void> admit(Command& command);
    void set_keys(Command& command);
    void execute(Command& command);
    void accept_fence(Command& command);
    void retired(uint64_t ticket);
    void retain(Command& command);
    void answer(Command& command);
    void give_back(Command& command, std::span<const std::byte> response);
    void recycle(Command& command);
    [[nodiscard]] uint32_t queue_share(uint32_t divisor) const;
    [[nodiscard]] uint32_t share_limit() const;
    [[nodiscard]] Result<std::span<const std::byte>> read_tail(const Command& command,
                                                               uint64_t offset, uint64_t size);
    [[nodiscard]] Result<std::shared_ptr<Backing>> read_backing(const Command& command,
                                                                uint64_t offset, uint32_t count);

    Parts parts_;
    uint64_t features_ = 0;
    uint64_t epoch_ = 0;     ///< counts resets
    uint64_t commands_ = 0;  ///< served since creation
    CommandScheduler scheduler_;
    rutabaga::FenceTimelines timelines_;
    std::vector<std::unique_ptr<Command>> pool_;
    std::vector<Command*> free_;  ///< of pool_
    using Tickets = std::unordered_map<uint64_t, Command*>;
    Tickets tickets_;                                ///< commands whose fence has not had its turn
    std::vector<Tickets::node_type> spare_tickets_;  ///< nodes to reuse
    std::unordered_map<rutabaga::ContextId, Share> shares_;
    std::vector<rutabaga::ContextId> overfull_;  ///< contexts to be lost: they hold too much
    size_t retained_ = 0;                        ///< commands taken and not answered
    uint32_t grace_ = 0;                         ///< turns to pass before the next control command
    std::vector<std::byte> scratch_;             ///< read_tail()'s
    std::vector<wire::MemEntry> entries_;        ///< read_backing()'s
};

}  // namespace swede::virtio_gpu
