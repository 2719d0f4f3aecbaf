// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/window_ranges.h"

#include "base/checked.h"

namespace swede::virtio_gpu {

Result<void> WindowRanges::take(uint64_t offset, uint64_t size) {
    if (!is_page_aligned(offset) || !is_page_aligned(size) || size == 0)
        return fail(ErrorCode::kInvalidParameter,
                    "The range of {} bytes at offset {} of the window is not whole pages.", size,
                    offset);
    if (!range_fits(offset, size, size_))
        return fail(ErrorCode::kInvalidParameter,
                    "The range of {} bytes at offset {} is not inside the window of {} bytes.",
                    size, offset, size_);
    // The first range that starts behind ours, and the one before it, are all that can overlap.
    const auto after = ranges_.upper_bound(offset);
    const bool hits_after = after != ranges_.end() && after->first - offset < size;
    const bool hits_before =
        after != ranges_.begin() && offset - std::prev(after)->first < std::prev(after)->second;
    if (hits_after || hits_before)
        return fail(ErrorCode::kInvalidParameter,
                    "The range of {} bytes at offset {} of the window overlaps one that is taken.",
                    size, offset);
    if (ranges_.size() >= max_ranges_)
        return fail(ErrorCode::kOutOfMemory, "The window holds {} blobs, which is all it can.",
                    ranges_.size());
    ranges_.emplace_hint(after, offset, size);
    return {};
}

}  // namespace swede::virtio_gpu
