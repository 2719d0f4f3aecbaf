// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"
#include "wire/virtio_gpu.h"

/// The private protocol between the device and a renderer process, over a SOCK_STREAM socket. Both
/// ends are the same build, so it has one version and no negotiation; both treat the other as
/// hostile nevertheless. A message is a Header, the structure of its type, and for some types a
/// tail; memory travels as fds, ids and offsets, never as pointers.
namespace swede::renderer_process {

inline constexpr uint32_t kProtocolVersion = 1;

/// To the renderer process.
enum class Request : uint32_t {
    kAddRegion = 1,
    kRemoveRegion,
    kAddBacking,
    kDropBacking,
    kCreateContext,
    kDestroyContext,
    kAttachResource,
    kDetachResource,
    kCreateBlob,
    kCreate3d,
    kImport3d,
    kAttachBacking,
    kDetachBacking,
    kDestroyResource,
    kExportBlob,
    kPlaceBlob,
    kDisplaceBlob,
    kTransferToHost,
    kTransferFromHost,
    kSubmit,
    kCreateFence,
    kReset,
    kPing,
    kCount,
};

/// From the renderer process.
enum class Report : uint32_t {
    kHello = 0x100,  ///< once, first: what it can do
    kAnswer,         ///< to the request whose number it carries
    kFencesDone,
    kContextLost,
};

struct Header {
    uint32_t type;     ///< Request or Report
    uint32_t size;     ///< bytes that follow
    uint64_t request;  ///< number of the request that wants, or is, an answer; else 0
};
static_assert(sizeof(Header) == 16);

inline constexpr size_t kMaxRequestPayload = size_t{64}
                                             << 20;  ///< bytes: a backing of 2.7 million parts
inline constexpr size_t kMaxReportPayload = size_t{1} << 20;  ///< bytes
inline constexpr size_t kMaxFdsInMessage = 1;
inline constexpr size_t kMaxCapsets = 16;
inline constexpr uint32_t kMaxCapsetId = 63;  ///< Linux refuses more (MAX_CAPSET_ID)

/// The MessageSocket rule for both directions.
[[nodiscard]] inline Result<uint64_t> payload_size(std::span<const std::byte> header) {
    return SWEDE_TRY(ByteReader(header).read<Header>()).size;
}

/// One fd: the file behind the region.
struct AddRegion {
    uint64_t id;
    uint64_t address;    ///< guest-physical, bytes
    uint64_t size;       ///< bytes
    uint64_t fd_offset;  ///< bytes
    uint32_t writable;
    uint32_t padding;
};
static_assert(sizeof(AddRegion) == 40);

/// Answered once nothing in the process can reach the region any more.
struct RemoveRegion {
    uint64_t id;
};

/// Tail: `count` times Segment.
struct AddBacking {
    uint64_t id;  ///< not 0
    uint64_t count;
};
struct Segment {
    uint64_t region;
    uint64_t offset;  ///< in the region, bytes
    uint64_t size;    ///< bytes
};
static_assert(sizeof(Segment) == 24);

struct DropBacking {
    uint64_t id;
};

struct CreateContext {
    uint32_t context;
    uint32_t capset;
    uint32_t name_size;  ///< bytes of `name` that count
    char name[64];
};
static_assert(sizeof(CreateContext) == 76);

struct ContextOnly {
    uint32_t context;
    uint32_t padding;
};

struct ResourceOnly {
    uint32_t resource;
    uint32_t padding;
};

struct AttachResource {
    uint32_t context;
    uint32_t resource;
    uint64_t size;     ///< bytes
    uint64_t backing;  ///< id, or 0
};
static_assert(sizeof(AttachResource) == 24);

struct DetachResource {
    uint32_t context;
    uint32_t resource;
};

struct CreateBlob {
    uint32_t context;
    uint32_t resource;
    uint32_t blob_mem;
    uint32_t blob_flags;
    uint64_t blob_id;
    uint64_t size;     ///< bytes
    uint64_t backing;  ///< id, or 0
};
static_assert(sizeof(CreateBlob) == 40);

/// One fd: the memory.
struct Import3d {
    wire::ResourceCreate3d request;
    uint64_t offset;  ///< bytes
    uint64_t size;    ///< bytes
};
static_assert(sizeof(Import3d) == 64);

struct AttachBacking {
    uint32_t resource;
    uint32_t padding;
    uint64_t backing;  ///< id
};
static_assert(sizeof(AttachBacking) == 16);

/// One fd: the window's memory file.
struct PlaceBlob {
    uint32_t resource;
    uint32_t padding;
    uint64_t offset;  ///< bytes
    uint64_t size;    ///< bytes
};
static_assert(sizeof(PlaceBlob) == 24);

struct Transfer {
    uint32_t context;
    uint32_t resource;
    wire::TransferHost3d transfer;
};
static_assert(sizeof(Transfer) == 56);

/// Tail: the commands.
struct Submit {
    uint32_t context;
    int32_t ring;  ///< kNoRing: the context's global timeline
};

inline constexpr int32_t kNoRing = -1;

struct CreateFence {
    uint64_t ticket;
    uint64_t fence_id;
    uint32_t context;
    int32_t ring;  ///< or kNoRing
};
static_assert(sizeof(CreateFence) == 24);

/// Tail: `num_capsets` times CapsetHeader and its data.
struct Hello {
    uint32_t version;
    uint32_t num_capsets;
    uint32_t owns_3d_resources;
    uint32_t padding;
};
struct CapsetHeader {
    uint32_t id;
    uint32_t version;
    uint32_t size;  ///< bytes of data
    uint32_t padding;
};

/// Tail: text of the error, if it is one. One fd with an exported blob.
struct Answer {
    uint32_t failed = 0;    ///< 0 or 1
    uint32_t code = 0;      ///< ErrorCode, when failed
    uint32_t map_info = 0;  ///< of a created blob
    uint32_t stride = 0;    ///< of an exported 3D resource, bytes
    uint64_t offset = 0;    ///< of an exported blob, bytes
    uint64_t size = 0;      ///< of an exported blob, bytes
};
static_assert(sizeof(Answer) == 32);

// FencesDone is a tail of one or more tickets, 8 bytes each, and nothing before it.

/// Tail: text of the error.
struct ContextLost {
    uint32_t context;
    uint32_t code;  ///< ErrorCode
};

}  // namespace swede::renderer_process
