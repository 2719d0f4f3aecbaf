// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/backing.h"
#include "base/budget.h"
#include "wire/virtio_gpu.h"

namespace swede::virtio {

/// The guest's RAM as the VMM told it: regions by guest-physical address. One per device, filled by
/// the transport, used by queues and backings. Device thread only; other threads reach guest memory
/// through a Backing's lease.
class GuestMemory {
  public:
    static constexpr size_t kMaxRegions = 4096;

    GuestMemory();
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    /// Maps `size` bytes at `fd_offset` (any alignment) of the VMM's file for guest addresses from
    /// `address`; takes the fd. Without an fd the range is known and cannot be read or written.
    /// Overlap, wrap-around, size 0 and a range past the file's end are errors.
    [[nodiscard]] Result<void> add(uint64_t address, uint64_t size, UniqueFd fd, uint64_t fd_offset,
                                   Access access);
    /// The same for a whole file of ours, sealed against shrinking, that stands for a guest's
    /// memory: it needs no guard, of which a process has a limited number.
    [[nodiscard]] Result<void> add_own(uint64_t address, uint64_t size, UniqueFd fd);
    /// Takes away the region that is exactly this range, and revokes the backings that use it.
    [[nodiscard]] Result<void> remove(uint64_t address, uint64_t size);
    void clear();

    [[nodiscard]] std::span<const std::shared_ptr<const MemoryRegion>> regions() const {
        return regions_;
    }

    /// The host address of a guest range inside one region. Valid until that region is removed: use
    /// it within the call, do not store it.
    [[nodiscard]] Result<std::byte*> host_address(uint64_t address, uint64_t size, Access access);
    [[nodiscard]] Result<void> read(uint64_t address, std::span<std::byte> to);
    [[nodiscard]] Result<void> write(uint64_t address, std::span<const std::byte> from);

    /// Resolves a guest's list of pages. Neighbours in host memory become one segment. An entry of
    /// length 0 or outside RAM is an error. Entries may cross from one region into a neighbouring
    /// one. Empty lists are errors. The backing can be written when all of its regions can.
    [[nodiscard]] Result<std::shared_ptr<Backing>> make_backing(
        std::span<const wire::MemEntry> entries);

    /// Called after each add and before each remove: a renderer process maps the same regions.
    class Observer {
      public:
        virtual ~Observer() = default;
        virtual void region_added(const std::shared_ptr<const MemoryRegion>& region) = 0;
        virtual void region_removed(const MemoryRegion& region) = 0;
    };
    void add_observer(Observer* observer);
    void remove_observer(Observer* observer);

    /// True once a file behind a region turned out shorter than it was when mapped: the VMM lies,
    /// its connection should end.
    [[nodiscard]] bool truncated() const;

    /// Changes whenever a region comes or goes: who keeps a host address looks it up again then.
    [[nodiscard]] uint64_t generation() const { return generation_; }

  private:
    /// Whose file it is.
    enum class Owner : uint8_t { kPeer, kOurs };
    [[nodiscard]] Result<void> add(uint64_t address, uint64_t size, UniqueFd fd, uint64_t fd_offset,
                                   Access access, Owner owner);
    /// Where the region of `address` stands in regions_; their count when there is none.
    [[nodiscard]] size_t find(uint64_t address) const;
    /// The part of [address, address + size) that lies in one region.
    struct Part {
        size_t region;    ///< index in regions_
        uint64_t offset;  ///< bytes from the region's start
        uint64_t size;    ///< bytes
    };
    [[nodiscard]] Result<Part> part_at(uint64_t address, uint64_t size, Access access) const;
    void sweep_backings();
    void let_go(const MemoryRegion& region);

    std::vector<std::shared_ptr<const MemoryRegion>> regions_;  ///< sorted by address
    mutable size_t last_ = 0;                                   ///< where the last find() hit
    std::vector<std::weak_ptr<Backing>> backings_;              ///< to revoke; swept now and then
    size_t sweep_at_;  ///< entries of backings_ at which the dead ones are looked for
    uint64_t generation_ = 1;
    mutable uint64_t hits_seen_;      ///< SIGBUS guard's count at the last truncated()
    mutable bool truncated_ = false;  ///< stays once found
    std::vector<Observer*> observers_;
};

}  // namespace swede::virtio
