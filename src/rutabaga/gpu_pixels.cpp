// SPDX-License-Identifier: Apache-2.0
// Gpu: transfers of pixels, frames for scanouts, host-visible memory.
#include <algorithm>

#include "base/checked.h"
#include "rutabaga/gpu_internal.h"
#include "rutabaga/pixel_storage.h"

namespace swede::rutabaga {
namespace {

/// `memory` as a renderer exported it holds whole pages, and all of a blob of `size` bytes. Of a 3D
/// resource (`size` 0) the renderer alone knows how many.
Result<void> check_export(const SharedMemory& memory, uint64_t size) {
    if (memory.fd && is_page_aligned(memory.offset) && is_page_aligned(memory.size) &&
        memory.size != 0 && memory.size >= size && checked_add(memory.offset, memory.size))
        return {};
    return fail(ErrorCode::kUnspecified,
                "The renderer exports {} bytes at offset {:#x} of fd {} for a blob of {} bytes.",
                memory.size, memory.offset, memory.fd.get(), size);
}

/// Mapped memory of a resource whose budget charge lives as long as the memory does.
struct ChargedMapping {
    Mapping mapping;
    std::shared_ptr<const Budget::Charge> charge;
};

/// `charge` is that of the resource's bytes: null when it is gone. `exported` and `layout` were
/// checked.
Result<std::shared_ptr<const Frame>> map_frame(ResourceId id, const SharedMemory& exported,
                                               std::shared_ptr<const Budget::Charge> charge,
                                               const BlobLayout& layout) {
    if (!charge) return fail(ErrorCode::kInvalidResource, "Resource {} is gone meanwhile.", id);
    auto mapped = std::make_shared<ChargedMapping>(
        SWEDE_TRY(
            Mapping::peer_file(exported.fd.get(), exported.offset, exported.size, Access::kRead)),
        std::move(charge));
    return make_memory_frame({mapped, &mapped->mapping}, layout);
}

Result<void> check_inside(const Resource& resource, const Rect& rect) {
    if (rect_inside(rect, resource.width, resource.height)) return {};
    return fail(ErrorCode::kInvalidParameter,
                "The rectangle {}x{}+{}+{} is not inside resource {} ({}x{}).", rect.width,
                rect.height, rect.x, rect.y, resource.id, resource.width, resource.height);
}

Result<Backing*> backing_of(const Resource& resource) {
    if (!resource.backing)
        return fail(ErrorCode::kUnspecified, "Resource {} has no backing.", resource.id);
    return resource.backing.get();
}

}  // namespace

Result<void> Gpu::transfer_to_host_2d(const wire::TransferToHost2d& transfer) {
    Resource* const resource = SWEDE_TRY(resource_of(transfer.resource_id));
    if (resource->kind == Resource::Kind::kGuestBlob) return {};
    if (resource->kind != Resource::Kind::k2d)
        return fail(ErrorCode::kInvalidParameter, "Resource {} is not a 2D resource.",
                    resource->id);
    SWEDE_TRY(check_inside(*resource, transfer.rect));
    Backing* const backing = SWEDE_TRY(backing_of(*resource));
    // The offset is of the rectangle's first pixel (Linux: y * pitch + x * 4), the rows are as far
    // apart as the resource is wide.
    return resource->pixels->copy_from(*backing, transfer.offset, resource->pixels->stride(),
                                       transfer.rect);
}

Result<void> Gpu::transfer_core_2d(Resource& resource, const wire::TransferHost3d& transfer,
                                   bool to_host) {
    const wire::Box& box = transfer.box;
    if (box.z != 0 || box.depth != 1 || transfer.level != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "Resource {} is flat: level {}, z {}, depth {} are not in it.", resource.id,
                    transfer.level, box.z, box.depth);
    const Rect rect{box.x, box.y, box.width, box.height};
    SWEDE_TRY(check_inside(resource, rect));
    const uint32_t row_bytes = rect.width * kBytesPerPixel;
    const uint32_t stride = transfer.stride == 0 ? row_bytes : transfer.stride;
    if (stride < row_bytes && rect.height > 1)
        return fail(ErrorCode::kInvalidParameter,
                    "The stride ({}) is shorter than a row of {} pixels.", stride, rect.width);
    Backing* const backing = SWEDE_TRY(backing_of(resource));
    return to_host ? resource.pixels->copy_from(*backing, transfer.offset, stride, rect)
                   : resource.pixels->copy_to(*backing, transfer.offset, stride, rect);
}

void Gpu::transfer(ContextId context_id, const wire::TransferHost3d& transfer, bool to_host,
                   Completion<> done) {
    Renderer* renderer = nullptr;
    if (context_id != 0) {
        const auto context = working_context_of(context_id);
        if (!context) return done(std::unexpected(context.error()));
        renderer = (*context)->renderer;
    }
    const auto found = resource_of(transfer.resource_id);
    if (!found) return done(std::unexpected(found.error()));
    Resource& resource = **found;
    if (resource.kind == Resource::Kind::kGuestBlob) return done({});
    if (resource.kind == Resource::Kind::k2d)
        return done(transfer_core_2d(resource, transfer, to_host));
    if (renderer != nullptr && renderer != resource.renderer)
        return done(fail(ErrorCode::kInvalidContext,
                         "Context {} and resource {} are of two renderers.", context_id,
                         resource.id));
    if (to_host)
        resource.renderer->transfer_to_host(context_id, resource.id, transfer, std::move(done));
    else
        resource.renderer->transfer_from_host(context_id, resource.id, transfer, std::move(done));
}

void Gpu::transfer_to_host(ContextId context, const wire::TransferHost3d& request,
                           Completion<> done) {
    transfer(context, request, true, std::move(done));
}

void Gpu::transfer_from_host(ContextId context, const wire::TransferHost3d& request,
                             Completion<> done) {
    transfer(context, request, false, std::move(done));
}

Result<std::shared_ptr<const Frame>> Gpu::frame_2d(ResourceId id, const Rect& rect) {
    Resource* const resource = SWEDE_TRY(resource_of(id));
    if (resource->kind != Resource::Kind::k2d)
        return fail(ErrorCode::kInvalidParameter, "Resource {} is not a 2D resource.", id);
    SWEDE_TRY(check_inside(*resource, rect));
    return make_pixel_frame(resource->pixels, rect, *resource->format);
}

void Gpu::frame_3d(ResourceId id, const Rect& rect, Completion<std::shared_ptr<const Frame>> done) {
    const auto found = resource_of(id);
    if (!found) return done(std::unexpected(found.error()));
    Resource& resource = **found;
    if (resource.kind != Resource::Kind::k3d || !resource.format)
        return done(fail(ErrorCode::kInvalidParameter,
                         "Resource {} is not a 3D resource with pixels of 4 bytes.", id));
    if (auto inside = check_inside(resource, rect); !inside)
        return done(std::unexpected(std::move(inside).error()));
    resource.renderer->export_blob(
        id, when_answered<SharedMemory>(
                std::move(done),
                [id, rect, format = *resource.format,
                 kept = std::weak_ptr<const Budget::Charge>(resource.bytes_charge)](
                    Result<SharedMemory> memory) -> Result<std::shared_ptr<const Frame>> {
                    const SharedMemory exported = SWEDE_TRY(std::move(memory));
                    SWEDE_TRY(check_export(exported, 0));
                    // The renderer alone knows how far apart the rows are.
                    const auto offset = checked_add(uint64_t{rect.y} * exported.stride,
                                                    uint64_t{rect.x} * kBytesPerPixel);
                    if (!offset)
                        return fail(ErrorCode::kInvalidParameter,
                                    "Rows {} bytes apart are past any memory.", exported.stride);
                    const BlobLayout layout{.format = format,
                                            .offset = *offset,
                                            .stride = exported.stride,
                                            .width = rect.width,
                                            .height = rect.height};
                    SWEDE_TRY(check_layout(layout, exported.size));
                    return map_frame(id, exported, kept.lock(), layout);
                }));
}

void Gpu::frame_blob(ResourceId id, const BlobLayout& layout,
                     Completion<std::shared_ptr<const Frame>> done) {
    const auto found = resource_of(id);
    if (!found) return done(std::unexpected(found.error()));
    Resource& resource = **found;
    if (resource.kind != Resource::Kind::kGuestBlob && resource.kind != Resource::Kind::kHostBlob)
        return done(fail(ErrorCode::kInvalidParameter, "Resource {} is not a blob.", id));
    if (auto checked = check_layout(layout, resource.size); !checked)
        return done(std::unexpected(std::move(checked).error()));
    if (resource.kind == Resource::Kind::kGuestBlob) {
        if (const auto backing = backing_of(resource); !backing)
            return done(std::unexpected(backing.error()));
        return done(make_backing_frame(resource.backing, layout));
    }
    resource.renderer->export_blob(
        id, when_answered<SharedMemory>(
                std::move(done),
                [id, layout, size = resource.size,
                 kept = std::weak_ptr<const Budget::Charge>(resource.bytes_charge)](
                    Result<SharedMemory> memory) -> Result<std::shared_ptr<const Frame>> {
                    const SharedMemory exported = SWEDE_TRY(std::move(memory));
                    SWEDE_TRY(check_export(exported, size));
                    return map_frame(id, exported, kept.lock(), layout);
                }));
}

Result<Resource*> Gpu::host_blob_of(ResourceId id) {
    Resource* const resource = SWEDE_TRY(resource_of(id));
    if (resource->kind != Resource::Kind::kHostBlob)
        return fail(ErrorCode::kInvalidParameter, "Resource {} has no host memory to map.", id);
    return resource;
}

void Gpu::export_blob(ResourceId id, Completion<SharedMemory> done) {
    auto blob = resource_of(id);
    const bool has_renderer = blob && (*blob)->renderer != nullptr;
    if (blob && !has_renderer) blob = host_blob_of(id);
    if (!blob) return done(std::unexpected(blob.error()));
    (*blob)->renderer->export_blob(
        id, when_answered<SharedMemory>(
                std::move(done),
                [size = (*blob)->size](Result<SharedMemory> memory) -> Result<SharedMemory> {
                    SharedMemory exported = SWEDE_TRY(std::move(memory));
                    SWEDE_TRY(check_export(exported, size));
                    return exported;
                }));
}

void Gpu::place_blob(ResourceId id, const WindowRange& range, Completion<> done) {
    const auto blob = host_blob_of(id);
    if (!blob) return done(std::unexpected(blob.error()));
    if (range.size < (*blob)->size)
        return done(fail(ErrorCode::kInvalidParameter,
                         "A range of {} bytes is too small for blob {} of {} bytes.", range.size,
                         id, (*blob)->size));
    (*blob)->renderer->place_blob(id, range, std::move(done));
}

void Gpu::displace_blob(ResourceId id, Completion<> done) {
    const auto blob = host_blob_of(id);
    if (!blob) return done(std::unexpected(blob.error()));
    (*blob)->renderer->displace_blob(id, std::move(done));
}

}  // namespace swede::rutabaga
