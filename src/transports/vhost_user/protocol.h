// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// The vhost-user protocol as QEMU 11.1's docs/interop/vhost-user.rst gives it ("the
/// specification" below). Numbers are in the machine's byte order.
namespace swede::vhost_user {

/// "Header": the lowest two bits are the version, which is 1.
struct Header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;  ///< bytes of payload
};
static_assert(sizeof(Header) == 12);
inline constexpr uint32_t kVersionMask = 0x3;
inline constexpr uint32_t kVersion = 0x1;
inline constexpr uint32_t kFlagReply = 1 << 2;
inline constexpr uint32_t kFlagNeedReply = 1 << 3;

/// "Front-end message types".
enum class Request : uint32_t {
    kGetFeatures = 1,
    kSetFeatures = 2,
    kSetOwner = 3,
    kResetOwner = 4,
    kSetMemTable = 5,
    kSetLogBase = 6,
    kSetLogFd = 7,
    kSetVringNum = 8,
    kSetVringAddr = 9,
    kSetVringBase = 10,
    kGetVringBase = 11,
    kSetVringKick = 12,
    kSetVringCall = 13,
    kSetVringErr = 14,
    kGetProtocolFeatures = 15,
    kSetProtocolFeatures = 16,
    kGetQueueNum = 17,
    kSetVringEnable = 18,
    kSetBackendReqFd = 21,
    kGetConfig = 24,
    kSetConfig = 25,
    kGpuSetSocket = 33,
    kResetDevice = 34,
    kGetMaxMemSlots = 36,
    kAddMemReg = 37,
    kRemMemReg = 38,
    kGetShmemConfig = 44,
};

/// "Back-end message types".
enum class BackendRequest : uint32_t {
    kConfigChange = 2,
    kShmemMap = 9,
    kShmemUnmap = 10,
};

/// Never a virtio feature: says that protocol features exist.
inline constexpr uint64_t kFeatureProtocolFeatures = uint64_t{1} << 30;

/// "Protocol features", as bit numbers.
enum class ProtocolFeature : uint8_t {
    kMq = 0,
    kReplyAck = 3,
    kBackendReq = 5,
    kConfig = 9,
    kBackendSendFd = 10,
    kResetDevice = 13,
    kConfigureMemSlots = 15,
    kShmemMap = 22,  ///< earlier drafts had 20 or 21, which mean other things now
};
[[nodiscard]] constexpr uint64_t bit_of(ProtocolFeature feature) {
    return uint64_t{1} << static_cast<unsigned>(feature);
}

/// "Memory region description".
struct MemoryRegionDescription {
    uint64_t guest_address;
    uint64_t size;  ///< bytes
    uint64_t user_address;
    uint64_t mmap_offset;  ///< bytes, of the region's first byte in the file
};
static_assert(sizeof(MemoryRegionDescription) == 32);
/// "Multiple memory regions description", without the regions that follow it.
struct MemoryTableHead {
    uint32_t regions;
    uint32_t padding;
};
static_assert(sizeof(MemoryTableHead) == 8);
/// "Single memory region description".
struct SingleMemoryRegion {
    uint64_t padding;
    MemoryRegionDescription region;
};
static_assert(sizeof(SingleMemoryRegion) == 40);
/// The specification says 8; other front ends go up to 32.
inline constexpr uint32_t kMaxTableRegions = 32;
/// QEMU's own limit, VHOST_USER_MAX_RAM_SLOTS.
inline constexpr uint64_t kMaxMemorySlots = 512;

/// "A vring state description", also "a vring descriptor index for split virtqueues".
struct VringState {
    uint32_t index;
    uint32_t value;
};
static_assert(sizeof(VringState) == 8);

/// "A vring address description": user addresses of the front end.
struct VringAddress {
    uint32_t index;
    uint32_t flags;
    uint64_t descriptors;
    uint64_t used;
    uint64_t available;
    uint64_t log;
};
static_assert(sizeof(VringAddress) == 40);
inline constexpr uint32_t kVringFlagLog = 1;

/// SET_VRING_KICK, _CALL and _ERR.
inline constexpr uint64_t kVringFdIndexMask = 0xff;
inline constexpr uint64_t kVringFdNone = 0x100;

/// "Virtio device config space", without the bytes that follow it.
struct ConfigHead {
    uint32_t offset;  ///< bytes
    uint32_t size;    ///< bytes
    uint32_t flags;
};
static_assert(sizeof(ConfigHead) == 12);
/// QEMU's VHOST_USER_MAX_CONFIG_SIZE.
inline constexpr uint32_t kMaxConfigSize = 256;

/// "VIRTIO shared memory region configuration".
struct ShmemConfig {
    uint32_t regions;
    uint32_t padding;
    uint64_t sizes[256];  ///< bytes, by shmid
};
static_assert(sizeof(ShmemConfig) == 2056);

/// "MMAP request".
struct ShmemMap {
    uint8_t shmid;
    uint8_t padding[7];
    uint64_t fd_offset;   ///< bytes
    uint64_t shm_offset;  ///< bytes
    uint64_t length;      ///< bytes
    uint64_t flags;
};
static_assert(sizeof(ShmemMap) == 40);
inline constexpr uint64_t kShmemMapWritable = 1;

}  // namespace swede::vhost_user
