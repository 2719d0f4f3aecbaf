// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/caller_memory.h"

#include <utility>
#include <vector>

#include "base/checked.h"

namespace swede::c_abi {
namespace {

/// Never destroyed: threads of the VMM may call while it is in exit().
const std::shared_ptr<const MemoryRegion>& whole_process() {
    static const auto& region = []() -> const auto& {
        auto made = std::make_shared<MemoryRegion>();
        made->size = UINT64_MAX;
        return *new std::shared_ptr<const MemoryRegion>(std::move(made));
    }();
    return region;
}

}  // namespace

Result<std::span<const iovec>> entries_of(const rutabaga_iovecs* list) {
    if (list == nullptr || list->num_iovecs == 0) return std::span<const iovec>();
    if (list->iovecs == nullptr)
        return fail(ErrorCode::kInvalidParameter, "A list of {} pieces of memory has no address.",
                    list->num_iovecs);
    return std::span<const iovec>(list->iovecs, list->num_iovecs);
}

Result<std::shared_ptr<Backing>> make_backing(std::span<const iovec> entries,
                                              const Budget& budget) {
    if (entries.size() > budget.limit(BudgetKind::kBackingSegments))
        return fail(ErrorCode::kOutOfMemory, "A backing of {} pieces has more than {}.",
                    entries.size(), budget.limit(BudgetKind::kBackingSegments));
    const auto& region = whole_process();
    std::vector<Backing::Segment> segments;
    segments.reserve(entries.size());
    uint64_t total = 0;
    for (const iovec& entry : entries) {
        if (entry.iov_len == 0) continue;
        auto* const host = static_cast<std::byte*>(entry.iov_base);
        const auto address = reinterpret_cast<uintptr_t>(host);
        const auto sum = checked_add<uint64_t>(total, entry.iov_len);
        if (host == nullptr || !checked_add<uint64_t>(address, entry.iov_len) || !sum)
            return fail(ErrorCode::kInvalidParameter, "{:#x} bytes at {:#x} are no memory.",
                        entry.iov_len, address);
        total = *sum;
        if (!segments.empty() && segments.back().host + segments.back().size == host)
            segments.back().size += entry.iov_len;
        else
            segments.push_back({host, entry.iov_len, region.get(), address});
    }
    if (segments.empty())
        return fail(ErrorCode::kInvalidParameter, "A backing of {} pieces has no bytes.",
                    entries.size());
    segments.shrink_to_fit();
    return std::make_shared<Backing>(std::move(segments), std::vector{region});
}

}  // namespace swede::c_abi
