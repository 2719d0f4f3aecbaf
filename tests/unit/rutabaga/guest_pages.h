// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "base/backing.h"

namespace swede::rutabaga::testing {

/// Guest RAM for one backing: `size` bytes in pieces of `piece` bytes that lie in shuffled order.
class GuestPages {
  public:
    explicit GuestPages(uint64_t size, uint64_t piece = 4096, Access access = Access::kReadWrite)
        : size_(size) {
        auto region = std::make_shared<MemoryRegion>();
        region->id = 1;
        region->size = size;
        region->access = access;
        region->mapping = *Mapping::anonymous(size);
        region->host = region->mapping.data();
        std::vector<uint64_t> starts;
        for (uint64_t start = 0; start < size; start += piece) starts.push_back(start);
        std::ranges::shuffle(starts, std::mt19937(7));
        for (const uint64_t start : starts)
            segments_.push_back(
                {region->host + start, std::min(piece, size - start), region.get(), start});
        region_ = std::move(region);
    }

    [[nodiscard]] std::shared_ptr<Backing> backing() const {
        return std::make_shared<Backing>(segments_,
                                         std::vector<std::shared_ptr<const MemoryRegion>>{region_});
    }
    [[nodiscard]] size_t num_segments() const { return segments_.size(); }

    /// The guest's own view: byte `offset` of the backing.
    [[nodiscard]] std::byte& operator[](uint64_t offset) {
        for (const Backing::Segment& segment : segments_) {
            if (offset < segment.size) return segment.host[offset];
            offset -= segment.size;
        }
        std::abort();
    }
    void fill(std::byte value) { std::memset(region_->host, static_cast<int>(value), size_); }
    /// Each byte gets a value that tells its offset.
    void number() {
        uint64_t offset = 0;
        for (const Backing::Segment& segment : segments_)
            for (uint64_t i = 0; i < segment.size; ++i) segment.host[i] = value_at(offset++);
    }
    [[nodiscard]] static std::byte value_at(uint64_t offset) {
        return static_cast<std::byte>(offset * 31 + (offset >> 8) * 7 + (offset >> 16));
    }

  private:
    uint64_t size_;  ///< bytes
    std::shared_ptr<const MemoryRegion> region_;
    std::vector<Backing::Segment> segments_;
};

}  // namespace swede::rutabaga::testing
