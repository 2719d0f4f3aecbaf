// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/client.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/log.h"

namespace swede::renderer_process {
namespace {

log::Module log_("renderer_process");

using rutabaga::Completion;
using rutabaga::ContextId;
using rutabaga::ResourceId;

/// Segments that are kept allocated between two backings.
constexpr size_t kKeptSegments = 4096;

int32_t ring_of(std::optional<uint8_t> ring) {
    return ring ? int32_t{*ring} : kNoRing;
}

std::unexpected<Error> no_process() {
    return fail(ErrorCode::kDeviceLost, "The renderer process that held it is gone.");
}

/// What gives something back has to reach the process however full the queue is: refused, the
/// object would live on there, under an id that its guest thinks free. They are few: what they end
/// is counted, and a process that lets too much pile up is given up.
bool must_be_sent(Request type) {
    return type == Request::kDestroyContext || type == Request::kDestroyResource ||
           type == Request::kDisplaceBlob;
}

}  // namespace

// --- contexts ---

void RendererProcess::create_context(ContextId context, const rutabaga::ContextInfo& info,
                                     Completion<> done) {
    if (auto started = want_child(); !started)
        return done(std::unexpected(std::move(started).error()));
    CreateContext body{};
    body.context = context;
    body.capset = info.capset_id;
    body.name_size = static_cast<uint32_t>(std::min(info.debug_name.size(), sizeof(body.name)));
    std::memcpy(body.name, info.debug_name.data(), body.name_size);
    contexts_.insert_or_assign(context, ContextState{child_->generation});
    ++child_->contexts_given;
    ask(Request::kCreateContext, bytes_of(body), std::move(done), context);
}

void RendererProcess::destroy_context(ContextId context, Completion<> done) {
    const auto found = contexts_.find(context);
    if (found == contexts_.end()) return done({});
    const uint64_t generation = found->second.generation;
    contexts_.erase(found);
    fences_.forget_context(context);
    if (!serves(generation))
        return after_end(generation, [done = std::move(done)]() mutable { done({}); });
    ask(Request::kDestroyContext, bytes_of(ContextOnly{context, 0}), std::move(done));
    const auto first = attachments_.lower_bound({context, 0});
    auto last = first;
    std::vector<uint64_t> unused;
    for (; last != attachments_.end() && last->first.first == context; ++last)
        unused.push_back(last->second);
    attachments_.erase(first, last);
    for (const uint64_t id : unused) unuse_backing(id);
}

bool RendererProcess::is_alive(ContextId context) const {
    const auto found = contexts_.find(context);
    return found != contexts_.end() && !found->second.lost && serves(found->second.generation);
}

void RendererProcess::lose_context(ContextId context, const Error& why) {
    contexts_.at(context).lost = true;
    fences_.forget_context(context);  // the device completes them
    sink_->context_lost(context, why);
}

void RendererProcess::attach_resource(ContextId context, ResourceId resource,
                                      const rutabaga::AttachedResource& view) {
    if (!is_alive(context)) return;
    const auto known = resources_.find(resource);
    if (known != resources_.end() && !serves(known->second.generation)) return;
    const auto backing = use_backing(view.backing);
    if (!backing) {
        // The call has no answer, and a context that misses a resource would do anything.
        if (is_alive(context)) lose_context(context, backing.error());
        return;
    }
    if (*backing != 0)
        if (const auto [place, fresh] = attachments_.try_emplace({context, resource}, *backing);
            !fresh)
            unuse_backing(std::exchange(place->second, *backing));
    if (child_)
        send(Request::kAttachResource, 0,
             bytes_of(AttachResource{context, resource, view.size, *backing}));
}

void RendererProcess::detach_resource(ContextId context, ResourceId resource) {
    if (is_alive(context))
        send(Request::kDetachResource, 0, bytes_of(DetachResource{context, resource}));
    const auto found = attachments_.find({context, resource});
    if (found == attachments_.end()) return;
    const uint64_t backing = found->second;
    attachments_.erase(found);
    unuse_backing(backing);
}

Result<void> RendererProcess::submit(ContextId context, std::optional<uint8_t> ring,
                                     std::span<const std::byte> commands) {
    if (!is_alive(context))
        return fail(ErrorCode::kDeviceLost, "Context {} is lost with its renderer.", context);
    if (commands.size() > options_.max_commands)
        return fail(ErrorCode::kOutOfMemory, "Commands of {} bytes are more than the {} possible.",
                    commands.size(), options_.max_commands);
    if (!room_for(commands.size()))
        return fail(ErrorCode::kOutOfMemory, "The renderer has {} bytes of commands unread.",
                    child_->socket.unsent());
    if (!send(Request::kSubmit, 0, bytes_of(Submit{context, ring_of(ring)}), commands))
        return no_process();
    return {};
}

void RendererProcess::create_fence(const rutabaga::Fence& fence) {
    // Without a process nothing is out that the fence could wait for.
    if (fence.context != 0 ? !is_alive(fence.context) : !child_)
        return sink_->fence_done(fence.ticket);
    const auto now = Clock::now();
    fences_.add(fence.ticket, fence.context, now);
    ++child_->fences_given;
    const bool sent = send(
        Request::kCreateFence, 0,
        bytes_of(CreateFence{fence.ticket, fence.fence_id, fence.context, ring_of(fence.ring)}));
    if (sent) wake_at(now + options_.fence_limit);
}

// --- resources ---

void RendererProcess::create_blob(ContextId context, ResourceId resource,
                                  const rutabaga::BlobRequest& request,
                                  std::shared_ptr<Backing> backing,
                                  Completion<rutabaga::BlobInfo> done) {
    if (!is_alive(context)) return done(no_process());
    const auto id = use_backing(backing);
    if (!id) return done(std::unexpected(id.error()));
    resources_.insert_or_assign(resource, ResourceState{child_->generation, request.size, *id});
    ask(Request::kCreateBlob,
        bytes_of(CreateBlob{context, resource, request.blob_mem, request.blob_flags,
                            request.blob_id, request.size, *id}),
        std::move(done), resource);
}

void RendererProcess::create_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                                Completion<> done) {
    if (auto started = want_child(); !started)
        return done(std::unexpected(std::move(started).error()));
    wire::ResourceCreate3d body = request;
    body.resource_id = resource;
    resources_.insert_or_assign(resource, ResourceState{child_->generation});
    ask(Request::kCreate3d, bytes_of(body), std::move(done), resource);
}

void RendererProcess::import_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                                rutabaga::SharedMemory memory, Completion<> done) {
    if (!child_)
        if (auto started = start_child(); !started)
            return done(std::unexpected(std::move(started).error()));
    Import3d body{request, memory.offset, memory.size};
    body.request.resource_id = resource;
    resources_.insert_or_assign(resource, ResourceState{child_->generation});
    ask(Request::kImport3d, bytes_of(body), std::move(done), resource, 0, memory.fd.get());
}

void RendererProcess::attach_backing(ResourceId resource, std::shared_ptr<Backing> backing) {
    const auto found = resources_.find(resource);
    if (found == resources_.end() || !serves(found->second.generation)) return;
    const auto id = use_backing(backing);
    if (!id) {
        log_.warn("Resource {} has no guest memory in the renderer: {}", resource,
                  id.error().message);
        return;
    }
    const uint64_t before = std::exchange(found->second.backing, *id);
    send(Request::kAttachBacking, 0, bytes_of(AttachBacking{resource, 0, *id}));
    unuse_backing(before);
}

void RendererProcess::detach_backing(ResourceId resource) {
    const auto found = resources_.find(resource);
    if (found == resources_.end() || !serves(found->second.generation)) return;
    const uint64_t before = std::exchange(found->second.backing, 0);
    send(Request::kDetachBacking, 0, bytes_of(ResourceOnly{resource, 0}));
    unuse_backing(before);
}

void RendererProcess::destroy_resource(ResourceId resource, Completion<> done) {
    const auto found = resources_.find(resource);
    if (found == resources_.end()) return done({});
    const ResourceState state = found->second;
    resources_.erase(found);
    if (!serves(state.generation))
        return after_end(state.generation, [done = std::move(done)]() mutable { done({}); });
    ask(Request::kDestroyResource, bytes_of(ResourceOnly{resource, 0}), std::move(done));
    unuse_backing(state.backing);
}

template <typename T>
RendererProcess::ResourceState* RendererProcess::living_resource(ResourceId resource,
                                                                 Completion<T>& done) {
    const auto found = resources_.find(resource);
    if (found == resources_.end()) {
        done(fail(ErrorCode::kInvalidResource, "The renderer has no resource {}.", resource));
        return nullptr;
    }
    if (!serves(found->second.generation)) {
        after_end(found->second.generation,
                  [done = std::move(done)]() mutable { done(no_process()); });
        return nullptr;
    }
    return &found->second;
}

void RendererProcess::settle_detaches(Completion<> done) {
    if (child_ && !room_for(0))
        lose_child(Error{ErrorCode::kDeviceLost, "It is too busy to let go of guest memory."});
    for (Ending& ending : ending_)
        if (!ending.given_up)
            return ending.answers.push_back(
                [this, done = std::move(done)]() mutable { settle_detaches(std::move(done)); });
    // The process takes messages in order: it answers this one after what was sent before.
    if (child_) return ask(Request::kPing, {}, std::move(done));
    done({});
}

void RendererProcess::export_blob(ResourceId resource, Completion<rutabaga::SharedMemory> done) {
    if (const ResourceState* const state = living_resource(resource, done))
        ask(Request::kExportBlob, bytes_of(ResourceOnly{resource, 0}), std::move(done), resource,
            state->size);
}

void RendererProcess::place_blob(ResourceId resource, const rutabaga::WindowRange& range,
                                 Completion<> done) {
    if (living_resource(resource, done) != nullptr)
        ask(Request::kPlaceBlob, bytes_of(PlaceBlob{resource, 0, range.offset, range.size}),
            std::move(done), resource, 0, range.fd);
}

void RendererProcess::displace_blob(ResourceId resource, Completion<> done) {
    const auto found = resources_.find(resource);
    if (found == resources_.end()) return done({});
    const uint64_t generation = found->second.generation;
    if (!serves(generation))  // the kernel took it out of the window, with the process
        return after_end(generation, [done = std::move(done)]() mutable { done({}); });
    ask(Request::kDisplaceBlob, bytes_of(ResourceOnly{resource, 0}), std::move(done));
}

void RendererProcess::transfer(Request type, ContextId context, ResourceId resource,
                               const wire::TransferHost3d& transfer, Completion<> done) {
    if (living_resource(resource, done) != nullptr)
        ask(type, bytes_of(Transfer{context, resource, transfer}), std::move(done));
}

void RendererProcess::transfer_to_host(ContextId context, ResourceId resource,
                                       const wire::TransferHost3d& transfer_, Completion<> done) {
    transfer(Request::kTransferToHost, context, resource, transfer_, std::move(done));
}

void RendererProcess::transfer_from_host(ContextId context, ResourceId resource,
                                         const wire::TransferHost3d& transfer_, Completion<> done) {
    transfer(Request::kTransferFromHost, context, resource, transfer_, std::move(done));
}

void RendererProcess::reset(Completion<> done) {
    for (auto& [number, request] : std::exchange(requests_, {}))
        before_reset_.push_back(
            failure_of(std::move(request), Error{ErrorCode::kDeviceLost, "The device was reset."}));
    first_request_ = next_request_;
    ping_out_ = false;
    contexts_.clear();
    resources_.clear();
    attachments_.clear();
    backings_.clear();
    fences_.clear();
    resets_.push_back(std::move(done));
    if (child_ && !room_for(0))
        lose_child(Error{ErrorCode::kDeviceLost, "It is too busy to be reset."});
    if (child_) ask(Request::kReset, {}, std::monostate());
    finish_reset_if_over();
}

// --- sending ---

bool RendererProcess::room_for(size_t bytes) const {
    return child_->socket.unsent() + bytes <= options_.max_queued;
}

bool RendererProcess::send(Request type, uint64_t number, std::span<const std::byte> body,
                           std::span<const std::byte> tail, int fd) {
    const Header header{static_cast<uint32_t>(type),
                        static_cast<uint32_t>(body.size() + tail.size()), number};
    const std::array<std::span<const std::byte>, 3> parts{bytes_of(header), body, tail};
    const auto sent =
        child_->socket.send(parts, fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1));
    if (!sent) {
        lose_child(sent.error());
        return false;
    }
    if (child_->socket.unsent() != 0 && !child_->stalled_since) {
        const auto now = Clock::now();
        child_->stalled_since = now;
        child_->socket_watch.set_events(EPOLLIN | EPOLLOUT);
        wake_at(now + options_.request_deadline);
    }
    return true;
}

void RendererProcess::ask(Request type, std::span<const std::byte> body, Waiter waiter,
                          uint32_t object, uint64_t blob_size, int fd) {
    const auto deadline = Clock::now() + (type == Request::kReset ? options_.reset_deadline
                                                                  : options_.request_deadline);
    PendingRequest request{type, object, blob_size, deadline, std::move(waiter)};
    if (!must_be_sent(type) && !room_for(body.size()) &&
        !std::holds_alternative<std::monostate>(request.waiter))
        return failure_of(std::move(request),
                          Error{ErrorCode::kOutOfMemory,
                                fmt::format("The renderer has {} bytes of commands unread.",
                                            child_->socket.unsent())})();
    const uint64_t number = next_request_++;
    requests_.emplace(number, std::move(request));
    if (send(type, number, body, {}, fd)) wake_at(deadline);
}

Result<uint64_t> RendererProcess::use_backing(const std::shared_ptr<Backing>& backing) {
    if (!backing) return 0;
    const auto use = backings_.use(backing);
    if (!use.first) return use.id;
    segments_.clear();
    if (const Backing::Lease lease = backing->lease())
        for (const Backing::Segment& part : lease.segments())
            segments_.push_back({part.region->id, part.region_offset, part.size});
    const AddBacking body{use.id, segments_.size()};
    const auto tail = std::as_bytes(std::span(segments_));
    const bool fits = tail.size() + sizeof(body) <= kMaxRequestPayload && room_for(tail.size());
    if (!fits) {
        static_cast<void>(backings_.unuse(use.id));
        return fail(ErrorCode::kOutOfMemory,
                    "The renderer has no room for guest memory in {} pieces.", segments_.size());
    }
    const bool sent = send(Request::kAddBacking, 0, bytes_of(body), tail);
    if (segments_.capacity() > kKeptSegments) segments_ = {};
    if (!sent) return no_process();
    return use.id;
}

void RendererProcess::unuse_backing(uint64_t id) {
    if (id != 0 && backings_.unuse(id) && child_)
        send(Request::kDropBacking, 0, bytes_of(DropBacking{id}));
}

// --- guest memory ---

void RendererProcess::send_region(const MemoryRegion& region) {
    if (!region.fd) return;  // nothing that a backing could name
    send(Request::kAddRegion, 0,
         bytes_of(AddRegion{region.id, region.address, region.size, region.fd_offset,
                            region.access == Access::kReadWrite, 0}),
         {}, region.fd.get());
}

void RendererProcess::region_added(const std::shared_ptr<const MemoryRegion>& region) {
    if (child_) send_region(*region);
}

void RendererProcess::region_removed(const MemoryRegion& region) {
    if (child_ && region.fd)
        ask(Request::kRemoveRegion, bytes_of(RemoveRegion{region.id}), std::monostate());
}

}  // namespace swede::renderer_process
