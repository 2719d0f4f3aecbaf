// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/budget.h"
#include "base/mapping.h"
#include "rutabaga/renderer.h"

namespace swede::c_abi {

/// The blobs that the VMM has a pointer to. Owned by an instance, under its lock. A pointer stays
/// good until its unmap() whatever else happens, and a little longer (see remove()).
class MappedBlobs {
  public:
    using Clock = std::function<std::chrono::steady_clock::time_point()>;
    /// How long addresses stay after unmap(): QEMU's other threads may use a memory region until
    /// its next grace period is over (hw/display/virtio-gpu-rutabaga.c says so where it maps).
    static constexpr std::chrono::milliseconds kGrace{1000};

    /// What a mapping costs the guest, for as long as it is there.
    struct Charges {
        Budget::Charge mapping;
        /// Pages of our own that writes make, where the memory's file is for reading.
        Budget::Charge copies;
        std::shared_ptr<const Budget::Charge> bytes;  ///< the resource's
    };

    explicit MappedBlobs(Clock clock = std::chrono::steady_clock::now) : clock_(std::move(clock)) {}

    [[nodiscard]] bool contains(rutabaga::ResourceId resource) const {
        return live_.contains(resource);
    }
    /// Maps the first `size` bytes (whole pages) of the memory. Where its file is for reading,
    /// writes are seen by who has the pointer and reach no file: QEMU lets the guest write to all
    /// that it maps, whatever map_info says, and would die of it. The resource is not mapped yet.
    [[nodiscard]] Result<std::span<std::byte>> add(rutabaga::ResourceId resource,
                                                   const rutabaga::SharedMemory& memory,
                                                   uint64_t size, Charges charges);
    /// Gives back the addresses whose time is over, with their charges. To be called before a new
    /// mapping is charged.
    void release_retired();
    /// The VMM has done with the pointer. The memory is gone from it at once; the addresses hold
    /// zeroes for kGrace more.
    [[nodiscard]] Result<void> remove(rutabaga::ResourceId resource);
    /// The resource is gone: QEMU leaves its region where it is, so the memory stays as well, until
    /// remove() or clear().
    void forget_resource(rutabaga::ResourceId resource);
    void clear();

    [[nodiscard]] size_t count() const;
    [[nodiscard]] size_t retired() const { return retired_.size(); }

  private:
    struct Entry {
        Mapping mapping;
        Charges charges;
    };
    /// Mappings of one id whose resources are gone, and those that cannot be told from them: QEMU
    /// looks its regions up by id alone, so which one it has taken out it does not say.
    struct Kept {
        std::vector<Entry> entries;
        size_t removed = 0;  ///< of `entries`, by the VMM
    };
    struct Retired {
        Entry entry;
        std::chrono::steady_clock::time_point since;
    };

    void retire(Entry entry);

    Clock clock_;
    std::unordered_map<rutabaga::ResourceId, Entry> live_;
    std::unordered_map<rutabaga::ResourceId, Kept> kept_;
    std::deque<Retired> retired_;
};

/// A shared mapping of the memory may be written.
[[nodiscard]] bool is_writable(const rutabaga::SharedMemory& memory);

}  // namespace swede::c_abi
