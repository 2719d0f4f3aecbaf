// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>

#include "base/result.h"

namespace swede::virtio_gpu {

/// Which ranges of the host-visible window are taken (D11): an interval set. A range stays taken
/// until its owner gives it back, also while it is being unmapped. Pure logic on the device thread.
class WindowRanges {
  public:
    /// `size`: of the window, bytes. `max_ranges`: taken at one time.
    WindowRanges(uint64_t size, uint64_t max_ranges) : size_(size), max_ranges_(max_ranges) {}

    /// Takes [offset, offset + size): whole pages, inside the window, not empty, no part taken.
    [[nodiscard]] Result<void> take(uint64_t offset, uint64_t size);
    /// Gives back the range that starts at `offset`.
    void give_back(uint64_t offset) { ranges_.erase(offset); }
    void clear() { ranges_.clear(); }

    [[nodiscard]] size_t count() const { return ranges_.size(); }

  private:
    uint64_t size_;
    uint64_t max_ranges_;
    std::map<uint64_t, uint64_t> ranges_;  ///< offset -> size, bytes; none overlaps another
};

}  // namespace swede::virtio_gpu
