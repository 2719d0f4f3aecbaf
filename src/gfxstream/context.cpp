// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/context.h"

#include <utility>

namespace swede::gfxstream {
namespace {

/// Commands of EXECBUFFER (Mesa 25.0.7,
/// src/gfxstream/guest/platform/include/virtgpu_gfxstream_protocol.h).
enum Command : uint32_t {
    kContextCreate = 0x1001,
    kContextPing = 0x1002,
    kContextPingWithResponse = 0x1003,
    kCreateExportSync = 0x9000,
    kImportSync = 0x9001,
    kCreateExportSyncVk = 0xa000,
    kCreateImportSyncVk = 0xa001,
    kCreateQsriExportVk = 0xa002,
    kResourceCreate3d = 0xa003,
    kAcquireSync = 0xa004,
    kPlaceholder = 0xf002,
};

struct ExportSyncVk {
    uint64_t device;
    uint64_t fence;
};

/// The ring of a context whose fences wait for exported VkFences. The other one's wait for nothing.
constexpr uint8_t kExportRing = 0;

}  // namespace

Result<std::unique_ptr<Context>> Context::create(
    rutabaga::ContextId id, const std::shared_ptr<rutabaga::CompletionSink>& sink,
    const std::shared_ptr<Budget>& budget, const ExecutorFactory& executors) {
    auto core = std::make_shared<ContextCore>(id, sink, budget);
    SWEDE_TRY(core->open(executors));
    return std::unique_ptr<Context>(new Context(std::move(core)));
}

Result<void> Context::submit(std::span<const std::byte> commands) {
    if (commands.empty()) return {};  // for its fence alone
    ByteReader reader(commands);
    switch (const auto command = SWEDE_TRY(reader.read<uint32_t>())) {
        case kContextCreate:
            return start_ring(SWEDE_TRY(reader.read<uint32_t>()));
        case kContextPing:
        case kContextPingWithResponse: {
            const auto resource = SWEDE_TRY(reader.read<uint32_t>());
            const auto found = ring_blobs_.find(resource);
            if (found != ring_blobs_.end() && found->second.ring) found->second.ring->ping();
            return {};
        }
        case kCreateExportSyncVk: {
            const auto sync = SWEDE_TRY(reader.read<ExportSyncVk>());
            return ExportTimeline::add_export(exports_, executor().mark_fence(sync.fence));
        }
        // Without the features that these belong to, nobody sends them; nothing waits for them.
        case kCreateExportSync:
        case kImportSync:
        case kCreateImportSyncVk:
        case kCreateQsriExportVk:
        case kResourceCreate3d:
        case kAcquireSync:
        case kPlaceholder:
            return {};
        default:
            return fail(ErrorCode::kInvalidParameter, "Command {:#x} of {} bytes is not known.",
                        command, commands.size());
    }
}

Result<void> Context::start_ring(rutabaga::ResourceId resource) {
    const auto found = ring_blobs_.find(resource);
    if (found == ring_blobs_.end() || found->second.ring)
        return fail(ErrorCode::kInvalidResource, "Resource {} cannot become a ring: it {}.",
                    resource,
                    found == ring_blobs_.end() ? "is no ring blob of this context" : "is one");
    found->second.ring = SWEDE_TRY(Ring::start(core_, found->second.memory));
    return {};
}

void Context::create_fence(const rutabaga::Fence& fence) {
    // Commands of the other timelines are done when submit() returns.
    if (fence.ring == kExportRing)
        exports_->add_fence(fence.ticket);
    else
        core_->sink().fence_done(fence.ticket);
}

void Context::add_ring_blob(rutabaga::ResourceId resource, std::shared_ptr<HostMemory> memory) {
    ring_blobs_.insert_or_assign(resource, RingBlob{std::move(memory), nullptr});
}

void Context::remove_resource(rutabaga::ResourceId resource) {
    if (const auto found = ring_blobs_.find(resource); found != ring_blobs_.end()) {
        if (found->second.ring) found->second.ring->stop();
        ring_blobs_.erase(found);
    }
    core_->detach(resource);
}

std::shared_ptr<ContextCore> Context::close() {
    core_->close();
    exports_->end();
    ring_blobs_.clear();
    return std::move(core_);
}

}  // namespace swede::gfxstream
