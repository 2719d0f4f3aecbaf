// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/renderer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "gfxstream/capset.h"
#include "gfxstream/ring_layout.h"

namespace swede::gfxstream {
namespace {

log::Module log_("gfxstream");

using rutabaga::Completion;
using rutabaga::ContextId;
using rutabaga::ResourceId;
using Clock = std::chrono::steady_clock;

constexpr auto kDestroyLimit = std::chrono::seconds(1);
/// Less than the second that a reset may take, and than what the device waits for this process.
constexpr auto kResetLimit = std::chrono::milliseconds(500);

}  // namespace

GfxstreamRenderer::GfxstreamRenderer(std::shared_ptr<rutabaga::CompletionSink> sink,
                                     RendererParts parts)
    : sink_(std::move(sink)),
      parts_(std::move(parts)),
      capset_(make_capset(parts_.color_buffer_index)),
      closer_(parts_.give_up) {}

GfxstreamRenderer::~GfxstreamRenderer() {
    for (auto& [id, context] : contexts_)
        closer_.close(context->close(), Clock::now() + kDestroyLimit, {sink_, [](Result<void>) {}});
}

Context* GfxstreamRenderer::find(ContextId id) {
    const auto found = contexts_.find(id);
    return found == contexts_.end() ? nullptr : found->second.get();
}

Result<GfxstreamRenderer::Resource*> GfxstreamRenderer::resource_of(ResourceId id) {
    const auto found = resources_.find(id);
    if (found == resources_.end())
        return fail(ErrorCode::kInvalidResource, "The renderer has no resource {}.", id);
    return &found->second;
}

// --- contexts ---

void GfxstreamRenderer::create_context(ContextId id, const rutabaga::ContextInfo&,
                                       Completion<> done) {
    if (closer_.has_too_many())
        return done(fail(ErrorCode::kOutOfMemory,
                         "More than {} contexts are stuck in the Vulkan driver.",
                         ContextCloser::kMaxLeftBehind));
    auto context = Context::create(id, sink_, parts_.budget, parts_.executors);
    if (!context) return done(std::unexpected(std::move(context).error()));
    contexts_.insert_or_assign(id, *std::move(context));
    done({});
}

void GfxstreamRenderer::destroy_context(ContextId id, Completion<> done) {
    const auto found = contexts_.find(id);
    if (found == contexts_.end()) return done({});
    closer_.close(found->second->close(), Clock::now() + kDestroyLimit, std::move(done));
    contexts_.erase(found);
    for (auto& [resource_id, resource] : resources_) std::erase(resource.contexts, id);
}

void GfxstreamRenderer::attach_resource(ContextId id, ResourceId resource_id,
                                        const rutabaga::AttachedResource&) {
    Context* const context = find(id);
    const auto resource = resource_of(resource_id);
    if (context == nullptr || !resource) return;
    if (std::ranges::find((*resource)->contexts, id) == (*resource)->contexts.end())
        (*resource)->contexts.push_back(id);
    if ((*resource)->color_buffer) context->attach(resource_id, (*resource)->color_buffer);
}

void GfxstreamRenderer::detach_resource(ContextId id, ResourceId resource_id) {
    if (Context* const context = find(id)) context->remove_resource(resource_id);
    if (const auto resource = resource_of(resource_id)) std::erase((*resource)->contexts, id);
}

Result<void> GfxstreamRenderer::submit(ContextId id, std::optional<uint8_t>,
                                       std::span<const std::byte> commands) {
    Context* const context = find(id);
    if (context == nullptr || context->is_over())
        return fail(ErrorCode::kDeviceLost, "Context {} is lost.", id);
    auto submitted = context->submit(commands);
    // The server reports it too, but it is the rings that a guest's threads wait on.
    if (!submitted) context->lose(submitted.error());
    return submitted;
}

void GfxstreamRenderer::create_fence(const rutabaga::Fence& fence) {
    if (Context* const context = find(fence.context))
        context->create_fence(fence);
    else
        sink_->fence_done(fence.ticket);
}

// --- resources ---

Result<std::shared_ptr<HostMemory>> GfxstreamRenderer::make_blob(
    ContextId id, const rutabaga::BlobRequest& request) {
    if (request.blob_mem != wire::kBlobMemHost3d)
        return fail(ErrorCode::kUnsupported, "Blobs of memory type {} are not made here.",
                    request.blob_mem);
    Context* const context = find(id);
    if (context == nullptr || context->is_over())
        return fail(ErrorCode::kInvalidContext, "Context {} makes no blobs.", id);
    if (request.blob_id != 0) return context->executor().take_blob(request.blob_id, request.size);
    if (request.size < ring_layout::kSize || request.size > 2 * ring_layout::kSize)
        return fail(ErrorCode::kInvalidParameter, "A ring of {} bytes is not possible.",
                    request.size);
    return HostMemory::create(request.size, parts_.budget);
}

void GfxstreamRenderer::create_blob(ContextId id, ResourceId resource_id,
                                    const rutabaga::BlobRequest& request, std::shared_ptr<Backing>,
                                    Completion<rutabaga::BlobInfo> done) {
    auto memory = make_blob(id, request);
    if (!memory) return done(std::unexpected(std::move(memory).error()));
    Resource resource;
    resource.is_ring = request.blob_id == 0;
    resource.memory = *std::move(memory);
    resource.contexts.push_back(id);
    if (resource.is_ring) find(id)->add_ring_blob(resource_id, resource.memory);
    resources_.insert_or_assign(resource_id, std::move(resource));
    done(rutabaga::BlobInfo{wire::kMapCacheCached});
}

Result<ColorBufferLayout> GfxstreamRenderer::layout_of(const wire::ResourceCreate3d& request,
                                                       uint32_t stride) const {
    if (stride != 0) return layout_with_stride(request, stride);
    if (is_buffer(request)) return ColorBufferLayout{request.width, 0};
    return parts_.color_buffer_layout(request.format, request.width, request.height);
}

Result<void> GfxstreamRenderer::make_3d(ResourceId resource_id,
                                        const wire::ResourceCreate3d& request,
                                        rutabaga::SharedMemory memory) {
    SWEDE_TRY(check_color_buffer(request));
    const ColorBufferLayout layout = SWEDE_TRY(layout_of(request, memory.stride));
    if (memory.fd && memory.access != Access::kReadWrite)
        return fail(ErrorCode::kUnsupported,
                    "Memory for reading cannot become resource {}, which a driver may write to.",
                    resource_id);
    if (memory.fd && memory.size < layout.size)
        return fail(ErrorCode::kInvalidParameter,
                    "Memory of {} bytes is too small for a picture of {}x{}, which takes {}.",
                    memory.size, request.width, request.height, layout.size);
    Resource resource;
    const bool has_fixed_stride = memory.stride != 0;
    resource.memory = SWEDE_TRY(memory.fd ? HostMemory::adopt(std::move(memory))
                                          : HostMemory::create(layout.size, parts_.budget));
    resource.color_buffer = std::make_shared<ColorBuffer>();
    resource.color_buffer->request = request;
    resource.color_buffer->memory = resource.memory;
    resource.color_buffer->stride = layout.stride;
    resource.color_buffer->has_fixed_stride = has_fixed_stride;
    resources_.insert_or_assign(resource_id, std::move(resource));
    return {};
}

void GfxstreamRenderer::create_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                                  Completion<> done) {
    done(make_3d(resource, request, {}));
}

void GfxstreamRenderer::import_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                                  rutabaga::SharedMemory memory, Completion<> done) {
    done(make_3d(resource, request, std::move(memory)));
}

void GfxstreamRenderer::attach_backing(ResourceId id, std::shared_ptr<Backing> backing) {
    if (const auto resource = resource_of(id)) (*resource)->backing = std::move(backing);
}

void GfxstreamRenderer::detach_backing(ResourceId id) {
    if (const auto resource = resource_of(id)) (*resource)->backing.reset();
}

void GfxstreamRenderer::destroy_resource(ResourceId id, Completion<> done) {
    const auto found = resources_.find(id);
    if (found == resources_.end()) return done({});
    for (const ContextId context_id : found->second.contexts)
        if (Context* const context = find(context_id)) context->remove_resource(id);
    displace(found->second);
    resources_.erase(found);
    done({});
}

void GfxstreamRenderer::displace(Resource& resource) {
    if (const auto displaced = resource.memory->displace(); !displaced)
        log_.error("{}", displaced.error().message);
}

void GfxstreamRenderer::export_blob(ResourceId id, Completion<rutabaga::SharedMemory> done) {
    const auto resource = resource_of(id);
    if (!resource) return done(std::unexpected(resource.error()));
    auto shared = (*resource)->memory->share();
    if (const ColorBuffer* const picture = (*resource)->color_buffer.get(); shared && picture)
        shared->stride = picture->stride.load();
    done(std::move(shared));
}

void GfxstreamRenderer::place_blob(ResourceId id, const rutabaga::WindowRange& range,
                                   Completion<> done) {
    const auto resource = resource_of(id);
    if (!resource) return done(std::unexpected(resource.error()));
    if (!parts_.memory_can_move && !(*resource)->is_ring)
        return done(fail(ErrorCode::kUnsupported,
                         "The GPU's driver pins memory, so resource {} cannot move into the "
                         "window; the door vhost-user needs no move.",
                         id));
    done((*resource)->memory->place(range));
}

void GfxstreamRenderer::displace_blob(ResourceId id, Completion<> done) {
    const auto resource = resource_of(id);
    if (!resource) return done(std::unexpected(resource.error()));
    done((*resource)->memory->displace());
}

Result<void> GfxstreamRenderer::transfer_pixels(ResourceId id,
                                                const wire::TransferHost3d& transfer_,
                                                TransferDirection direction) {
    Resource* const resource = SWEDE_TRY(resource_of(id));
    if (!resource->color_buffer || !resource->backing)
        return fail(ErrorCode::kInvalidResource, "Resource {} has no {}.", id,
                    resource->color_buffer ? "guest memory" : "pixels to transfer");
    return transfer(*resource->color_buffer, *resource->backing, transfer_, direction);
}

void GfxstreamRenderer::transfer_to_host(ContextId, ResourceId resource,
                                         const wire::TransferHost3d& request, Completion<> done) {
    done(transfer_pixels(resource, request, TransferDirection::kToHost));
}

void GfxstreamRenderer::transfer_from_host(ContextId, ResourceId resource,
                                           const wire::TransferHost3d& request, Completion<> done) {
    done(transfer_pixels(resource, request, TransferDirection::kFromHost));
}

// --- all of it ---

void GfxstreamRenderer::reset(Completion<> done) {
    struct Progress {
        size_t left;
        Completion<> done;
    };
    const auto progress =
        std::make_shared<Progress>(Progress{contexts_.size() + 1, std::move(done)});
    const auto step = [progress](Result<void>) {
        if (--progress->left == 0) progress->done({});
    };
    const auto deadline = Clock::now() + kResetLimit;
    for (auto& [id, context] : contexts_) closer_.close(context->close(), deadline, {sink_, step});
    contexts_.clear();
    for (auto& [id, resource] : resources_) displace(resource);
    resources_.clear();
    step({});
}

}  // namespace swede::gfxstream
