// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/backing.h"
#include "base/budget.h"
#include "rutabaga/completion.h"
#include "rutabaga/fence_timelines.h"
#include "rutabaga/frame.h"
#include "rutabaga/given_memory.h"
#include "rutabaga/renderer.h"
#include "rutabaga/resource.h"

namespace swede::rutabaga {

/// Owner of everything a guest made: resources, contexts, and the renderers that execute its
/// commands. 2D resources and guest-memory blobs live here (decision 4); all else goes to the
/// renderer of its context's capset. One per guest, on the device thread.
///
/// Functions return when the work is done, or take a Completion and answer later. The caller must
/// not start a second call on a resource or context while one is out on it (virtio_gpu's scheduler
/// queues commands; the C interface waits). Errors carry the virtio-gpu response they become.
class Gpu {
  public:
    /// `renderers` in order of preference; two with one capset id is an error of the program.
    Gpu(std::shared_ptr<Budget> budget, std::shared_ptr<CompletionSink> sink,
        std::vector<std::unique_ptr<Renderer>> renderers);
    ~Gpu();

    // Capsets: those of all renderers, in order.
    [[nodiscard]] size_t num_capsets() const;
    [[nodiscard]] const Capset* capset_at(size_t index) const;  ///< null past the end
    [[nodiscard]] const Capset* capset(uint32_t id) const;      ///< null when not offered

    // Contexts.
    void create_context(ContextId context, const ContextInfo& info, Completion<> done);
    /// Detaches the context's resources; its fences are completed by the caller (FenceTimelines).
    void destroy_context(ContextId context, Completion<> done);
    /// Attaching what is attached is no error.
    [[nodiscard]] Result<void> attach_resource(ContextId context, ResourceId resource,
                                               const SharedMemory* memory = nullptr);
    /// True when the context's renderer wants to know where another renderer has the resource's
    /// memory: then attach it with the function below.
    [[nodiscard]] bool attaches_memory(ContextId context, ResourceId resource);
    void attach_with_memory(ContextId context, ResourceId resource, Completion<> done);
    /// Detaching what is not attached, or from a context that is gone, is no error (guests do it
    /// when processes die).
    [[nodiscard]] Result<void> detach_resource(ContextId context, ResourceId resource);
    [[nodiscard]] bool has_context(ContextId context) const;
    /// The context's commands are refused from now on (kDeviceLost); it must still be destroyed.
    void lose_context(ContextId context, const Error& why);
    [[nodiscard]] Result<void> submit(ContextId context, std::optional<uint8_t> ring,
                                      std::span<const std::byte> commands);
    /// False when no renderer will report this fence: complete it at once (decision 6).
    [[nodiscard]] bool create_fence(const Fence& fence);

    // Resources.
    [[nodiscard]] Result<void> create_2d(const wire::ResourceCreate2d& request);
    void create_3d(const wire::ResourceCreate3d& request, Completion<> done);
    /// A 3D resource over memory that another guest's Gpu exported: see Renderer. The caller has
    /// checked that `memory` cannot shrink.
    void import_3d(const wire::ResourceCreate3d& request, SharedMemory memory, Completion<> done);
    /// Pictures and host blobs over memory that the VMM made: whoever has the file sees them
    /// change, and changes them. The caller has checked that it is steady (base/memory_file.h). A
    /// picture's first pixel is at `memory.offset`, its rows are `memory.stride` bytes apart;
    /// memory that may not be written takes no transfers to it.
    [[nodiscard]] Result<void> import_2d(const wire::ResourceCreate2d& request,
                                         SharedMemory memory);
    [[nodiscard]] Result<void> import_blob(ResourceId resource, const BlobRequest& request,
                                           SharedMemory memory);
    [[nodiscard]] bool has_renderer_of_3d() const { return renderer_of_3d() != nullptr; }
    /// `backing`: guest memory of GUEST and HOST3D_GUEST blobs, null otherwise. The id is taken
    /// while the creation is out, and free again if it fails.
    void create_blob(ContextId context, ResourceId resource, const BlobRequest& request,
                     std::shared_ptr<Backing> backing, Completion<> done);
    /// Revokes its backing, detaches it everywhere; it is not found any more. A mapped blob must be
    /// unmapped first.
    void destroy_resource(ResourceId resource, Completion<> done);
    /// For 2D and 3D resources, and for a guest blob whose backing was detached (Linux moves
    /// imported buffers in this way). A resource has one backing at most.
    [[nodiscard]] Result<void> attach_backing(ResourceId resource,
                                              std::shared_ptr<Backing> backing);
    /// What attach_backing() says of a backing of `bytes`, but for one that is there already.
    [[nodiscard]] Result<void> check_backing(ResourceId resource, uint64_t bytes);
    [[nodiscard]] Result<void> detach_backing(ResourceId resource);
    /// Answers once no renderer reaches guest memory that was detached before. To be awaited before
    /// the guest hears of it, if the resource's backing has reached a renderer.
    void settle_detaches(Completion<> done);
    /// Null when there is none.
    [[nodiscard]] Resource* find(ResourceId resource);
    /// Of those that find() finds, from the smallest.
    [[nodiscard]] std::vector<ResourceId> resource_ids() const;
    /// Random once, the same ever after (5.7.6.8, RESOURCE_ASSIGN_UUID).
    [[nodiscard]] Result<std::array<uint8_t, 16>> uuid(ResourceId resource);

    // Pixels.
    /// No-op for a guest blob: Linux sends it for dumb buffers, which are guest blobs when it can.
    [[nodiscard]] Result<void> transfer_to_host_2d(const wire::TransferToHost2d& transfer);
    void transfer_to_host(ContextId context, const wire::TransferHost3d& transfer,
                          Completion<> done);
    void transfer_from_host(ContextId context, const wire::TransferHost3d& transfer,
                            Completion<> done);
    /// The pixels of a part of a 2D resource, for SET_SCANOUT.
    [[nodiscard]] Result<std::shared_ptr<const Frame>> frame_2d(ResourceId resource,
                                                                const Rect& rect);
    /// The pixels of a part of a 3D resource, for SET_SCANOUT, once its renderer has exported them:
    /// that is where guests who draw by themselves, as GL does, have what they show.
    void frame_3d(ResourceId resource, const Rect& rect,
                  Completion<std::shared_ptr<const Frame>> done);
    /// The pixels of a blob, for SET_SCANOUT_BLOB: of a guest blob at once, of a host blob once its
    /// renderer has exported it. `layout` is checked against the blob's size.
    void frame_blob(ResourceId resource, const BlobLayout& layout,
                    Completion<std::shared_ptr<const Frame>> done);

    // Host-visible memory of blobs, and for export_blob() of 3D resources too: see Renderer.
    void export_blob(ResourceId resource, Completion<SharedMemory> done);
    void place_blob(ResourceId resource, const WindowRange& range, Completion<> done);
    void displace_blob(ResourceId resource, Completion<> done);

    /// See Renderer. Lasts through a reset.
    void set_paused(bool paused);
    /// Everything of the guest is gone when it answers: within a second and a bit.
    void reset(Completion<> done);

    [[nodiscard]] size_t num_resources() const { return resources_.size(); }
    [[nodiscard]] size_t num_contexts() const { return contexts_.size(); }
    [[nodiscard]] Budget& budget() { return *budget_; }
    [[nodiscard]] const std::shared_ptr<CompletionSink>& sink() const { return sink_; }

  private:
    struct Context;
    /// Dies at reset and with the Gpu: who holds a weak_ptr to it can tell that its call is over.
    struct Epoch {};

    [[nodiscard]] Result<Resource*> resource_of(ResourceId id);
    [[nodiscard]] Result<Resource*> host_blob_of(ResourceId id);
    [[nodiscard]] Result<Context*> context_of(ContextId id);
    /// As context_of(), and an error for a lost context.
    [[nodiscard]] Result<Context*> working_context_of(ContextId id);
    /// The renderer that owns 3D resources; null when there is none.
    [[nodiscard]] Renderer* renderer_of_3d() const;
    [[nodiscard]] Renderer* renderer_of_capset(uint32_t capset_id) const;

    /// A Completion for a renderer that answers `done` with what `apply` makes of the renderer's
    /// answer. After a reset `done` is told kDeviceLost and nothing is applied.
    template <typename T, typename U, typename Apply>
    [[nodiscard]] Completion<T> when_answered(Completion<U> done, Apply apply);

    /// Enters a resource that charges for itself; the id is checked first.
    [[nodiscard]] Result<Resource*> add_resource(ResourceId id, Resource::Kind kind);
    [[nodiscard]] Result<void> set_backing(Resource& resource, std::shared_ptr<Backing> backing);
    [[nodiscard]] Result<void> enter_blob(ContextId context, ResourceId id,
                                          const BlobRequest& request,
                                          const std::shared_ptr<Backing>& backing);
    [[nodiscard]] Result<void> enter_3d(const wire::ResourceCreate3d& request);
    /// The renderer's answer to the making of a 3D resource that was entered.
    [[nodiscard]] Completion<> when_made_3d(ResourceId id, Completion<> done);
    void detach_everywhere(Resource& resource);
    static void drop_backing(Resource& resource);
    void transfer(ContextId context, const wire::TransferHost3d& transfer, bool to_host,
                  Completion<> done);
    [[nodiscard]] static Result<void> transfer_core_2d(Resource& resource,
                                                       const wire::TransferHost3d& transfer,
                                                       bool to_host);

    std::shared_ptr<Budget> budget_;
    std::shared_ptr<CompletionSink> sink_;
    std::vector<std::unique_ptr<Renderer>> renderers_;
    GivenMemory given_;
    std::unordered_map<ResourceId, std::unique_ptr<Resource>> resources_;
    std::unordered_map<ContextId, std::unique_ptr<Context>> contexts_;
    std::shared_ptr<Epoch> epoch_ = std::make_shared<Epoch>();
};

}  // namespace swede::rutabaga
