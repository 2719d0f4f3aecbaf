// SPDX-License-Identifier: Apache-2.0
// Instance: resources, their pixels and their memory.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "base/memory_file.h"
#include "transports/c_abi/caller_memory.h"
#include "transports/c_abi/drm_formats.h"
#include "transports/c_abi/instance.h"
#include "transports/c_abi/qemu_quirks.h"

namespace swede::c_abi {
namespace {

using rutabaga::Resource;

constexpr uint32_t kTexture2d = 2;  // PIPE_TEXTURE_2D of the Gallium interface
constexpr uint32_t kBindRenderTarget = 1 << 1;

bool is_empty(const rutabaga_transfer& transfer) {
    return transfer.w == 0 || transfer.h == 0 || transfer.d == 0;
}

/// The whole transfer is of one plane, and its box is a rectangle.
Result<wire::Rect> rectangle_of(const rutabaga_transfer& transfer, uint32_t id) {
    if (transfer.z != 0 || transfer.d != 1 || transfer.level != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "Resource {} is flat: level {}, z {}, depth {} are not in it.", id,
                    transfer.level, transfer.z, transfer.d);
    return wire::Rect{transfer.x, transfer.y, transfer.w, transfer.h};
}

/// As the core and renderers take it.
wire::TransferHost3d words_of(const Resource& resource, const rutabaga_transfer& transfer) {
    wire::TransferHost3d words{};
    words.box = {transfer.x, transfer.y, transfer.z, transfer.w, transfer.h, transfer.d};
    words.offset = transfer.offset;
    words.resource_id = resource.id;
    words.level = transfer.level;
    words.stride = transfer.stride;
    words.layer_stride = transfer.layer_stride;
    const bool of_2d_command = transfer.offset == 0 && transfer.stride == 0 && transfer.z == 0 &&
                               transfer.level == 0 && resource.format.has_value();
    if (resource.kind == Resource::Kind::k2d ||
        (resource.kind == Resource::Kind::k3d && of_2d_command)) {
        const qemu::Place place = qemu::place_in_backing(transfer, resource.width);
        words.offset = place.offset;
        words.stride = place.stride;
    }
    return words;
}

/// The whole of the file, in pages; the last one of a file is there whole.
Result<rutabaga::SharedMemory> memory_of(GivenHandle handle, uint32_t id) {
    const bool is_dma_buf = handle.type == RUTABAGA_HANDLE_TYPE_MEM_DMABUF;
    if (!is_dma_buf && handle.type != RUTABAGA_HANDLE_TYPE_MEM_SHM)
        return fail(ErrorCode::kUnsupported,
                    "The handle for resource {} is of type {:#x}, not SHM or DMABUF.", id,
                    handle.type);
    const auto file = handle.fd ? examine_memory(handle.fd.get()) : std::nullopt;
    if (!file || file->is_dma_buf != is_dma_buf)
        return fail(ErrorCode::kInvalidParameter,
                    "The handle for resource {} is no file of its type ({:#x}).", id, handle.type);
    if (!file->steady)
        return fail(ErrorCode::kInvalidParameter,
                    "The memory for resource {} could lose its pages: it needs F_SEAL_SHRINK, and "
                    "may not be of huge pages.",
                    id);
    const auto size = page_align(file->size);
    if (!size || *size == 0)
        return fail(ErrorCode::kInvalidParameter, "The memory for resource {} has {} bytes.", id,
                    file->size);
    return rutabaga::SharedMemory{std::move(handle.fd), 0, *size, 0,
                                  file->writable ? Access::kReadWrite : Access::kRead};
}

}  // namespace

Result<Resource*> Instance::find(uint32_t id) {
    if (Resource* const resource = gpu_->find(id)) return resource;
    return fail(ErrorCode::kInvalidResource, "There is no resource {}.", id);
}

Result<void> Instance::create_3d(uint32_t id, rutabaga_create_3d request) {
    if (qemu::is_2d_resource(request))
        return gpu_->create_2d({id, request.format, request.width, request.height});
    // Callers leave these out for a flat picture (rutabaga_gfx's own
    // ffi/src/tests/rutabaga_test.c).
    request.depth = std::max(request.depth, 1u);
    wire::ResourceCreate3d words{};
    words.resource_id = id;
    words.target = request.target;
    words.format = request.format;
    words.bind = request.bind;
    words.width = request.width;
    words.height = request.height;
    words.depth = request.depth;
    words.array_size = request.array_size;
    words.last_level = request.last_level;
    words.nr_samples = request.nr_samples;
    words.flags = request.flags;
    return ask([&](auto done) { gpu_->create_3d(words, std::move(done)); });
}

Result<void> Instance::create_blob(uint32_t context, uint32_t id,
                                   const rutabaga_create_blob& request,
                                   std::span<const iovec> memory, GivenHandle handle) {
    if (!handle.is_none()) {
        if (context != 0) SWEDE_TRY(check_context(context));
        if (!memory.empty())
            return fail(ErrorCode::kUnsupported,
                        "Blob {} comes with memory of the guest and a handle at once.", id);
        return gpu_->import_blob(
            id, {request.blob_mem, request.blob_flags, request.blob_id, request.size},
            SWEDE_TRY(memory_of(std::move(handle), id)));
    }
    std::shared_ptr<Backing> backing;
    if (!memory.empty()) backing = SWEDE_TRY(make_backing(memory, *budget_));
    return ask([&](auto done) {
        gpu_->create_blob(context, id,
                          {request.blob_mem, request.blob_flags, request.blob_id, request.size},
                          std::move(backing), std::move(done));
    });
}

Result<void> Instance::import_resource(uint32_t id, GivenHandle handle,
                                       const rutabaga_import_data& data) {
    if (data.flags != RUTABAGA_IMPORT_FLAG_3D_INFO)
        return fail(ErrorCode::kUnsupported,
                    "Resource {} with the import flags {:#x}: only 3D_INFO is known.", id,
                    data.flags);
    const auto& info = data.info_3d;
    const std::optional<uint32_t> format = virtio_format_of(info.drm_fourcc);
    const bool one_plane = info.strides[1] == 0 && info.strides[2] == 0 && info.strides[3] == 0 &&
                           info.offsets[1] == 0 && info.offsets[2] == 0 && info.offsets[3] == 0;
    if (!format || !one_plane || info.modifier != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "Resource {} of format {:#x}, modifier {:#x}: one plane of 4-byte pixels in "
                    "rows is needed.",
                    id, info.drm_fourcc, info.modifier);
    const bool is_dma_buf = handle.type == RUTABAGA_HANDLE_TYPE_MEM_DMABUF;
    rutabaga::SharedMemory memory = SWEDE_TRY(memory_of(std::move(handle), id));
    if (memory.size <= info.offsets[0])
        return fail(ErrorCode::kInvalidParameter,
                    "The memory for resource {} ends ({}) before its offset ({}).", id, memory.size,
                    info.offsets[0]);
    memory.offset = info.offsets[0];
    memory.size -= memory.offset;
    memory.stride = info.strides[0];
    if (!gpu_->has_renderer_of_3d()) {
        // Its pixels are read and written by a CPU here, which has to tell a dma-buf each time.
        if (is_dma_buf)
            return fail(ErrorCode::kUnsupported,
                        "Resource {} is a picture in a dma-buf, and there is no renderer of 3D.",
                        id);
        return gpu_->import_2d({id, *format, info.width, info.height}, std::move(memory));
    }
    wire::ResourceCreate3d words{};
    words.resource_id = id;
    words.target = kTexture2d;
    words.format = *format;
    words.bind = kBindRenderTarget;
    words.width = info.width;
    words.height = info.height;
    words.depth = 1;
    words.array_size = 1;
    return ask([&](auto done) { gpu_->import_3d(words, std::move(memory), std::move(done)); });
}

Result<void> Instance::unref(uint32_t id) {
    SWEDE_TRY(find(id));
    Result<void> destroyed = ask([&](auto done) { gpu_->destroy_resource(id, std::move(done)); });
    mapped_.forget_resource(id);
    return destroyed;
}

Result<void> Instance::attach_backing(uint32_t id, std::span<const iovec> memory) {
    Resource* const resource = SWEDE_TRY(find(id));
    std::shared_ptr<Backing> backing = SWEDE_TRY(make_backing(memory, *budget_));
    SWEDE_TRY(gpu_->check_backing(id, backing->size()));
    if (resource->backing) SWEDE_TRY(detach_backing(id));
    return gpu_->attach_backing(id, std::move(backing));
}

Result<void> Instance::detach_backing(uint32_t id) {
    Resource* const resource = SWEDE_TRY(find(id));
    if (!resource->backing) return {};
    SWEDE_TRY(gpu_->detach_backing(id));
    // The VMM uses the memory for something else once it hears of this.
    return ask([&](auto done) { gpu_->settle_detaches(std::move(done)); });
}

Result<void> Instance::transfer_write(uint32_t context, uint32_t id,
                                      const rutabaga_transfer& transfer) {
    const Resource* const resource = SWEDE_TRY(find(id));
    if (is_empty(transfer)) return {};
    const wire::TransferHost3d words = words_of(*resource, transfer);
    return ask([&](auto done) { gpu_->transfer_to_host(context, words, std::move(done)); });
}

Result<void> Instance::transfer_read(uint32_t context, uint32_t id,
                                     const rutabaga_transfer& transfer, const iovec* to) {
    const Resource* const resource = SWEDE_TRY(find(id));
    if (context != 0) SWEDE_TRY(check_context(context));
    if (is_empty(transfer)) return {};
    if (to != nullptr) {
        if (qemu::reads_into_nothing(*to)) return {};
        return read_pixels(*resource, transfer, *to);
    }
    const wire::TransferHost3d words = words_of(*resource, transfer);
    return ask([&](auto done) { gpu_->transfer_from_host(context, words, std::move(done)); });
}

Result<void> Instance::read_pixels(const Resource& resource, const rutabaga_transfer& transfer,
                                   const iovec& to) {
    const wire::Rect rect = SWEDE_TRY(rectangle_of(transfer, resource.id));
    using FramePointer = std::shared_ptr<const rutabaga::Frame>;
    const FramePointer frame = resource.kind == Resource::Kind::k2d
                                   ? SWEDE_TRY(gpu_->frame_2d(resource.id, rect))
                                   : SWEDE_TRY(ask<FramePointer>([&](auto done) {
                                         gpu_->frame_3d(resource.id, rect, std::move(done));
                                     }));
    const uint64_t row = uint64_t{rect.width} * rutabaga::kBytesPerPixel;
    const uint64_t stride = transfer.stride == 0 ? row : transfer.stride;
    if (stride < row)
        return fail(ErrorCode::kInvalidParameter,
                    "The stride ({}) is shorter than a row of {} pixels.", stride, rect.width);
    const auto before_last = checked_mul<uint64_t>(stride, rect.height - 1);
    const auto bytes = before_last ? checked_add(*before_last, row) : std::nullopt;
    if (!bytes || !range_fits(transfer.offset, *bytes, to.iov_len))
        return fail(ErrorCode::kInvalidParameter,
                    "{} rows of {} bytes, {} apart, at offset {} are past the end ({}) of the "
                    "memory to read into.",
                    rect.height, row, stride, transfer.offset, to.iov_len);
    return frame->read({0, 0, rect.width, rect.height},
                       static_cast<std::byte*>(to.iov_base) + transfer.offset, stride);
}

Result<Resource*> Instance::find_mappable(uint32_t id) {
    Resource* const resource = SWEDE_TRY(find(id));
    if (resource->kind != Resource::Kind::kHostBlob ||
        (resource->blob_flags & wire::kBlobFlagUseMappable) == 0)
        return fail(ErrorCode::kInvalidParameter, "Resource {} is not a mappable host blob.", id);
    return resource;
}

Result<rutabaga_handle> Instance::export_blob(uint32_t id) {
    SWEDE_TRY(find(id));
    rutabaga::SharedMemory memory = SWEDE_TRY(
        ask<rutabaga::SharedMemory>([&](auto done) { gpu_->export_blob(id, std::move(done)); }));
    if (memory.offset != 0)
        return fail(ErrorCode::kUnsupported,
                    "Resource {} lies at offset {} of its file, which a handle cannot say.", id,
                    memory.offset);
    rutabaga_handle handle{};
    const auto file = examine_memory(memory.fd.get());
    handle.handle_type =
        file && file->is_dma_buf ? RUTABAGA_HANDLE_TYPE_MEM_DMABUF : RUTABAGA_HANDLE_TYPE_MEM_SHM;
    handle.os_handle = memory.fd.release();
    return handle;
}

Result<rutabaga_mapping> Instance::map(uint32_t id) {
    const Resource* const resource = SWEDE_TRY(find_mappable(id));
    if (mapped_.contains(id)) return fail(ErrorCode::kExists, "Resource {} is mapped already.", id);
    const std::optional<uint64_t> size = page_align(resource->size);
    if (!size)
        return fail(ErrorCode::kInvalidParameter, "Blob {} of {} bytes cannot be mapped.", id,
                    resource->size);
    mapped_.release_retired();  // before the charge that they may be in the way of
    MappedBlobs::Charges charges;
    charges.mapping = SWEDE_TRY(budget_->charge(BudgetKind::kMappings, 1));
    const rutabaga::SharedMemory memory = SWEDE_TRY(
        ask<rutabaga::SharedMemory>([&](auto done) { gpu_->export_blob(id, std::move(done)); }));
    if (memory.size < *size)
        return fail(ErrorCode::kUnspecified, "The renderer exports {} bytes of blob {} with {}.",
                    memory.size, id, *size);
    if (!is_writable(memory))
        charges.copies = SWEDE_TRY(budget_->charge(BudgetKind::kHostBytes, *size));
    charges.bytes = resource->bytes_charge;
    const std::span<std::byte> mapped =
        SWEDE_TRY(mapped_.add(id, memory, *size, std::move(charges)));
    return rutabaga_mapping{mapped.data(), mapped.size()};
}

Result<void> Instance::unmap(uint32_t id) {
    return mapped_.remove(id);
}

Result<uint32_t> Instance::map_info(uint32_t id) {
    const Resource* const resource = SWEDE_TRY(find_mappable(id));
    const uint32_t cache = resource->map_info & RUTABAGA_MAP_CACHE_MASK;
    const rutabaga::SharedMemory memory = SWEDE_TRY(
        ask<rutabaga::SharedMemory>([&](auto done) { gpu_->export_blob(id, std::move(done)); }));
    return cache | (is_writable(memory) ? RUTABAGA_MAP_ACCESS_RW : RUTABAGA_MAP_ACCESS_READ);
}

}  // namespace swede::c_abi
