// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/budget.h"
#include "base/result.h"
#include "gfxstream/color_buffer.h"
#include "gfxstream/host_memory.h"

namespace swede::gfxstream {

/// What a ring must know of a command before it runs.
struct CommandTraits {
    bool sequenced = false;  ///< the packet has a number, and its turn
    bool relaxed = false;    ///< it may wait, so the next number's turn begins before it runs
};

/// A fence at one moment: fences are reset and used again.
struct ExportedFence {
    uint64_t fence = 0;  ///< the guest's id; 0: nothing to wait for
    uint32_t resets = 0;
};

/// One ring's way into a CommandExecutor. Used by the ring's thread only.
class CommandStream {
  public:
    virtual ~CommandStream() = default;
    /// Executes one command; `parameters` are what follows opcode, size and number. The reply lasts
    /// until the next call. An Error loses the context.
    [[nodiscard]] virtual Result<std::span<const std::byte>> execute(
        uint32_t opcode, std::span<const std::byte> parameters) = 0;
};

/// What executes the commands of one context: a Vulkan session; for tests, anything. Shared by the
/// context's threads, so thread-safe. It is destroyed when none of them is in it.
class CommandExecutor {
  public:
    virtual ~CommandExecutor() = default;
    /// Empty: no ring may send it, which loses the context.
    [[nodiscard]] virtual std::optional<CommandTraits> traits_of(uint32_t opcode) const = 0;
    /// The executor outlives it.
    [[nodiscard]] virtual std::unique_ptr<CommandStream> open_stream() = 0;
    /// Memory that a command published for RESOURCE_CREATE_BLOB. Does not wait.
    [[nodiscard]] virtual Result<std::shared_ptr<HostMemory>> take_blob(uint64_t blob_id,
                                                                        uint64_t size) = 0;
    /// The fence with this guest id as it is now. Does not wait.
    [[nodiscard]] virtual ExportedFence mark_fence(uint64_t fence) = 0;
    /// Waits at most `limit`. True: it is signalled, or there is nothing to wait for.
    [[nodiscard]] virtual bool wait_for_fence(const ExportedFence& fence,
                                              std::chrono::nanoseconds limit) = 0;
    /// Any thread: what waits inside returns soon, and commands fail.
    virtual void abandon() = 0;
};

/// What an executor needs of its context. Thread-safe.
class ExecutorServices {
  public:
    virtual ~ExecutorServices() = default;
    /// A resource that is attached to the context; null when it is none, or no colour buffer.
    [[nodiscard]] virtual std::shared_ptr<ColorBuffer> color_buffer(uint32_t resource) = 0;
    [[nodiscard]] virtual const std::shared_ptr<Budget>& budget() = 0;
};

/// Makes the executor of a new context; `services` outlives it.
using ExecutorFactory =
    std::function<Result<std::unique_ptr<CommandExecutor>>(ExecutorServices& services)>;

}  // namespace swede::gfxstream
