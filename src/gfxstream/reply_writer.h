// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace swede::gfxstream {

/// Puts replies into a ring's memory as the guest makes room by reading. Like RingReader: hostile
/// memory, no thread, no wait. Owned by a Ring.
class ReplyWriter {
  public:
    /// As RingReader's.
    explicit ReplyWriter(std::byte* memory) : memory_(memory) {}

    /// As much of `reply` as there is room for now: how many bytes.
    [[nodiscard]] size_t write(std::span<const std::byte> reply);
    /// Fills all room with VkResult VK_ERROR_DEVICE_LOST, for a guest that reads a reply of a
    /// context that is lost: Mesa 25.0.7 does not look at in_error there and would read for ever.
    void fill_with_device_lost();

  private:
    /// To where we are; the guest does not see it yet.
    void copy(std::span<const std::byte> bytes);

    std::byte* memory_;
    uint32_t written_ = 0;  ///< our position; what the guest writes to its copy changes nothing
    std::optional<uint32_t> lost_from_;  ///< where fill_with_device_lost() began
};

}  // namespace swede::gfxstream
