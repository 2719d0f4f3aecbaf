// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>

#include "base/bytes.h"
#include "base/result.h"
#include "gfxstream/context_core.h"
#include "gfxstream/executor.h"
#include "gfxstream/export_timeline.h"
#include "gfxstream/ring.h"
#include "rutabaga/renderer.h"

namespace swede::gfxstream {

/// One virtio context, which is one process of the guest: its rings, the order of its fences, and
/// what executes its commands. Owned by the renderer, on its thread; what its threads share is in
/// ContextCore.
class Context {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Context>> create(
        rutabaga::ContextId id, const std::shared_ptr<rutabaga::CompletionSink>& sink,
        const std::shared_ptr<Budget>& budget, const ExecutorFactory& executors);
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    /// One command of EXECBUFFER. An Error loses the context.
    [[nodiscard]] Result<void> submit(std::span<const std::byte> commands);
    void create_fence(const rutabaga::Fence& fence);

    /// A blob that may become a ring.
    void add_ring_blob(rutabaga::ResourceId resource, std::shared_ptr<HostMemory> memory);
    /// The resource goes, or its attachment: a ring on it ends.
    void remove_resource(rutabaga::ResourceId resource);
    void attach(rutabaga::ResourceId resource, std::shared_ptr<ColorBuffer> buffer) {
        core_->attach(resource, std::move(buffer));
    }
    [[nodiscard]] CommandExecutor& executor() { return core_->executor(); }
    [[nodiscard]] bool is_over() const { return core_->is_over(); }
    void lose(Error why) { core_->lose(std::move(why)); }

    /// The last call: its threads end. What they share is for the ContextCloser.
    [[nodiscard]] std::shared_ptr<ContextCore> close();

  private:
    struct RingBlob {
        std::shared_ptr<HostMemory> memory;
        std::shared_ptr<Ring> ring;  ///< null before CONTEXT_CREATE
    };

    explicit Context(std::shared_ptr<ContextCore> core)
        : core_(std::move(core)), exports_(std::make_shared<ExportTimeline>(core_)) {}

    [[nodiscard]] Result<void> start_ring(rutabaga::ResourceId resource);

    std::shared_ptr<ContextCore> core_;
    std::shared_ptr<ExportTimeline> exports_;
    std::unordered_map<rutabaga::ResourceId, RingBlob> ring_blobs_;
};

}  // namespace swede::gfxstream
