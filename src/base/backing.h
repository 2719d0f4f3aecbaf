// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"

namespace swede {

/// One region of guest RAM as the VMM handed it to us: a mapping here, and the file behind it for
/// those that must map it again (a renderer process). Shared by the memory map and by backings.
struct MemoryRegion {
    uint64_t id = 0;         ///< unique in this process, never used again
    uint64_t address = 0;    ///< guest-physical, bytes
    uint64_t size = 0;       ///< bytes
    uint64_t fd_offset = 0;  ///< of the region's first byte in `fd`, bytes
    Access access = Access::kReadWrite;
    UniqueFd fd;                ///< empty when the VMM gave no file (a ROM, a device's BAR)
    Mapping mapping;            ///< may start before the region: see `host`
    std::byte* host = nullptr;  ///< the region's first byte in this process; null without a file
};

/// Guest memory behind a resource: spans of guest RAM, in the order the guest listed them.
///
/// Created on the device thread, read and written from any thread under a lease. The owner of the
/// memory map revokes it when one of its regions goes (invariant I7); the resource revokes it at
/// detach and unref. After that every lease is empty: who holds a Backing never holds guest memory.
class Backing {
  public:
    struct Segment {
        std::byte* host;  ///< first byte in this process
        uint64_t size;    ///< bytes, not 0
        const MemoryRegion* region;
        uint64_t region_offset;  ///< of the segment's first byte in the region, bytes
    };

    Backing(std::vector<Segment> segments,
            std::vector<std::shared_ptr<const MemoryRegion>> regions);
    Backing(const Backing&) = delete;
    Backing& operator=(const Backing&) = delete;

    /// Keeps the memory mapped while it lives. Hold it for a bounded copy, never across a wait.
    class Lease {
      public:
        [[nodiscard]] explicit operator bool() const { return lock_.owns_lock(); }
        [[nodiscard]] std::span<const Segment> segments() const { return segments_; }

      private:
        friend class Backing;
        std::shared_lock<std::shared_mutex> lock_;
        std::span<const Segment> segments_;
    };

    /// An empty lease once revoked.
    [[nodiscard]] Lease lease() const;

    /// Bytes in all segments together; does not change when revoked.
    [[nodiscard]] uint64_t size() const { return size_; }
    /// False when a part lies in memory that the VMM shares read-only; does not change when
    /// revoked.
    [[nodiscard]] bool writable() const { return writable_; }
    [[nodiscard]] bool uses(uint64_t region_id) const;

    /// Waits for the leases that are out (bounded copies), then gives the memory up for good. No
    /// new lease is given while it waits.
    void revoke();

    /// Copies between the backing at `offset` and private memory. Fails, with nothing copied, when
    /// revoked, when the range is not inside the backing, and when writing to what is not writable.
    [[nodiscard]] Result<void> read(uint64_t offset, std::span<std::byte> to) const;
    [[nodiscard]] Result<void> write(uint64_t offset, std::span<const std::byte> from) const;

    /// Copies `rows` rows of `row_size` bytes that start `stride` bytes apart in the backing to
    /// rows `to_stride` apart at `to` (or back), under one lease and one walk over the segments.
    /// Rows may not overlap in the backing.
    [[nodiscard]] Result<void> read_rows(uint64_t offset, uint64_t stride, uint64_t row_size,
                                         uint64_t rows, std::byte* to, uint64_t to_stride) const;
    [[nodiscard]] Result<void> write_rows(uint64_t offset, uint64_t stride, uint64_t row_size,
                                          uint64_t rows, const std::byte* from,
                                          uint64_t from_stride) const;

  private:
    template <bool kToBacking, typename Byte>
    Result<void> copy_rows(uint64_t offset, uint64_t stride, uint64_t row_size, uint64_t rows,
                           Byte* other, uint64_t other_stride) const;

    mutable std::shared_mutex mutex_;    ///< shared by leases, exclusive in revoke()
    std::atomic<bool> revoked_ = false;  ///< set first: new leases must not starve revoke()
    std::vector<Segment> segments_;      ///< empty once revoked
    std::vector<uint64_t> starts_;       ///< offset of each segment's first byte, for binary search
    std::vector<std::shared_ptr<const MemoryRegion>> regions_;
    uint64_t size_ = 0;  ///< bytes
    bool writable_;
};

}  // namespace swede
