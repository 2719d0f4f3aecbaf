// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// virtio-gpu as in the virtio 1.3 specification, section 5.7 "GPU Device". All fields are
/// little-endian; Swede runs on little-endian hosts only (asserted below).
namespace swede::wire {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

// 5.7 Device ID, 5.7.2 virtqueues.
inline constexpr uint32_t kVirtioIdGpu = 16;
inline constexpr uint16_t kControlQueue = 0;
inline constexpr uint16_t kCursorQueue = 1;

// 5.7.3 feature bits.
inline constexpr uint64_t kFeatureVirgl = uint64_t{1} << 0;
inline constexpr uint64_t kFeatureEdid = uint64_t{1} << 1;
inline constexpr uint64_t kFeatureResourceUuid = uint64_t{1} << 2;
inline constexpr uint64_t kFeatureResourceBlob = uint64_t{1} << 3;
inline constexpr uint64_t kFeatureContextInit = uint64_t{1} << 4;

// 5.7.4 device configuration layout.
inline constexpr uint32_t kEventDisplay = 1;
struct Config {
    uint32_t events_read;
    uint32_t events_clear;
    uint32_t num_scanouts;
    uint32_t num_capsets;
};
static_assert(sizeof(Config) == 16);

inline constexpr uint32_t kMaxScanouts = 16;
/// Shared memory region of host-visible blobs (5.7.6.1).
inline constexpr uint8_t kShmIdHostVisible = 1;

// 5.7.6.7 control types.
inline constexpr uint32_t kCmdGetDisplayInfo = 0x0100;
inline constexpr uint32_t kCmdResourceCreate2d = 0x0101;
inline constexpr uint32_t kCmdResourceUnref = 0x0102;
inline constexpr uint32_t kCmdSetScanout = 0x0103;
inline constexpr uint32_t kCmdResourceFlush = 0x0104;
inline constexpr uint32_t kCmdTransferToHost2d = 0x0105;
inline constexpr uint32_t kCmdResourceAttachBacking = 0x0106;
inline constexpr uint32_t kCmdResourceDetachBacking = 0x0107;
inline constexpr uint32_t kCmdGetCapsetInfo = 0x0108;
inline constexpr uint32_t kCmdGetCapset = 0x0109;
inline constexpr uint32_t kCmdGetEdid = 0x010a;
inline constexpr uint32_t kCmdResourceAssignUuid = 0x010b;
inline constexpr uint32_t kCmdResourceCreateBlob = 0x010c;
inline constexpr uint32_t kCmdSetScanoutBlob = 0x010d;
inline constexpr uint32_t kCmdCtxCreate = 0x0200;
inline constexpr uint32_t kCmdCtxDestroy = 0x0201;
inline constexpr uint32_t kCmdCtxAttachResource = 0x0202;
inline constexpr uint32_t kCmdCtxDetachResource = 0x0203;
inline constexpr uint32_t kCmdResourceCreate3d = 0x0204;
inline constexpr uint32_t kCmdTransferToHost3d = 0x0205;
inline constexpr uint32_t kCmdTransferFromHost3d = 0x0206;
inline constexpr uint32_t kCmdSubmit3d = 0x0207;
inline constexpr uint32_t kCmdResourceMapBlob = 0x0208;
inline constexpr uint32_t kCmdResourceUnmapBlob = 0x0209;
inline constexpr uint32_t kCmdUpdateCursor = 0x0300;
inline constexpr uint32_t kCmdMoveCursor = 0x0301;

inline constexpr uint32_t kRespOkNodata = 0x1100;
inline constexpr uint32_t kRespOkDisplayInfo = 0x1101;
inline constexpr uint32_t kRespOkCapsetInfo = 0x1102;
inline constexpr uint32_t kRespOkCapset = 0x1103;
inline constexpr uint32_t kRespOkEdid = 0x1104;
inline constexpr uint32_t kRespOkResourceUuid = 0x1105;
inline constexpr uint32_t kRespOkMapInfo = 0x1106;
inline constexpr uint32_t kRespErrUnspec = 0x1200;
inline constexpr uint32_t kRespErrOutOfMemory = 0x1201;
inline constexpr uint32_t kRespErrInvalidScanoutId = 0x1202;
inline constexpr uint32_t kRespErrInvalidResourceId = 0x1203;
inline constexpr uint32_t kRespErrInvalidContextId = 0x1204;
inline constexpr uint32_t kRespErrInvalidParameter = 0x1205;

inline constexpr uint32_t kFlagFence = 1 << 0;
inline constexpr uint32_t kFlagInfoRingIdx = 1 << 1;

struct ControlHeader {
    uint32_t type;
    uint32_t flags;
    uint64_t fence_id;
    uint32_t ctx_id;
    uint8_t ring_idx;
    uint8_t padding[3];
};
static_assert(sizeof(ControlHeader) == 24);

struct Rect {
    uint32_t x;
    uint32_t y;
    uint32_t width;
    uint32_t height;
};
static_assert(sizeof(Rect) == 16);

struct DisplayOne {
    Rect rect;
    uint32_t enabled;
    uint32_t flags;
};
struct RespDisplayInfo {
    ControlHeader header;
    DisplayOne modes[kMaxScanouts];
};
static_assert(sizeof(RespDisplayInfo) == 24 + 24 * 16);

struct GetEdid {
    uint32_t scanout;
    uint32_t padding;
};
struct RespEdid {
    ControlHeader header;
    uint32_t size;
    uint32_t padding;
    uint8_t edid[1024];
};
static_assert(sizeof(RespEdid) == 24 + 8 + 1024);

/// B8G8R8A8 means: byte 0 is blue. The X formats' fourth byte is ignored.
inline constexpr uint32_t kFormatB8G8R8A8 = 1;
inline constexpr uint32_t kFormatB8G8R8X8 = 2;
inline constexpr uint32_t kFormatA8R8G8B8 = 3;
inline constexpr uint32_t kFormatX8R8G8B8 = 4;
inline constexpr uint32_t kFormatR8G8B8A8 = 67;
inline constexpr uint32_t kFormatX8B8G8R8 = 68;
inline constexpr uint32_t kFormatA8B8G8R8 = 121;
inline constexpr uint32_t kFormatR8G8B8X8 = 134;

struct ResourceCreate2d {
    uint32_t resource_id;
    uint32_t format;
    uint32_t width;
    uint32_t height;
};
struct ResourceUnref {
    uint32_t resource_id;
    uint32_t padding;
};
struct SetScanout {
    Rect rect;
    uint32_t scanout_id;
    uint32_t resource_id;
};
struct ResourceFlush {
    Rect rect;
    uint32_t resource_id;
    uint32_t padding;
};
struct TransferToHost2d {
    Rect rect;
    uint64_t offset;
    uint32_t resource_id;
    uint32_t padding;
};
static_assert(sizeof(TransferToHost2d) == 32);
struct ResourceAttachBacking {
    uint32_t resource_id;
    uint32_t nr_entries;
};
struct MemEntry {
    uint64_t addr;
    uint32_t length;
    uint32_t padding;
};
static_assert(sizeof(MemEntry) == 16);
struct ResourceDetachBacking {
    uint32_t resource_id;
    uint32_t padding;
};
struct GetCapsetInfo {
    uint32_t capset_index;
    uint32_t padding;
};
struct RespCapsetInfo {
    ControlHeader header;
    uint32_t capset_id;
    uint32_t capset_max_version;
    uint32_t capset_max_size;
    uint32_t padding;
};
static_assert(sizeof(RespCapsetInfo) == 40);
struct GetCapset {
    uint32_t capset_id;
    uint32_t capset_version;
};
struct ResourceAssignUuid {
    uint32_t resource_id;
    uint32_t padding;
};
struct RespResourceUuid {
    ControlHeader header;
    uint8_t uuid[16];
};
static_assert(sizeof(RespResourceUuid) == 40);

inline constexpr uint32_t kBlobMemGuest = 1;
inline constexpr uint32_t kBlobMemHost3d = 2;
inline constexpr uint32_t kBlobMemHost3dGuest = 3;
inline constexpr uint32_t kBlobFlagUseMappable = 1;
inline constexpr uint32_t kBlobFlagUseShareable = 2;
inline constexpr uint32_t kBlobFlagUseCrossDevice = 4;
struct ResourceCreateBlob {
    uint32_t resource_id;
    uint32_t blob_mem;
    uint32_t blob_flags;
    uint32_t nr_entries;
    uint64_t blob_id;
    uint64_t size;
};
static_assert(sizeof(ResourceCreateBlob) == 32);
struct SetScanoutBlob {
    Rect rect;
    uint32_t scanout_id;
    uint32_t resource_id;
    uint32_t width;
    uint32_t height;
    uint32_t format;
    uint32_t padding;
    uint32_t strides[4];
    uint32_t offsets[4];
};
static_assert(sizeof(SetScanoutBlob) == 72);

// 5.7.6.9 3D commands.
inline constexpr uint32_t kContextInitCapsetIdMask = 0xff;
struct CtxCreate {
    uint32_t nlen;
    uint32_t context_init;
    char debug_name[64];
};
static_assert(sizeof(CtxCreate) == 72);
struct CtxResource {
    uint32_t resource_id;
    uint32_t padding;
};
struct ResourceCreate3d {
    uint32_t resource_id;
    uint32_t target;
    uint32_t format;
    uint32_t bind;
    uint32_t width;
    uint32_t height;
    uint32_t depth;
    uint32_t array_size;
    uint32_t last_level;
    uint32_t nr_samples;
    uint32_t flags;
    uint32_t padding;
};
static_assert(sizeof(ResourceCreate3d) == 48);
struct Box {
    uint32_t x, y, z;
    uint32_t width, height, depth;
};
struct TransferHost3d {
    Box box;
    uint64_t offset;
    uint32_t resource_id;
    uint32_t level;
    uint32_t stride;
    uint32_t layer_stride;
};
static_assert(sizeof(TransferHost3d) == 48);
struct CmdSubmit {
    uint32_t size;
    /// Linux calls it padding; 5.7.6.9 counts in-fences here, which no feature bit enables yet.
    uint32_t num_in_fences;
};
struct ResourceMapBlob {
    uint32_t resource_id;
    uint32_t padding;
    uint64_t offset;
};
static_assert(sizeof(ResourceMapBlob) == 16);
inline constexpr uint32_t kMapCacheMask = 0x0f;
inline constexpr uint32_t kMapCacheNone = 0x00;
inline constexpr uint32_t kMapCacheCached = 0x01;
inline constexpr uint32_t kMapCacheUncached = 0x02;
inline constexpr uint32_t kMapCacheWriteCombined = 0x03;
struct RespMapInfo {
    ControlHeader header;
    uint32_t map_info;
    uint32_t padding;
};
static_assert(sizeof(RespMapInfo) == 32);
struct ResourceUnmapBlob {
    uint32_t resource_id;
    uint32_t padding;
};

// 5.7.6.10 cursor queue.
inline constexpr uint32_t kCursorSize = 64;  ///< px, both ways
struct CursorPosition {
    uint32_t scanout_id;
    uint32_t x;
    uint32_t y;
    uint32_t padding;
};
struct UpdateCursor {
    CursorPosition position;
    uint32_t resource_id;
    uint32_t hot_x;
    uint32_t hot_y;
    uint32_t padding;
};
static_assert(sizeof(UpdateCursor) == 32);

}  // namespace swede::wire
