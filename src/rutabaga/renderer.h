// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/backing.h"
#include "base/fd.h"
#include "rutabaga/completion.h"
#include "wire/virtio_gpu.h"

namespace swede::rutabaga {

/// A capability set as GET_CAPSET hands it out (virtio 1.3, 5.7.6.8).
struct Capset {
    uint32_t id = 0;
    uint32_t version = 0;
    std::vector<std::byte> data;
};

struct ContextInfo {
    uint32_t capset_id = 0;  ///< low byte of context_init; 0 without CONTEXT_INIT
    std::string debug_name;  ///< the guest's; at most 64 bytes, any bytes
};

struct BlobRequest {
    uint32_t blob_mem = 0;    ///< wire::kBlobMem*
    uint32_t blob_flags = 0;  ///< wire::kBlobFlag*
    uint64_t blob_id = 0;     ///< the context's own name for the memory
    uint64_t size = 0;        ///< bytes, not 0
};

struct BlobInfo {
    uint32_t map_info = wire::kMapCacheCached;  ///< for RESP_OK_MAP_INFO
};

/// Memory that another process can map. `fd` is owned by who holds the struct; it is a dma-buf or a
/// file sealed against shrinking.
struct SharedMemory {
    UniqueFd fd;
    uint64_t offset = 0;  ///< bytes, page-aligned
    uint64_t size = 0;    ///< bytes, whole pages
    uint32_t stride = 0;  ///< bytes from row to row of a 3D resource's picture; else 0
    Access access = Access::kReadWrite;  ///< kRead: mappings may not write
};

/// A range of the static host-visible window (decision 9): one sparse memfd that the VMM maps once.
/// The renderer's memory comes to live there. `fd` is borrowed for the call; duplicate it to keep
/// it.
struct WindowRange {
    int fd = -1;
    uint64_t offset = 0;  ///< of the range in the memfd, bytes, page-aligned
    uint64_t size = 0;    ///< bytes, whole pages
};

/// What a context that attaches a resource may see of it. Borrowed for the call.
struct AttachedResource {
    uint64_t size = 0;                 ///< bytes; of a 3D or 2D resource 0
    std::shared_ptr<Backing> backing;  ///< null without guest memory
    /// Where another renderer's resource lives, for one that wants to know; null if it is no file.
    const SharedMemory* memory = nullptr;
};

struct Fence {
    uint64_t ticket = 0;    ///< ours: unique, rising; what CompletionSink::fence_done() takes
    uint64_t fence_id = 0;  ///< the guest's, for traces; may repeat
    ContextId context = 0;
    std::optional<uint8_t> ring;  ///< empty: the global timeline
};

/// Executes the commands of contexts: Vulkan, Wayland, GL. Lives on the device thread, in process
/// or as the stub of a renderer process; the same tests run on both.
///
/// Calls come from the device thread and never block: what can wait answers through its Completion,
/// which may be called from any thread. The caller serialises: no second call on a resource or
/// context while one with a Completion is out on it, except submit() and create_fence() of other
/// contexts. Ids were checked: a resource or context named here was created here and not destroyed.
class Renderer {
  public:
    virtual ~Renderer() = default;

    /// Fixed for the renderer's life.
    [[nodiscard]] virtual std::span<const Capset> capsets() const = 0;
    /// True for the renderer that RESOURCE_CREATE_3D goes to (it names no context).
    [[nodiscard]] virtual bool owns_3d_resources() const { return false; }
    /// True for one that shares other renderers' resources with the host: AttachedResource::memory.
    [[nodiscard]] virtual bool wants_memory_of_attached() const { return false; }

    virtual void create_context(ContextId context, const ContextInfo& info, Completion<> done) = 0;
    /// Fences of the context that are out may complete or not; the device completes what is left.
    virtual void destroy_context(ContextId context, Completion<> done) = 0;
    virtual void attach_resource(ContextId context, ResourceId resource,
                                 const AttachedResource& view) = 0;
    virtual void detach_resource(ContextId context, ResourceId resource) = 0;

    /// `backing` is null for HOST3D.
    virtual void create_blob(ContextId context, ResourceId resource, const BlobRequest& request,
                             std::shared_ptr<Backing> backing, Completion<BlobInfo> done) = 0;
    virtual void create_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                           Completion<> done) = 0;
    /// A 3D resource over another guest's memory, as export_blob() gave it (local socket: PRIME;
    /// `request` made the first one), or over a VMM's, in process alone, whose stride stays.
    virtual void import_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                           SharedMemory memory, Completion<> done) {
        static_cast<void>(resource);
        static_cast<void>(request);
        static_cast<void>(memory);
        done(fail(ErrorCode::kUnsupported, "The renderer cannot import resources."));
    }
    virtual void attach_backing(ResourceId resource, std::shared_ptr<Backing> backing) = 0;
    virtual void detach_backing(ResourceId resource) = 0;
    virtual void destroy_resource(ResourceId resource, Completion<> done) = 0;
    /// Answers once guest memory that was detached before is out of the renderer's reach: its owner
    /// may use it for something else then (I7). In process, revoking the Backing has done that.
    virtual void settle_detaches(Completion<> done) { done({}); }

    /// The blob's memory as a file, for a VMM that maps on request, and for scanout: where it lives
    /// now, so of a placed blob the window's file. It is asked for again when the blob has moved.
    /// Also for a 3D resource, if its pixels are linear in shared memory: with their stride.
    virtual void export_blob(ResourceId resource, Completion<SharedMemory> done) = 0;
    /// Moves the blob's memory into the window's range, contents kept. The range reads as zero.
    virtual void place_blob(ResourceId resource, const WindowRange& range, Completion<> done) = 0;
    /// Takes it out again: after `done`, nothing of the renderer writes to the range any more.
    virtual void displace_blob(ResourceId resource, Completion<> done) = 0;

    virtual void transfer_to_host(ContextId context, ResourceId resource,
                                  const wire::TransferHost3d& transfer, Completion<> done) = 0;
    virtual void transfer_from_host(ContextId context, ResourceId resource,
                                    const wire::TransferHost3d& transfer, Completion<> done) = 0;

    /// Takes the commands (they are copied or executed before it returns). An Error is the guest's
    /// response; commands that fail later lose the context instead.
    [[nodiscard]] virtual Result<void> submit(ContextId context, std::optional<uint8_t> ring,
                                              std::span<const std::byte> commands) = 0;
    /// Reports fence_done(ticket) once all that was submitted before on this timeline is complete.
    virtual void create_fence(const Fence& fence) = 0;

    /// While the guest stands still, nothing goes into its memory that no command of its has begun:
    /// another system may be started there.
    virtual void set_paused(bool /*paused*/) {}

    /// Forgets all contexts and resources of the guest. Answers within a second, whatever runs:
    /// what does not end is left behind with its old memory (decision 8).
    virtual void reset(Completion<> done) = 0;
};

}  // namespace swede::rutabaga
