// SPDX-License-Identifier: Apache-2.0
#include "virtio/guest_memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/checked.h"
#include "base/sigbus_guard.h"

namespace swede::virtio {
namespace {

constexpr size_t kFirstSweep = 64;

uint64_t new_region_id() {
    static std::atomic<uint64_t> last{0};
    return ++last;
}

}  // namespace

GuestMemory::GuestMemory() : sweep_at_(kFirstSweep), hits_seen_(sigbus_guard::hits()) {}

GuestMemory::~GuestMemory() {
    clear();
}

Result<void> GuestMemory::add(uint64_t address, uint64_t size, UniqueFd fd, uint64_t fd_offset,
                              Access access) {
    return add(address, size, std::move(fd), fd_offset, access, Owner::kPeer);
}

Result<void> GuestMemory::add_own(uint64_t address, uint64_t size, UniqueFd fd) {
    return add(address, size, std::move(fd), 0, Access::kReadWrite, Owner::kOurs);
}

Result<void> GuestMemory::add(uint64_t address, uint64_t size, UniqueFd fd, uint64_t fd_offset,
                              Access access, Owner owner) {
    if (size == 0)
        return fail(ErrorCode::kInvalidParameter, "The memory region at {:#x} is empty.", address);
    const auto end = checked_add(address, size);
    if (!end)
        return fail(ErrorCode::kInvalidParameter,
                    "The memory region of {:#x} bytes at {:#x} passes the end of all addresses.",
                    size, address);
    if (regions_.size() >= kMaxRegions)
        return fail(ErrorCode::kOutOfMemory, "More than {} memory regions are too many.",
                    kMaxRegions);
    const auto after = std::ranges::upper_bound(regions_, address, {},
                                                [](const auto& region) { return region->address; });
    const auto overlaps = [&](const MemoryRegion& other) {
        return ranges_overlap(address, size, other.address, other.size);
    };
    const MemoryRegion* clash = nullptr;
    if (after != regions_.end() && overlaps(**after)) clash = after->get();
    if (after != regions_.begin() && overlaps(**std::prev(after))) clash = std::prev(after)->get();
    if (clash != nullptr)
        return fail(ErrorCode::kInvalidParameter,
                    "The memory region of {:#x} bytes at {:#x} overlaps that of {:#x} at {:#x}.",
                    size, address, clash->size, clash->address);

    auto region = std::make_shared<MemoryRegion>();
    region->id = new_region_id();
    region->address = address;
    region->size = size;
    region->fd_offset = fd_offset;
    region->access = access;
    if (fd) {
        // Files can only be mapped from a page's start; a region may begin anywhere in a page.
        const uint64_t before = fd_offset % Mapping::page_size_of(fd.get());
        const auto mapped = checked_add(size, before);
        if (!mapped)
            return fail(ErrorCode::kInvalidParameter,
                        "A region of {:#x} bytes at offset {:#x} of a file cannot be mapped.", size,
                        fd_offset);
        region->mapping =
            SWEDE_TRY(owner == Owner::kOurs
                          ? Mapping::own_file(fd.get(), fd_offset, size, access)
                          : Mapping::peer_file(fd.get(), fd_offset - before, *mapped, access));
        region->host = region->mapping.data() + before;
        region->fd = std::move(fd);
    }
    const std::shared_ptr<const MemoryRegion> added = std::move(region);
    regions_.insert(after, added);
    ++generation_;
    for (Observer* const observer : observers_) observer->region_added(added);
    return {};
}

void GuestMemory::let_go(const MemoryRegion& region) {
    for (Observer* const observer : observers_) observer->region_removed(region);
    for (const std::weak_ptr<Backing>& weak : backings_)
        if (const auto backing = weak.lock(); backing && backing->uses(region.id))
            backing->revoke();
}

Result<void> GuestMemory::remove(uint64_t address, uint64_t size) {
    const size_t index = find(address);
    if (index == regions_.size() || regions_[index]->address != address ||
        regions_[index]->size != size)
        return fail(ErrorCode::kInvalidParameter, "No memory region is {:#x} bytes at {:#x}.", size,
                    address);
    let_go(*regions_[index]);
    regions_.erase(regions_.begin() + static_cast<std::ptrdiff_t>(index));
    ++generation_;
    return {};
}

void GuestMemory::clear() {
    for (const auto& region : regions_)
        for (Observer* const observer : observers_) observer->region_removed(*region);
    for (const std::weak_ptr<Backing>& weak : backings_)
        if (const auto backing = weak.lock()) backing->revoke();
    backings_.clear();
    regions_.clear();
    ++generation_;
}

size_t GuestMemory::find(uint64_t address) const {
    const auto holds = [&](size_t index) {
        return index < regions_.size() && address >= regions_[index]->address &&
               address - regions_[index]->address < regions_[index]->size;
    };
    if (holds(last_)) return last_;
    const auto after = std::ranges::upper_bound(regions_, address, {},
                                                [](const auto& region) { return region->address; });
    if (after == regions_.begin()) return regions_.size();
    const auto index = static_cast<size_t>(after - regions_.begin()) - 1;
    if (!holds(index)) return regions_.size();
    last_ = index;
    return index;
}

Result<GuestMemory::Part> GuestMemory::part_at(uint64_t address, uint64_t size,
                                               Access access) const {
    const size_t index = find(address);
    if (index == regions_.size())
        return fail(ErrorCode::kInvalidParameter, "Address {:#x} is not in guest memory.", address);
    const MemoryRegion& region = *regions_[index];
    if (region.host == nullptr)
        return fail(ErrorCode::kInvalidParameter,
                    "The VMM shares no file for the memory at {:#x}: memory-backend-memfd with "
                    "share=on is missing.",
                    address);
    if (access == Access::kReadWrite && region.access != Access::kReadWrite)
        return fail(ErrorCode::kInvalidParameter, "The memory at {:#x} is read-only.", address);
    const uint64_t offset = address - region.address;
    return Part{index, offset, std::min(size, region.size - offset)};
}

Result<std::byte*> GuestMemory::host_address(uint64_t address, uint64_t size, Access access) {
    const Part part = SWEDE_TRY(part_at(address, size, access));
    if (part.size < size)
        return fail(ErrorCode::kInvalidParameter,
                    "The {} bytes at {:#x} pass the end of their memory region.", size, address);
    return regions_[part.region]->host + part.offset;
}

Result<void> GuestMemory::read(uint64_t address, std::span<std::byte> to) {
    while (!to.empty()) {
        const Part part = SWEDE_TRY(part_at(address, to.size(), Access::kRead));
        std::memcpy(to.data(), regions_[part.region]->host + part.offset, part.size);
        address += part.size;
        to = to.subspan(part.size);
    }
    return {};
}

Result<void> GuestMemory::write(uint64_t address, std::span<const std::byte> from) {
    while (!from.empty()) {
        const Part part = SWEDE_TRY(part_at(address, from.size(), Access::kReadWrite));
        std::memcpy(regions_[part.region]->host + part.offset, from.data(), part.size);
        address += part.size;
        from = from.subspan(part.size);
    }
    return {};
}

Result<std::shared_ptr<Backing>> GuestMemory::make_backing(
    std::span<const wire::MemEntry> entries) {
    if (entries.empty())
        return fail(ErrorCode::kInvalidParameter, "The list of backing pages is empty.");
    // A page list crosses each region's end at most once unless it names pages again and again; so
    // a guest cannot turn a short list into a long one by a VMM's many small regions.
    const size_t max_segments = entries.size() + kMaxRegions;
    std::vector<Backing::Segment> segments;
    segments.reserve(entries.size());
    std::vector<size_t> used;  // indices in regions_
    uint64_t total = 0;
    for (const wire::MemEntry& entry : entries) {
        if (entry.length == 0)
            return fail(ErrorCode::kInvalidParameter, "The backing entry at {:#x} is empty.",
                        entry.addr);
        const auto sum = checked_add<uint64_t>(total, entry.length);
        if (!sum)
            return fail(ErrorCode::kInvalidParameter, "The backing is longer than {:#x} bytes.",
                        UINT64_MAX);
        total = *sum;
        uint64_t address = entry.addr;
        uint64_t left = entry.length;
        while (left != 0) {
            const Part part = SWEDE_TRY(part_at(address, left, Access::kRead));
            const MemoryRegion& region = *regions_[part.region];
            std::byte* const host = region.host + part.offset;
            if (!segments.empty() && segments.back().region == &region &&
                segments.back().host + segments.back().size == host) {
                segments.back().size += part.size;
            } else {
                if (segments.size() == max_segments)
                    return fail(ErrorCode::kOutOfMemory,
                                "The backing's {} entries make more than {} segments.",
                                entries.size(), max_segments);
                segments.push_back({host, part.size, &region, part.offset});
                if (used.empty() || used.back() != part.region) used.push_back(part.region);
            }
            address += part.size;
            left -= part.size;
        }
    }
    segments.shrink_to_fit();
    std::ranges::sort(used);
    used.erase(std::ranges::unique(used).begin(), used.end());
    std::vector<std::shared_ptr<const MemoryRegion>> regions;
    regions.reserve(used.size());
    for (const size_t index : used) regions.push_back(regions_[index]);

    auto backing = std::make_shared<Backing>(std::move(segments), std::move(regions));
    if (backings_.size() >= sweep_at_) sweep_backings();
    backings_.push_back(backing);
    return backing;
}

void GuestMemory::sweep_backings() {
    std::erase_if(backings_, [](const auto& weak) { return weak.expired(); });
    // Twice the living: each sweep is paid for by as many backings made since the last one.
    sweep_at_ = std::max(kFirstSweep, 2 * backings_.size());
}

void GuestMemory::add_observer(Observer* observer) {
    observers_.push_back(observer);
}

void GuestMemory::remove_observer(Observer* observer) {
    std::erase(observers_, observer);
}

bool GuestMemory::truncated() const {
    if (truncated_) return true;
    const uint64_t hits = sigbus_guard::hits();
    if (hits == hits_seen_) return false;
    hits_seen_ = hits;
    truncated_ = std::ranges::any_of(regions_, [](const auto& region) {
        return region->mapping && sigbus_guard::was_hit(region->mapping.data());
    });
    return truncated_;
}

}  // namespace swede::virtio
