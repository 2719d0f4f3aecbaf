// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/memory_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"

namespace swede::vhost_user {

bool MemoryTable::Entry::is(const Entry& other) const {
    return region.guest_address == other.region.guest_address && region.size == other.region.size &&
           region.user_address == other.region.user_address &&
           region.mmap_offset == other.region.mmap_offset && device == other.device &&
           inode == other.inode;
}

Result<MemoryTable::Entry> MemoryTable::describe(const MemoryRegionDescription& region, int fd) {
    if (region.size == 0 || !checked_add(region.guest_address, region.size) ||
        !checked_add(region.user_address, region.size) ||
        !checked_add(region.mmap_offset, region.size))
        return fail(ErrorCode::kInvalidParameter,
                    "A memory region of {:#x} bytes at {:#x} (user address {:#x}, file offset "
                    "{:#x}) is empty or wraps around.",
                    region.size, region.guest_address, region.user_address, region.mmap_offset);
    struct stat status{};
    if (::fstat(fd, &status) != 0)
        return fail_errno("Cannot examine a memory region's file", errno);
    return Entry{region, status.st_dev, status.st_ino};
}

Result<void> MemoryTable::check_overlap(const MemoryRegionDescription& a,
                                        const MemoryRegionDescription& b) {
    if (ranges_overlap(a.guest_address, a.size, b.guest_address, b.size))
        return fail(ErrorCode::kInvalidParameter,
                    "The memory regions at guest addresses {:#x} and {:#x} overlap.",
                    a.guest_address, b.guest_address);
    if (ranges_overlap(a.user_address, a.size, b.user_address, b.size))
        return fail(ErrorCode::kInvalidParameter,
                    "The memory regions at user addresses {:#x} and {:#x} overlap.", a.user_address,
                    b.user_address);
    return {};
}

Result<void> MemoryTable::replace(std::span<const MemoryRegionDescription> regions,
                                  std::span<UniqueFd> fds) {
    std::vector<Entry> wanted;
    wanted.reserve(regions.size());
    for (size_t i = 0; i < regions.size(); ++i) {
        for (const Entry& other : wanted) SWEDE_TRY(check_overlap(regions[i], other.region));
        wanted.push_back(SWEDE_TRY(describe(regions[i], fds[i].get())));
    }
    const auto stays = [&](const Entry& entry) {
        return std::ranges::any_of(wanted, [&](const Entry& other) { return entry.is(other); });
    };
    for (size_t i = entries_.size(); i-- > 0;) {
        if (stays(entries_[i])) continue;
        SWEDE_TRY(memory_.remove(entries_[i].region.guest_address, entries_[i].region.size));
        entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(i));
    }
    for (size_t i = 0; i < wanted.size(); ++i) {
        const Entry& entry = wanted[i];
        if (std::ranges::any_of(entries_, [&](const Entry& old) { return entry.is(old); }))
            continue;
        SWEDE_TRY(memory_.add(entry.region.guest_address, entry.region.size, fds[i].duplicate(),
                              entry.region.mmap_offset, Access::kReadWrite));
        entries_.push_back(entry);
    }
    return {};
}

Result<void> MemoryTable::add(const MemoryRegionDescription& region, UniqueFd fd) {
    const Entry entry = SWEDE_TRY(describe(region, fd.get()));
    if (entries_.size() >= kMaxMemorySlots)
        return fail(ErrorCode::kOutOfMemory, "{} memory regions are in use already.",
                    entries_.size());
    for (const Entry& other : entries_) SWEDE_TRY(check_overlap(region, other.region));
    SWEDE_TRY(memory_.add(region.guest_address, region.size, std::move(fd), region.mmap_offset,
                          Access::kReadWrite));
    entries_.push_back(entry);
    return {};
}

Result<void> MemoryTable::remove(const MemoryRegionDescription& region) {
    const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) {
        return entry.region.guest_address == region.guest_address &&
               entry.region.user_address == region.user_address && entry.region.size == region.size;
    });
    if (found == entries_.end())
        return fail(ErrorCode::kInvalidParameter,
                    "No memory region of {:#x} bytes is at {:#x} (user address {:#x}).",
                    region.size, region.guest_address, region.user_address);
    SWEDE_TRY(memory_.remove(region.guest_address, region.size));
    entries_.erase(found);
    return {};
}

Result<uint64_t> MemoryTable::guest_address(uint64_t user_address, uint64_t size) const {
    for (const Entry& entry : entries_) {
        const MemoryRegionDescription& region = entry.region;
        if (user_address < region.user_address) continue;
        const uint64_t offset = user_address - region.user_address;
        if (range_fits(offset, size, region.size)) return region.guest_address + offset;
    }
    return fail(ErrorCode::kInvalidParameter,
                "{} bytes at user address {:#x} lie in no memory region.", size, user_address);
}

}  // namespace swede::vhost_user
