// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

/// The memory of one stream between a guest thread and us, "address space graphics" (Mesa 25.0.7,
/// src/gfxstream/guest/GoldfishAddressSpace/include/address_space_graphics_types.h and
/// src/gfxstream/aemu/include/ring_buffer.h). Three rings and a buffer that two of them share:
/// requests come as descriptors of parts of the buffer ("type 1") or through the large ring ("type
/// 3"), replies go back through the other large ring. All of it is the guest's to change at any
/// time.
namespace swede::gfxstream::ring_layout {

inline constexpr uint32_t kBufferSize = uint32_t{1} << 20;       ///< bytes
inline constexpr uint32_t kFlushInterval = uint32_t{1} << 18;    ///< bytes of one type 1 step
inline constexpr uint32_t kDescriptorsSize = uint32_t{1} << 11;  ///< bytes of the descriptors' ring
inline constexpr uint64_t kRingsSize = uint64_t{3} * 4096;       ///< bytes: a page for each ring
inline constexpr uint64_t kSize = kRingsSize + kBufferSize;      ///< bytes of all
static_assert(std::has_single_bit(kBufferSize) && std::has_single_bit(kDescriptorsSize));

// Offsets of the rings, and of the buffer.
inline constexpr uint64_t kToHost = 0;
inline constexpr uint64_t kToHostLarge = 4096;
inline constexpr uint64_t kFromHostLarge = 8192;
inline constexpr uint64_t kBuffer = kRingsSize;

// Offsets in a ring. Positions run freely; one byte of a ring is always free.
inline constexpr uint64_t kWritePosition = 8;
inline constexpr uint64_t kReadPosition = 64;
inline constexpr uint64_t kDescriptors = 128;  ///< kDescriptorsSize bytes, of kToHost only
inline constexpr uint64_t kState = 2176;       ///< HostState, of kToHost only

// ring_config, in kToHost.
inline constexpr uint64_t kConfigBufferSize = 2180;
inline constexpr uint64_t kConfigFlushInterval = 2184;
inline constexpr uint64_t kConfigTransferMode = 2196;  ///< not to be trusted (facts 1.5)
inline constexpr uint64_t kConfigTransferSize = 2200;  ///< bytes of a type 3 request still to come
inline constexpr uint64_t kConfigInError = 2204;       ///< 1: the guest's waits give up

/// Whether the guest must ping after it has written.
enum class HostState : uint32_t { kNeedNotify = 0, kRendering = 4 };

/// What kToHost holds.
struct Descriptor {
    uint32_t offset;  ///< in the buffer, bytes
    uint32_t size;    ///< bytes
};
static_assert(sizeof(Descriptor) == 8);

/// A word that the guest writes too. Sequentially consistent, as the guest's own accesses.
inline uint32_t load(const std::byte* memory, uint64_t offset) {
    return __atomic_load_n(reinterpret_cast<const uint32_t*>(memory + offset), __ATOMIC_SEQ_CST);
}
inline void store(std::byte* memory, uint64_t offset, uint32_t value) {
    __atomic_store_n(reinterpret_cast<uint32_t*>(memory + offset), value, __ATOMIC_SEQ_CST);
}

inline void subtract(std::byte* memory, uint64_t offset, uint32_t value) {
    __atomic_fetch_sub(reinterpret_cast<uint32_t*>(memory + offset), value, __ATOMIC_SEQ_CST);
}

}  // namespace swede::gfxstream::ring_layout
