// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// vfio-user protocol 0.1 (QEMU: docs/interop/vfio-user.rst). Payload structures start behind the
/// header; all data has the host's byte order. The info structures are those of <linux/vfio.h>.
namespace swede::vfio_user {

inline constexpr uint16_t kVersionMajor = 0;
inline constexpr uint16_t kVersionMinor = 1;

enum class Command : uint16_t {
    kVersion = 1,
    kDmaMap = 2,
    kDmaUnmap = 3,
    kDeviceGetInfo = 4,
    kDeviceGetRegionInfo = 5,
    kDeviceGetRegionIoFds = 6,
    kDeviceGetIrqInfo = 7,
    kDeviceSetIrqs = 8,
    kRegionRead = 9,
    kRegionWrite = 10,
    kDmaRead = 11,   ///< only from the server, which never asks
    kDmaWrite = 12,  ///< only from the server, which never asks
    kDeviceReset = 13,
    kRegionWriteMulti = 15,
};

struct Header {
    uint16_t message_id;
    uint16_t command;
    uint32_t message_size;  ///< bytes, the header's included
    uint32_t flags;
    uint32_t error;  ///< errno, in a reply with kFlagError
};
static_assert(sizeof(Header) == 16);

inline constexpr uint32_t kFlagTypeMask = 0xf;
inline constexpr uint32_t kFlagTypeCommand = 0;
inline constexpr uint32_t kFlagTypeReply = 1;
inline constexpr uint32_t kFlagNoReply = 1u << 4;
inline constexpr uint32_t kFlagError = 1u << 5;

/// Followed by optional JSON text that ends with a zero byte.
struct Version {
    uint16_t major;
    uint16_t minor;
};
static_assert(sizeof(Version) == 4);

struct DmaMap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t offset;  ///< in the file that comes with the message
    uint64_t address;
    uint64_t size;
};
static_assert(sizeof(DmaMap) == 32);
inline constexpr uint32_t kDmaMapRead = 1u << 0;
inline constexpr uint32_t kDmaMapWrite = 1u << 1;

struct DmaUnmap {
    uint32_t argsz;
    uint32_t flags;
    uint64_t address;
    uint64_t size;
};
static_assert(sizeof(DmaUnmap) == 24);
inline constexpr uint32_t kDmaUnmapDirtyBitmap = 1u << 0;
inline constexpr uint32_t kDmaUnmapAll = 1u << 1;

struct DeviceInfo {
    uint32_t argsz;
    uint32_t flags;
    uint32_t num_regions;
    uint32_t num_irqs;
};
static_assert(sizeof(DeviceInfo) == 16);
inline constexpr uint32_t kDeviceInfoReset = 1u << 0;
inline constexpr uint32_t kDeviceInfoPci = 1u << 1;

struct RegionInfo {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t cap_offset;
    uint64_t size;
    uint64_t offset;
};
static_assert(sizeof(RegionInfo) == 32);
inline constexpr uint32_t kRegionInfoRead = 1u << 0;
inline constexpr uint32_t kRegionInfoWrite = 1u << 1;
inline constexpr uint32_t kRegionInfoMmap = 1u << 2;

struct RegionIoFds {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
};
static_assert(sizeof(RegionIoFds) == 16);

struct IrqInfo {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t count;
};
static_assert(sizeof(IrqInfo) == 16);
inline constexpr uint32_t kIrqInfoEventFd = 1u << 0;
inline constexpr uint32_t kIrqInfoMaskable = 1u << 1;
inline constexpr uint32_t kIrqInfoAutoMasked = 1u << 2;

/// Followed by one byte for each interrupt with kIrqSetDataBool.
struct IrqSet {
    uint32_t argsz;
    uint32_t flags;
    uint32_t index;
    uint32_t start;
    uint32_t count;
};
static_assert(sizeof(IrqSet) == 20);
inline constexpr uint32_t kIrqSetDataNone = 1u << 0;
inline constexpr uint32_t kIrqSetDataBool = 1u << 1;
inline constexpr uint32_t kIrqSetDataEventFd = 1u << 2;
inline constexpr uint32_t kIrqSetDataMask = kIrqSetDataNone | kIrqSetDataBool | kIrqSetDataEventFd;
inline constexpr uint32_t kIrqSetActionMask = 1u << 3;
inline constexpr uint32_t kIrqSetActionUnmask = 1u << 4;
inline constexpr uint32_t kIrqSetActionTrigger = 1u << 5;
inline constexpr uint32_t kIrqSetActions =
    kIrqSetActionMask | kIrqSetActionUnmask | kIrqSetActionTrigger;

/// Head of REGION_READ and REGION_WRITE; data follows in a write, and in the reply to a read.
struct RegionAccess {
    uint64_t offset;
    uint32_t region;
    uint32_t count;  ///< bytes
};
static_assert(sizeof(RegionAccess) == 16);

/// One of REGION_WRITE_MULTI's; a u64 count stands before the first.
struct RegionWriteSmall {
    uint64_t offset;
    uint32_t region;
    uint32_t count;  ///< bytes, at most 8
    uint8_t data[8];
};
static_assert(sizeof(RegionWriteSmall) == 24);

// VFIO_PCI_*_REGION_INDEX and VFIO_PCI_*_IRQ_INDEX of <linux/vfio.h>.
inline constexpr uint32_t kRegionBar0 = 0;
inline constexpr uint32_t kRegionBar2 = 2;
inline constexpr uint32_t kRegionBar4 = 4;
inline constexpr uint32_t kRegionConfig = 7;
inline constexpr uint32_t kRegionCount = 9;
inline constexpr uint32_t kIrqIntx = 0;
inline constexpr uint32_t kIrqMsix = 2;
inline constexpr uint32_t kIrqCount = 5;

// What we take; told to the client in the reply to VERSION.
inline constexpr uint32_t kMaxMessageFds = 8;
inline constexpr uint32_t kMaxTransferSize = 1u << 20;  ///< bytes, the protocol's default

}  // namespace swede::vfio_user
