// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/blob_mapper.h"

#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/log.h"

namespace swede::virtio_gpu {
namespace {

log::Module log_("virtio_gpu");

}  // namespace

BlobMapper::BlobMapper(rutabaga::Gpu& gpu, Scanouts& scanouts, HostVisibleWindow& window)
    : gpu_(gpu),
      scanouts_(scanouts),
      window_(window),
      ranges_(window.size(), window.max_mappings()) {}

template <typename T, typename Function>
rutabaga::Completion<T> BlobMapper::completion(Function function) {
    return rutabaga::Completion<T>(
        gpu_.sink(),
        [this, epoch = epoch_, function = std::move(function)](Result<T> result) mutable {
            if (epoch == epoch_) function(std::move(result));
        });
}

Result<void> BlobMapper::map(rutabaga::ResourceId id, uint64_t offset, Done done) {
    rutabaga::Resource* const resource = gpu_.find(id);
    if (resource == nullptr)
        return fail(ErrorCode::kInvalidResource, "There is no resource {} to map.", id);
    if (resource->kind != rutabaga::Resource::Kind::kHostBlob ||
        (resource->blob_flags & wire::kBlobFlagUseMappable) == 0)
        return fail(ErrorCode::kInvalidParameter, "Resource {} is not a mappable host blob.", id);
    if (const auto found = mappings_.find(id); found != mappings_.end())
        return fail(ErrorCode::kInvalidParameter, "Blob {} is mapped at offset {} already.", id,
                    found->second.offset);
    const std::optional<uint64_t> size = page_align(resource->size);
    if (!size)
        return fail(ErrorCode::kInvalidParameter, "Blob {} of {} bytes cannot be mapped.", id,
                    resource->size);
    Budget::Charge charge = SWEDE_TRY(gpu_.budget().charge(BudgetKind::kMappings, 1));
    SWEDE_TRY(ranges_.take(offset, *size));
    Result<std::optional<rutabaga::WindowRange>> range = window_.prepare(offset, *size);
    if (!range) {
        ranges_.give_back(offset);
        return std::unexpected(std::move(range).error());
    }
    mappings_.emplace(id, Mapping{offset, *size, range->has_value(), std::move(charge)});
    resource->window_offset = offset;
    if (*range) {
        place(id, **range, std::move(done));
    } else {
        map_exported(id, std::move(done));
    }
    return {};
}

void BlobMapper::place(rutabaga::ResourceId id, const rutabaga::WindowRange& range, Done done) {
    gpu_.place_blob(
        id, range,
        completion<void>([this, id, done = std::move(done)](Result<void> placed) mutable {
            // A renderer that failed half-way may have left something in the range.
            if (!placed) return unmap_range(id, After::kFree, std::move(placed), std::move(done));
            follow(id, 0, [done = std::move(done)]() mutable { done({}); });
        }));
}

/// The blob's memory is elsewhere now: scanouts from `scanout` on that show it look at it there.
/// Then calls done().
void BlobMapper::follow(rutabaga::ResourceId id, uint32_t scanout,
                        std::move_only_function<void()> done) {
    using FramePointer = std::shared_ptr<const rutabaga::Frame>;
    while (scanout < scanouts_.count() && !scanouts_.layout_of(scanout, id)) ++scanout;
    if (scanout >= scanouts_.count()) return done();
    gpu_.frame_blob(id, *scanouts_.layout_of(scanout, id),
                    completion<FramePointer>([this, id, scanout, done = std::move(done)](
                                                 Result<FramePointer> frame) mutable {
                        if (!frame)
                            log_.warn("Scanout {} cannot follow blob {}: {}", scanout, id,
                                      frame.error().message);
                        scanouts_.follow(scanout, id, frame ? *std::move(frame) : nullptr);
                        follow(id, scanout + 1, std::move(done));
                    }));
}

void BlobMapper::map_exported(rutabaga::ResourceId id, Done done) {
    gpu_.export_blob(
        id, completion<rutabaga::SharedMemory>([this, id, done = std::move(done)](
                                                   Result<rutabaga::SharedMemory> memory) mutable {
            const Mapping& mapping = mappings_.at(id);
            if (memory && memory->size < mapping.size)
                memory = fail(ErrorCode::kUnspecified,
                              "The renderer exports {} bytes of blob {}, which has {}.",
                              memory->size, id, mapping.size);
            if (!memory) {  // the window has not seen it
                forget(id);
                return done(std::unexpected(std::move(memory).error()));
            }
            memory->size = mapping.size;
            window_.map(
                mapping.offset, *std::move(memory),
                completion<void>([this, id, done = std::move(done)](Result<void> mapped) mutable {
                    if (!mapped) forget(id);
                    done(std::move(mapped));
                }));
        }));
}

Result<void> BlobMapper::unmap(rutabaga::ResourceId id, Done done) {
    const auto found = mappings_.find(id);
    if (found == mappings_.end())
        return fail(
            gpu_.find(id) == nullptr ? ErrorCode::kInvalidResource : ErrorCode::kInvalidParameter,
            "Resource {} is not mapped.", id);
    if (!found->second.placed) {
        unmap_range(id, After::kFree, {}, std::move(done));
        return {};
    }
    gpu_.displace_blob(
        id, completion<void>([this, id, done = std::move(done)](Result<void> displaced) mutable {
            if (!displaced) log_.warn("Blob {}: {}", id, displaced.error().message);
            // A renderer that is gone has left the range. Any other may be there still.
            if (!displaced && displaced.error().code == ErrorCode::kDeviceLost) displaced = {};
            // Before the range is emptied, so that nobody sees it empty.
            follow(id, 0,
                   [this, id, answer = std::move(displaced), done = std::move(done)]() mutable {
                       const After after = answer ? After::kFree : After::kTaken;
                       unmap_range(id, after, std::move(answer), std::move(done));
                   });
        }));
    return {};
}

/// Takes the range out of the guest's sight, then calls done(answer).
void BlobMapper::unmap_range(rutabaga::ResourceId id, After after, Result<void> answer, Done done) {
    const Mapping& mapping = mappings_.at(id);
    window_.unmap(mapping.offset, mapping.size,
                  completion<void>([this, id, after, answer = std::move(answer),
                                    done = std::move(done)](Result<void> unmapped) mutable {
                      if (!unmapped) {
                          // The guest may see the old memory there: the range stays taken.
                          log_.error("The window's range of blob {} is lost: {}", id,
                                     unmapped.error().message);
                          if (answer) answer = std::move(unmapped);
                          after = After::kTaken;
                      }
                      forget(id, after);
                      done(std::move(answer));
                  }));
}

void BlobMapper::forget(rutabaga::ResourceId id, After after) {
    const auto found = mappings_.find(id);
    if (after == After::kFree) ranges_.give_back(found->second.offset);
    mappings_.erase(found);
    if (rutabaga::Resource* resource = gpu_.find(id)) resource->window_offset.reset();
}

void BlobMapper::clear() {
    ++epoch_;
    mappings_.clear();
    ranges_.clear();
}

}  // namespace swede::virtio_gpu
