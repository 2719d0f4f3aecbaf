// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <vector>

#include "transports/vhost_user/protocol.h"
#include "virtio/guest_memory.h"

namespace swede::vhost_user {

/// The front end's memory regions: fills the GuestMemory of the session, and finds the guest
/// address behind a user address, in which the front end names its rings. Owned by the session;
/// device thread.
class MemoryTable {
  public:
    explicit MemoryTable(virtio::GuestMemory& memory) : memory_(memory) {}

    /// SET_MEM_TABLE. Regions that stay the same (addresses, file and offset) stay mapped and the
    /// resources in them usable: hot-plug sends the whole table again while the guest runs. On an
    /// Error of the list itself nothing has changed; when a file cannot be mapped, the regions
    /// before it are in the table.
    [[nodiscard]] Result<void> replace(std::span<const MemoryRegionDescription> regions,
                                       std::span<UniqueFd> fds);
    /// ADD_MEM_REG.
    [[nodiscard]] Result<void> add(const MemoryRegionDescription& region, UniqueFd fd);
    /// REM_MEM_REG: by guest address, user address and size.
    [[nodiscard]] Result<void> remove(const MemoryRegionDescription& region);

    /// The guest address of `size` bytes at a user address, inside one region.
    [[nodiscard]] Result<uint64_t> guest_address(uint64_t user_address, uint64_t size) const;

    [[nodiscard]] size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        MemoryRegionDescription region;
        dev_t device;  ///< of the file, with its inode: a new file may come in an old place
        ino_t inode;

        [[nodiscard]] bool is(const Entry& other) const;
    };
    [[nodiscard]] static Result<Entry> describe(const MemoryRegionDescription& region, int fd);
    [[nodiscard]] static Result<void> check_overlap(const MemoryRegionDescription& a,
                                                    const MemoryRegionDescription& b);

    virtio::GuestMemory& memory_;
    std::vector<Entry> entries_;
};

}  // namespace swede::vhost_user
