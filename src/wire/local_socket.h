// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// The protocol between `libswede-shim.so` in a program and the local socket of a device
/// (docs/local.md). A SOCK_STREAM connection is one open of the render node: it has its own
/// context, resource ids and fences, and all of it ends with the connection. Memory and fences
/// travel as file descriptors, one in a message at most.
///
/// A message is a Header, the structure of its type, and for some types a tail. Requests are served
/// in the order of sending; only kWait is answered out of turn. Included by the shim, so nothing of
/// the project is included here.
namespace swede::wire::local {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

inline constexpr uint32_t kVersion = 2;

/// From the program.
enum class Request : uint32_t {
    kHello = 1,    ///< first and once; answered with kWelcome
    kContextInit,  ///< one fd if it polls rings
    kCreateBlob,
    kCreate3d,
    kMap,  ///< answered with the memory's fd
    kExecbuffer,
    kWait,
    kExport,  ///< answered with an fd that another connection can import
    kImport,  ///< one fd
    kTransferToHost,
    kTransferFromHost,
    kClose,
    kCount,
};

/// From the device.
enum class Report : uint32_t {
    kWelcome = 0x100,
    kAnswer,  ///< to the request whose number it carries
    kLost,    ///< the context is lost, or the connection refused; nothing comes after it
};

struct Header {
    uint32_t type;     ///< Request or Report
    uint32_t size;     ///< bytes that follow
    uint64_t request;  ///< the program's number of the request; 0: no answer is wanted
};
static_assert(sizeof(Header) == 16);

inline constexpr uint32_t kMaxCommands = uint32_t{4} << 20;  ///< bytes of one submission
inline constexpr uint32_t kMaxResourcesInSubmission = 4096;
inline constexpr uint32_t kMaxRequestPayload = kMaxCommands + (uint32_t{64} << 10);  ///< bytes
inline constexpr uint32_t kMaxReportPayload = uint32_t{1} << 20;                     ///< bytes

struct Hello {
    uint32_t version;
    uint32_t padding;
};
static_assert(sizeof(Hello) == 8);

/// Tail: `num_params` times Param, then `num_capsets` times CapsetHeader and its data.
struct Welcome {
    uint32_t version;
    uint32_t num_params;
    uint32_t num_capsets;
    uint32_t padding;
};
static_assert(sizeof(Welcome) == 16);
/// A value of DRM_IOCTL_VIRTGPU_GETPARAM.
struct Param {
    uint32_t param;
    uint32_t value;
};
static_assert(sizeof(Param) == 8);
struct CapsetHeader {
    uint32_t id;
    uint32_t version;
    uint32_t size;  ///< bytes of data
    uint32_t padding;
};
static_assert(sizeof(CapsetHeader) == 16);

inline constexpr uint32_t kMaxRings = 64;
struct ContextInit {
    uint32_t capset;
    uint32_t num_rings;   ///< 0 to kMaxRings
    uint64_t poll_rings;  ///< bit n: each fence of ring n writes an event; of `num_rings` only
    uint32_t name_size;   ///< bytes of `name` that count
    uint32_t padding;
    char name[64];
};
static_assert(sizeof(ContextInit) == 88);

/// What a fence of a polled ring writes into the fd of kContextInit, whose other end is the file
/// that the program reads: Linux's struct drm_event with VIRTGPU_EVENT_FENCE_SIGNALED. The fd is a
/// stream socket of the program's own making. Events come in the order of the fences, whole; those
/// that the file has no room for count as fences that are not reached.
inline constexpr uint32_t kFenceEvent = 0x90000000;
struct Event {
    uint32_t type;    ///< kFenceEvent
    uint32_t length;  ///< bytes of the event
};
static_assert(sizeof(Event) == 8);

/// Tail: commands that make the memory known under `blob_id`; they run first.
struct CreateBlob {
    uint32_t blob_mem;
    uint32_t blob_flags;
    uint64_t blob_id;
    uint64_t size;  ///< bytes
};
static_assert(sizeof(CreateBlob) == 24);

/// The words of DRM_IOCTL_VIRTGPU_RESOURCE_CREATE.
struct Create3d {
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
    uint32_t size;    ///< bytes that the program means to map
    uint32_t stride;  ///< bytes
};
static_assert(sizeof(Create3d) == 48);

/// kMap, kExport, kClose.
struct ResourceOnly {
    uint32_t resource;
    uint32_t padding;
};
static_assert(sizeof(ResourceOnly) == 8);

/// A fence that the resources wait for, and that closes the fd, if one comes with the message. The
/// fd is a stream socket whose other end the program keeps and waits for its end.
inline constexpr uint32_t kExecFence = 1 << 0;
inline constexpr uint32_t kExecRing = 1 << 1;  ///< `ring` names the timeline
/// On a polled ring there is a fence in any case: without an answer, also when the commands fail.
/// Tail: `num_resources` ids, 4 bytes each, then the commands.
struct Execbuffer {
    uint32_t flags;  ///< kExec*
    uint32_t ring;
    uint32_t num_resources;
    uint32_t padding;
};
static_assert(sizeof(Execbuffer) == 16);

inline constexpr uint32_t kWaitNot = 1 << 0;  ///< answers EBUSY instead of waiting
struct Wait {
    uint32_t resource;
    uint32_t flags;
};
static_assert(sizeof(Wait) == 8);

struct Transfer {
    uint32_t resource;
    uint32_t level;
    uint32_t x, y, z;
    uint32_t width, height, depth;
    uint32_t stride;
    uint32_t layer_stride;
    uint64_t offset;  ///< bytes
};
static_assert(sizeof(Transfer) == 48);

inline constexpr uint32_t kMayRead = 1 << 0;
inline constexpr uint32_t kMayWrite = 1 << 1;
/// Tail: a sentence, when it is an error. One fd with memory.
struct Answer {
    uint32_t error;     ///< errno, or 0
    uint32_t resource;  ///< that was made or found
    uint32_t blob_mem;  ///< of that; 0 for a 3D resource
    uint32_t map_info;  ///< cache type of mapped memory
    uint64_t size;      ///< bytes, of the resource or of the memory
    uint64_t offset;    ///< of the memory in its file, bytes
    uint32_t access;    ///< kMay*, to the memory: the fd that comes along allows no more
    uint32_t padding;
};
static_assert(sizeof(Answer) == 40);

// kLost is a sentence, and nothing before it.

}  // namespace swede::wire::local
