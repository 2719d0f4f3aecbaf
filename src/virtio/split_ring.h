// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace swede::virtio {

// The layout of a split virtqueue: virtio 1.3, 2.7.5 to 2.7.8. All fields are little-endian.
static_assert(std::endian::native == std::endian::little, "rings are read in place");

struct Descriptor {
    uint64_t address;  ///< guest-physical
    uint32_t length;   ///< bytes
    uint16_t flags;
    uint16_t next;  ///< index, when kDescriptorNext is set
};
static_assert(sizeof(Descriptor) == 16);

inline constexpr uint16_t kDescriptorNext = 1;
inline constexpr uint16_t kDescriptorWrite = 2;
inline constexpr uint16_t kDescriptorIndirect = 4;

struct UsedElement {
    uint32_t id;      ///< head of the chain
    uint32_t length;  ///< bytes written to the chain
};
static_assert(sizeof(UsedElement) == 8);

inline constexpr uint16_t kNoInterrupt = 1;  ///< available ring's flags
inline constexpr uint16_t kNoNotify = 1;     ///< used ring's flags

// Offsets in both rings, in bytes. After the entries stands used_event (available ring) or
// avail_event (used ring), there when EVENT_IDX is negotiated.
inline constexpr uint64_t kRingFlags = 0;
inline constexpr uint64_t kRingIndex = 2;
inline constexpr uint64_t kRingEntries = 4;

[[nodiscard]] constexpr uint64_t descriptor_table_size(uint16_t size) {
    return uint64_t{size} * sizeof(Descriptor);
}
[[nodiscard]] constexpr uint64_t used_event_offset(uint16_t size) {
    return kRingEntries + uint64_t{size} * sizeof(uint16_t);
}
[[nodiscard]] constexpr uint64_t avail_event_offset(uint16_t size) {
    return kRingEntries + uint64_t{size} * sizeof(UsedElement);
}
[[nodiscard]] constexpr uint64_t available_ring_size(uint16_t size, bool event_idx) {
    return used_event_offset(size) + (event_idx ? sizeof(uint16_t) : 0);
}
[[nodiscard]] constexpr uint64_t used_ring_size(uint16_t size, bool event_idx) {
    return avail_event_offset(size) + (event_idx ? sizeof(uint16_t) : 0);
}

/// vring_need_event of 2.7.10.1: whether the step from `before` to `now` passes `event`. The
/// indices wrap at 65536.
[[nodiscard]] constexpr bool passes_event(uint16_t event, uint16_t now, uint16_t before) {
    return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace swede::virtio
