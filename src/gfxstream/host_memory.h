// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "base/budget.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "base/result.h"
#include "rutabaga/renderer.h"

namespace swede::gfxstream {

/// Memory that the guest can map and the host's Vulkan driver can import by pointer: a sealed memfd
/// and one mapping of it whose address never changes. Shared by the blob of the guest, the
/// VkDeviceMemory that imported it, rings and colour buffers; lives until the last has let go.
///
/// place() moves it into the static window: contents are copied and the mapping is replaced in
/// place (MAP_FIXED), so that a driver which uses the pointer follows. displace() takes it back.
/// Who writes meanwhile, by the pointer, loses nothing. Thread-safe.
class HostMemory {
  public:
    /// Zeroed; `size` is rounded up to whole pages. Charges kHostBytes of `budget` (may be null:
    /// tests).
    [[nodiscard]] static Result<std::shared_ptr<HostMemory>> create(
        uint64_t size, const std::shared_ptr<Budget>& budget);
    /// Memory of another guest's colour buffer, which came as a file (local socket). It cannot be
    /// placed: the other guest would not follow.
    [[nodiscard]] static Result<std::shared_ptr<HostMemory>> adopt(rutabaga::SharedMemory memory);
    ~HostMemory();
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;

    /// Fixed for its life. Shared with the guest: every byte may change at any time.
    [[nodiscard]] std::byte* data() const { return mapping_.data(); }
    [[nodiscard]] uint64_t size() const { return mapping_.size(); }  ///< bytes, whole pages
    [[nodiscard]] bool placed() const;

    /// A duplicate of the file that it lives in now: while placed, the window's.
    [[nodiscard]] Result<rutabaga::SharedMemory> share() const;
    [[nodiscard]] Result<void> place(const rutabaga::WindowRange& range);
    /// Contents are kept; afterwards nothing here reaches the window. No error if it is not placed.
    /// On failure, too, nothing reaches it: data() is memory of its own then, which reads as zero.
    [[nodiscard]] Result<void> displace();

  private:
    HostMemory(rutabaga::SharedMemory file, Mapping mapping, Budget::Charge charge, bool adopted)
        : file_(std::move(file)),
          mapping_(std::move(mapping)),
          charge_(std::move(charge)),
          adopted_(adopted) {}

    mutable std::mutex mutex_;     ///< guards window_ and the replacing of the mapping
    rutabaga::SharedMemory file_;  ///< ours
    Mapping mapping_;
    Budget::Charge charge_;
    const bool adopted_;
    rutabaga::SharedMemory window_;  ///< where it is placed; an empty fd: in its own file
};

/// What a writer changed in `old_place` after it was copied to `copied`, entered into `new_place`,
/// unless that was changed there too. All three have the size of `copied`, whole 8-byte words.
/// For HostMemory and its test.
void carry_over_late_writes(std::span<const std::byte> old_place, std::span<const std::byte> copied,
                            std::span<std::byte> new_place);

}  // namespace swede::gfxstream
