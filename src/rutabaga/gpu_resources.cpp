// SPDX-License-Identifier: Apache-2.0
// Gpu: creation of resources, their backing and their names.
#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "rutabaga/gpu_internal.h"
#include "rutabaga/pixel_storage.h"

namespace swede::rutabaga {
namespace {

/// PIPE_TEXTURE_2D of the Gallium interface, whose words RESOURCE_CREATE_3D speaks; target 0 is a
/// buffer, whose width counts bytes.
constexpr uint32_t kTargetBuffer = 0;
constexpr uint32_t kTargetTexture2d = 2;

constexpr uint32_t kKnownBlobFlags =
    wire::kBlobFlagUseMappable | wire::kBlobFlagUseShareable | wire::kBlobFlagUseCrossDevice;

bool is_plain_2d(const wire::ResourceCreate3d& request) {
    return request.target == kTargetTexture2d && request.depth == 1 && request.array_size <= 1 &&
           request.last_level == 0 && request.nr_samples <= 1 && pixel_format(request.format);
}

/// What a 3D resource may cost at least, in bytes; the renderer alone knows what it does cost.
/// Empty when that does not fit 64 bits.
std::optional<uint64_t> least_bytes(const wire::ResourceCreate3d& request) {
    std::optional<uint64_t> bytes = request.target == kTargetBuffer ? 1 : kBytesPerPixel;
    for (const uint32_t factor :
         {request.width, request.height, request.depth, std::max(request.array_size, 1u),
          std::max(request.nr_samples, 1u)})
        if (bytes) bytes = checked_mul<uint64_t>(*bytes, factor);
    return bytes;
}

Result<void> check_blob(ResourceId id, const BlobRequest& request) {
    if ((request.blob_flags & ~kKnownBlobFlags) != 0)
        return fail(ErrorCode::kInvalidParameter, "Blob flags {:#x} of resource {} are not known.",
                    request.blob_flags, id);
    if (request.size == 0) return fail(ErrorCode::kInvalidParameter, "Blob {} has no bytes.", id);
    return {};
}

}  // namespace

Result<Resource*> Gpu::resource_of(ResourceId id) {
    Resource* const resource = find(id);
    if (resource == nullptr)
        return fail(ErrorCode::kInvalidResource, "There is no resource {}.", id);
    return resource;
}

Resource* Gpu::find(ResourceId id) {
    const auto found = resources_.find(id);
    if (found == resources_.end() || found->second->state != Resource::State::kLive) return nullptr;
    return found->second.get();
}

std::vector<ResourceId> Gpu::resource_ids() const {
    std::vector<ResourceId> ids;
    for (const auto& [id, resource] : resources_)
        if (resource->state == Resource::State::kLive) ids.push_back(id);
    std::ranges::sort(ids);
    return ids;
}

Result<Resource*> Gpu::add_resource(ResourceId id, Resource::Kind kind) {
    if (id == 0) return fail(ErrorCode::kInvalidResource, "Resource id 0 cannot be used.");
    if (resources_.contains(id))
        return fail(ErrorCode::kInvalidResource, "Resource {} exists.", id);
    Budget::Charge charge = SWEDE_TRY(budget_->charge(BudgetKind::kResources, 1));
    auto resource = std::make_unique<Resource>();
    resource->id = id;
    resource->kind = kind;
    resource->charges.push_back(std::move(charge));
    return resources_.emplace(id, std::move(resource)).first->second.get();
}

Result<void> Gpu::create_2d(const wire::ResourceCreate2d& request) {
    const auto format = pixel_format(request.format);
    if (!format)
        return fail(ErrorCode::kInvalidParameter, "Format {} of resource {} is not known.",
                    request.format, request.resource_id);
    Resource* const resource = SWEDE_TRY(add_resource(request.resource_id, Resource::Kind::k2d));
    auto pixels = PixelStorage::create(request.width, request.height, *budget_);
    if (!pixels) {
        resources_.erase(request.resource_id);
        return std::unexpected(std::move(pixels).error());
    }
    resource->pixels = std::move(*pixels);
    resource->width = request.width;
    resource->height = request.height;
    resource->format = *format;
    return {};
}

Result<void> Gpu::enter_3d(const wire::ResourceCreate3d& request) {
    Resource* const resource = SWEDE_TRY(add_resource(request.resource_id, Resource::Kind::k3d));
    const auto bytes = least_bytes(request);
    auto charge = bytes ? budget_->charge(BudgetKind::kHostBytes, *bytes)
                        : fail(ErrorCode::kOutOfMemory, "Resource {} does not fit any memory.",
                               request.resource_id);
    if (!charge) {
        resources_.erase(request.resource_id);
        return std::unexpected(std::move(charge).error());
    }
    resource->state = Resource::State::kCreating;
    resource->renderer = renderer_of_3d();
    resource->width = request.width;
    resource->height = request.height;
    resource->format = pixel_format(request.format);
    resource->bytes_charge = std::make_shared<const Budget::Charge>(std::move(*charge));
    return {};
}

void Gpu::create_3d(const wire::ResourceCreate3d& request, Completion<> done) {
    Renderer* const renderer = renderer_of_3d();
    const ResourceId id = request.resource_id;
    if (renderer == nullptr) {
        if (!is_plain_2d(request))
            return done(fail(ErrorCode::kUnsupported,
                             "No renderer makes 3D resources (target {}, format {}, depth {}).",
                             request.target, request.format, request.depth));
        return done(create_2d({id, request.format, request.width, request.height}));
    }
    if (auto entered = enter_3d(request); !entered) return done(std::move(entered));
    renderer->create_3d(id, request, when_made_3d(id, std::move(done)));
}

Completion<> Gpu::when_made_3d(ResourceId id, Completion<> done) {
    return when_answered<void>(std::move(done), [this, id](Result<void> answer) {
        if (answer)
            resources_.find(id)->second->state = Resource::State::kLive;
        else
            resources_.erase(id);
        return answer;
    });
}

Result<void> Gpu::import_2d(const wire::ResourceCreate2d& request, SharedMemory memory) {
    const auto format = pixel_format(request.format);
    if (!format)
        return fail(ErrorCode::kInvalidParameter, "Format {} of resource {} is not known.",
                    request.format, request.resource_id);
    Resource* const resource = SWEDE_TRY(add_resource(request.resource_id, Resource::Kind::k2d));
    auto file = budget_->charge(BudgetKind::kFiles, 1);
    auto pixels = file ? PixelStorage::over(request.width, request.height, memory, *budget_)
                       : std::unexpected(file.error());
    if (!pixels) {
        resources_.erase(request.resource_id);
        return std::unexpected(std::move(pixels).error());
    }
    resource->charges.push_back(std::move(*file));
    resource->pixels = std::move(*pixels);
    resource->width = request.width;
    resource->height = request.height;
    resource->format = *format;
    resource->renderer = &given_;
    // Whoever takes the file knows where in it the picture is.
    memory.size += std::exchange(memory.offset, 0);
    memory.size = page_align(memory.size).value_or(0);
    given_.add(request.resource_id, std::move(memory));
    return {};
}

Result<void> Gpu::import_blob(ResourceId id, const BlobRequest& request, SharedMemory memory) {
    if (request.blob_mem != wire::kBlobMemHost3d)
        return fail(ErrorCode::kUnsupported,
                    "Blob {} of memory type {} cannot have memory of the VMM's.", id,
                    request.blob_mem);
    SWEDE_TRY(check_blob(id, request));
    if (!memory.fd || memory.size < request.size)
        return fail(ErrorCode::kInvalidParameter, "Blob {} of {} bytes has memory of {} bytes.", id,
                    request.size, memory.size);
    Resource* const resource = SWEDE_TRY(add_resource(id, Resource::Kind::kHostBlob));
    auto file = budget_->charge(BudgetKind::kFiles, 1);
    auto bytes = file ? budget_->charge(BudgetKind::kHostBytes, request.size)
                      : std::unexpected(file.error());
    if (!bytes) {
        resources_.erase(id);
        return std::unexpected(std::move(bytes).error());
    }
    resource->charges.push_back(std::move(*file));
    resource->bytes_charge = std::make_shared<const Budget::Charge>(std::move(*bytes));
    resource->renderer = &given_;
    resource->size = request.size;
    resource->blob_flags = request.blob_flags;
    resource->map_info = wire::kMapCacheCached;
    given_.add(id, std::move(memory));
    return {};
}

void Gpu::import_3d(const wire::ResourceCreate3d& request, SharedMemory memory, Completion<> done) {
    Renderer* const renderer = renderer_of_3d();
    const ResourceId id = request.resource_id;
    if (renderer == nullptr)
        return done(fail(ErrorCode::kUnsupported, "No renderer imports 3D resources."));
    if (!memory.fd || !is_page_aligned(memory.offset) || memory.size == 0 ||
        !is_page_aligned(memory.size))
        return done(fail(ErrorCode::kInvalidParameter,
                         "Memory of {} bytes at offset {:#x} cannot become resource {}.",
                         memory.size, memory.offset, id));
    if (auto entered = enter_3d(request); !entered) return done(std::move(entered));
    renderer->import_3d(id, request, std::move(memory), when_made_3d(id, std::move(done)));
}

Result<void> Gpu::enter_blob(ContextId context_id, ResourceId id, const BlobRequest& request,
                             const std::shared_ptr<Backing>& backing) {
    const bool on_host =
        request.blob_mem == wire::kBlobMemHost3d || request.blob_mem == wire::kBlobMemHost3dGuest;
    if (!on_host && request.blob_mem != wire::kBlobMemGuest)
        return fail(ErrorCode::kInvalidParameter,
                    "Blob memory type {} of resource {} is not known.", request.blob_mem, id);
    SWEDE_TRY(check_blob(id, request));
    if (request.blob_mem == wire::kBlobMemHost3d) {
        if (backing)
            return fail(ErrorCode::kInvalidParameter, "Blob {} of host memory has a backing.", id);
    } else if (!backing || backing->size() < request.size) {
        return fail(ErrorCode::kInvalidParameter, "Blob {} of {} bytes has a backing of {} bytes.",
                    id, request.size, backing ? backing->size() : 0);
    }
    Renderer* const renderer =
        on_host ? SWEDE_TRY(working_context_of(context_id))->renderer : nullptr;

    Resource* const resource = SWEDE_TRY(
        add_resource(id, on_host ? Resource::Kind::kHostBlob : Resource::Kind::kGuestBlob));
    resource->renderer = renderer;
    resource->size = request.size;
    resource->blob_flags = request.blob_flags;
    if (on_host) {
        auto charge = budget_->charge(BudgetKind::kHostBytes, request.size);
        if (!charge) {
            resources_.erase(id);
            return std::unexpected(std::move(charge).error());
        }
        resource->state = Resource::State::kCreating;
        resource->bytes_charge = std::make_shared<const Budget::Charge>(std::move(*charge));
    }
    if (backing) {
        if (auto set = set_backing(*resource, backing); !set) {
            resources_.erase(id);
            return set;
        }
    }
    return {};
}

void Gpu::create_blob(ContextId context, ResourceId id, const BlobRequest& request,
                      std::shared_ptr<Backing> backing, Completion<> done) {
    auto entered = enter_blob(context, id, request, backing);
    if (!entered || request.blob_mem == wire::kBlobMemGuest) return done(std::move(entered));
    resources_.find(id)->second->renderer->create_blob(
        context, id, request, std::move(backing),
        when_answered<BlobInfo>(std::move(done),
                                [this, id](Result<BlobInfo> answer) -> Result<void> {
                                    Resource& resource = *resources_.find(id)->second;
                                    if (!answer) {
                                        drop_backing(resource);
                                        resources_.erase(id);
                                        return std::unexpected(std::move(answer).error());
                                    }
                                    resource.state = Resource::State::kLive;
                                    resource.map_info = answer->map_info & wire::kMapCacheMask;
                                    return {};
                                }));
}

Result<void> Gpu::set_backing(Resource& resource, std::shared_ptr<Backing> backing) {
    const size_t segments = backing->lease().segments().size();
    if (segments == 0)
        return fail(ErrorCode::kInvalidParameter, "The guest memory for resource {} is gone.",
                    resource.id);
    resource.backing_charge = SWEDE_TRY(budget_->charge(BudgetKind::kBackingSegments, segments));
    resource.backing = std::move(backing);
    return {};
}

void Gpu::drop_backing(Resource& resource) {
    if (!resource.backing) return;
    resource.backing->revoke();
    resource.backing.reset();
    resource.backing_charge.release();
}

Result<void> Gpu::attach_backing(ResourceId id, std::shared_ptr<Backing> backing) {
    Resource* const resource = SWEDE_TRY(resource_of(id));
    if (!backing) return fail(ErrorCode::kInvalidParameter, "Resource {} gets no backing.", id);
    if (resource->backing)
        return fail(ErrorCode::kInvalidParameter, "Resource {} has a backing already.", id);
    SWEDE_TRY(check_backing(id, backing->size()));
    SWEDE_TRY(set_backing(*resource, std::move(backing)));
    if (resource->kind == Resource::Kind::k3d)
        resource->renderer->attach_backing(id, resource->backing);
    return {};
}

Result<void> Gpu::check_backing(ResourceId id, uint64_t bytes) {
    const Resource* const resource = SWEDE_TRY(resource_of(id));
    if (resource->kind == Resource::Kind::kHostBlob)
        return fail(ErrorCode::kInvalidParameter, "Host blob {} cannot take a backing.", id);
    if (bytes < resource->size)
        return fail(ErrorCode::kInvalidParameter,
                    "A backing of {} bytes is too small for blob {} of {} bytes.", bytes, id,
                    resource->size);
    return {};
}

Result<void> Gpu::detach_backing(ResourceId id) {
    Resource* const resource = SWEDE_TRY(resource_of(id));
    if (!resource->backing) return {};
    drop_backing(*resource);
    if (resource->renderer != nullptr) resource->renderer->detach_backing(id);
    return {};
}

Result<std::array<uint8_t, 16>> Gpu::uuid(ResourceId id) {
    Resource* const resource = SWEDE_TRY(resource_of(id));
    if (resource->uuid) return *resource->uuid;
    std::array<uint8_t, 16> bytes;
    if (::getrandom(bytes.data(), bytes.size(), GRND_NONBLOCK) != ssize_t{bytes.size()})
        return fail_errno("Cannot draw a random number", errno);
    bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4 (RFC 4122, 4.4)
    bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);
    resource->uuid = bytes;
    return bytes;
}

}  // namespace swede::rutabaga
