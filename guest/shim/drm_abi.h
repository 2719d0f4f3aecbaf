// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <drm.h>

#include <cstdint>

/// Linux's virtio-gpu ioctls (include/uapi/drm/virtgpu_drm.h) as of 6.6: the structures at their
/// longest. Debian 12's libdrm headers have the older half only, so they are written down here. A
/// caller's structure may be shorter or longer; see ioctl_table.cpp.
namespace swede::shim::drm {

inline constexpr uint32_t kMap = DRM_COMMAND_BASE + 0x01;
inline constexpr uint32_t kExecbuffer = DRM_COMMAND_BASE + 0x02;
inline constexpr uint32_t kGetparam = DRM_COMMAND_BASE + 0x03;
inline constexpr uint32_t kResourceCreate = DRM_COMMAND_BASE + 0x04;
inline constexpr uint32_t kResourceInfo = DRM_COMMAND_BASE + 0x05;
inline constexpr uint32_t kTransferFromHost = DRM_COMMAND_BASE + 0x06;
inline constexpr uint32_t kTransferToHost = DRM_COMMAND_BASE + 0x07;
inline constexpr uint32_t kWait = DRM_COMMAND_BASE + 0x08;
inline constexpr uint32_t kGetCaps = DRM_COMMAND_BASE + 0x09;
inline constexpr uint32_t kResourceCreateBlob = DRM_COMMAND_BASE + 0x0a;
inline constexpr uint32_t kContextInit = DRM_COMMAND_BASE + 0x0b;

struct Map {
    uint64_t offset;  ///< out: for mmap of the node
    uint32_t handle;
    uint32_t padding;
};
static_assert(sizeof(Map) == 16);

inline constexpr uint32_t kExecFenceIn = 1;
inline constexpr uint32_t kExecFenceOut = 2;
inline constexpr uint32_t kExecRing = 4;
struct Execbuffer {
    uint32_t flags;
    uint32_t size;  ///< bytes of commands
    uint64_t command;
    uint64_t bo_handles;
    uint32_t num_bo_handles;
    int32_t fence_fd;
    uint32_t ring;
    uint32_t syncobj_stride;
    uint32_t num_in_syncobjs;
    uint32_t num_out_syncobjs;
    uint64_t in_syncobjs;
    uint64_t out_syncobjs;
};
static_assert(sizeof(Execbuffer) == 64);

struct Getparam {
    uint64_t param;
    uint64_t value;  ///< address of an int
};

struct ResourceCreate {
    uint32_t target, format, bind;
    uint32_t width, height, depth;
    uint32_t array_size, last_level, nr_samples;
    uint32_t flags;
    uint32_t bo_handle, res_handle;  ///< out
    uint32_t size;                   ///< bytes
    uint32_t stride;                 ///< bytes
};
static_assert(sizeof(ResourceCreate) == 56);

struct ResourceInfo {
    uint32_t bo_handle;
    uint32_t res_handle;  ///< out
    uint32_t size;        ///< out, bytes
    uint32_t blob_mem;    ///< out; 0 for a 3D resource
};

struct Box {
    uint32_t x, y, z;
    uint32_t w, h, d;
};
struct Transfer {
    uint32_t bo_handle;
    Box box;
    uint32_t level;
    uint32_t offset;
    uint32_t stride;
    uint32_t layer_stride;
};
static_assert(sizeof(Transfer) == 44);

inline constexpr uint32_t kWaitNot = 1;
struct Wait {
    uint32_t handle;
    uint32_t flags;
};

struct GetCaps {
    uint32_t capset;
    uint32_t version;
    uint64_t address;
    uint32_t size;  ///< bytes
    uint32_t padding;
};
static_assert(sizeof(GetCaps) == 24);

struct ResourceCreateBlob {
    uint32_t blob_mem;
    uint32_t blob_flags;
    uint32_t bo_handle, res_handle;  ///< out
    uint64_t size;                   ///< bytes
    uint32_t padding;
    uint32_t command_size;
    uint64_t command;
    uint64_t blob_id;
    uint32_t blob_hints;  ///< Mesa 26.2's structure ends here; Linux knows none of them yet
    uint32_t padding2;
};
static_assert(sizeof(ResourceCreateBlob) == 56);

inline constexpr uint64_t kContextCapset = 1;
inline constexpr uint64_t kContextRings = 2;
inline constexpr uint64_t kContextPollRings = 3;
inline constexpr uint64_t kContextName = 4;
struct ContextParam {
    uint64_t param;
    uint64_t value;
};
struct ContextInit {
    uint32_t num_params;
    uint32_t padding;
    uint64_t params;  ///< address of ContextParam
};
static_assert(sizeof(ContextInit) == 16);

}  // namespace swede::shim::drm
