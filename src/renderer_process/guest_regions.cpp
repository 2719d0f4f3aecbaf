// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/guest_regions.h"

#include <unordered_set>
#include <utility>
#include <vector>

#include "base/checked.h"

namespace swede::renderer_process {

Result<void> GuestRegions::add(const AddRegion& region, UniqueFd fd) {
    if (regions_.size() >= kMaxRegions || regions_.contains(region.id))
        return fail(ErrorCode::kProtocol, "Region {} is there, or {} others are.", region.id,
                    kMaxRegions);
    // The VMM may have placed the region at any byte of its file; mappings start at pages.
    const uint64_t lead = region.fd_offset % Mapping::page_size_of(fd.get());
    const auto length = checked_add(region.size, lead);
    if (region.size == 0 || !length)
        return fail(ErrorCode::kProtocol, "Region {} has {:#x} bytes.", region.id, region.size);
    const Access access = region.writable != 0 ? Access::kReadWrite : Access::kRead;
    auto made = std::make_shared<MemoryRegion>();
    made->mapping =
        SWEDE_TRY(Mapping::peer_file(fd.get(), region.fd_offset - lead, *length, access));
    made->id = region.id;
    made->address = region.address;
    made->size = region.size;
    made->fd_offset = region.fd_offset;
    made->access = access;
    made->fd = std::move(fd);
    made->host = made->mapping.data() + lead;
    regions_.emplace(region.id, std::move(made));
    return {};
}

void GuestRegions::remove(uint64_t id) {
    const auto found = regions_.find(id);
    if (found == regions_.end()) return;
    for (const auto& [unused, backing] : backings_)
        if (backing->uses(id)) backing->revoke();
    regions_.erase(found);
}

Result<void> GuestRegions::add_backing(uint64_t id, std::span<const Segment> segments) {
    if (id == 0 || backings_.size() >= kMaxBackings || backings_.contains(id))
        return fail(ErrorCode::kProtocol, "Backing {} is there, or {} others are.", id,
                    kMaxBackings);
    std::vector<Backing::Segment> parts;
    parts.reserve(segments.size());
    std::vector<std::shared_ptr<const MemoryRegion>> used;
    std::unordered_set<const MemoryRegion*> known;
    for (const Segment& segment : segments) {
        const auto found = regions_.find(segment.region);
        if (found == regions_.end() || segment.size == 0 ||
            !range_fits(segment.offset, segment.size, found->second->size))
            return fail(ErrorCode::kProtocol,
                        "Backing {} names {:#x} bytes at {:#x} of region {}, which has none there.",
                        id, segment.size, segment.offset, segment.region);
        const auto& region = found->second;
        parts.push_back(
            {region->host + segment.offset, segment.size, region.get(), segment.offset});
        // Lists are long and name few regions, mostly one after the other.
        if (used.empty() || used.back() != region)
            if (known.insert(region.get()).second) used.push_back(region);
    }
    backings_.emplace(id, std::make_shared<Backing>(std::move(parts), std::move(used)));
    return {};
}

void GuestRegions::drop_backing(uint64_t id) {
    const auto found = backings_.find(id);
    if (found == backings_.end()) return;
    found->second->revoke();
    backings_.erase(found);
}

void GuestRegions::drop_backings() {
    for (const auto& [unused, backing] : backings_) backing->revoke();
    backings_.clear();
}

Result<std::shared_ptr<Backing>> GuestRegions::backing(uint64_t id) const {
    if (id == 0) return std::shared_ptr<Backing>();
    const auto found = backings_.find(id);
    if (found == backings_.end())
        return fail(ErrorCode::kInvalidParameter, "There is no backing {}.", id);
    return found->second;
}

}  // namespace swede::renderer_process
