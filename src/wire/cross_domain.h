// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// The cross-domain protocol as guests speak it (docs/cross-domain.md): commands that a context of
/// capset 5 submits, and messages that the host writes into the context's rings. Little endian,
/// natural alignment. There is no specification of others; numbers are those of rutabaga_gfx 0.1.85
/// (cross_domain_protocol.rs), of libkrun, and of the guest programs that the page names.
namespace swede::wire::cross_domain {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

inline constexpr uint32_t kCapsetId = 5;
inline constexpr uint32_t kCapsetVersion = 0;  ///< what GET_CAPSET_INFO says; the data has its own

struct Capset {
    uint32_t version;
    uint32_t supported_channels;            ///< bit n: channel type n
    uint32_t supports_dmabuf;               ///< image requirements may become dma-bufs
    uint32_t supports_external_gpu_memory;  ///< Vulkan's memory can be allocated here
};
static_assert(sizeof(Capset) == 16);
inline constexpr uint32_t kCapsetDataVersion = 1;

enum class ChannelType : uint32_t {
    kNone = 0,  ///< a context that only allocates
    kWayland = 1,
    kPipewire = 0x10,
};

enum class Command : uint8_t {
    kInit = 1,
    kGetImageRequirements = 2,
    kPoll = 3,
    kSend = 4,
    kReceive = 5,  ///< host to guest, in the channel ring
    kRead = 6,     ///< host to guest, in the channel ring
    kWrite = 7,
    kReadCreateEvent = 11,
};

/// Of commands. In messages to the guest all but `command` is zero: wayland-proxy-virtwl compares
/// the whole first word.
struct Header {
    uint8_t command;
    uint8_t ring;
    uint16_t size;  ///< bytes of the command with this header; several may follow each other
    uint32_t padding;
};
static_assert(sizeof(Header) == 8);

// INIT has four sizes, header included; none has a version that tells them apart.
inline constexpr uint32_t kInitSizeOneRing = 16;   ///< ring, channel type: Sommelier before 2023
inline constexpr uint32_t kInitSizeTwoRings = 20;  ///< query ring, channel ring, channel type
inline constexpr uint32_t kInitSizeLibkrun = 24;   ///< and the protocol's version: muvm
inline constexpr uint32_t kInitSizeSocket = 36;    ///< and a socket's UUID: rutabaga_gfx of 2026

struct InitTwoRings {
    Header header;
    uint32_t query_ring;    ///< resource id
    uint32_t channel_ring;  ///< resource id
    uint32_t channel_type;
};
static_assert(sizeof(InitTwoRings) == kInitSizeTwoRings);

struct GetImageRequirements {
    Header header;
    uint32_t width;   ///< px
    uint32_t height;  ///< px
    uint32_t drm_fourcc;
    uint32_t flags;  ///< GBM's words; a hint for those who allocate dma-bufs
};
static_assert(sizeof(GetImageRequirements) == 24);

/// The answer, at the start of the query ring, without a header.
struct ImageRequirements {
    std::array<uint32_t, 4> strides;  ///< bytes
    std::array<uint32_t, 4> offsets;  ///< bytes
    uint64_t modifier;                ///< DRM's; 0 is linear
    uint64_t size;                    ///< bytes
    uint32_t blob_id;                 ///< for RESOURCE_CREATE_BLOB
    uint32_t map_info;
    int32_t memory_index;           ///< Vulkan's memory type; -1: none
    int32_t physical_device_index;  ///< -1
};
static_assert(sizeof(ImageRequirements) == 64);

/// What a SEND or RECEIVE carries besides bytes: one for each file descriptor.
enum class IdentifierType : uint32_t {
    kVirtgpuBlob = 1,  ///< SEND: a resource's id; RECEIVE: a blob id
    kVirtgpuSync = 2,
    kReadPipe = 3,      ///< SEND: the guest reads what the host's peer writes
    kWritePipe = 4,     ///< RECEIVE: the guest writes what the host's peer reads
    kEvent = 5,         ///< an eventfd; libkrun: memory
    kEventLibkrun = 6,  ///< libkrun: an eventfd
};

/// SEND and RECEIVE begin so; `identifiers`, `types` and `sizes` follow, each an array of u32 with
/// as many entries as the dialect has, then the bytes.
struct SendReceive {
    Header header;
    uint32_t num_identifiers;
    uint32_t opaque_size;  ///< bytes after the arrays
};
static_assert(sizeof(SendReceive) == 16);

/// rutabaga_gfx 0.1.2 and guests of before February 2024 have 4, all later ones 28.
inline constexpr uint32_t kFewIdentifiers = 4;
inline constexpr uint32_t kManyIdentifiers = 28;
[[nodiscard]] constexpr uint32_t send_receive_size(uint32_t max_identifiers) {
    return static_cast<uint32_t>(sizeof(SendReceive)) + 3 * 4 * max_identifiers;
}
static_assert(send_receive_size(kFewIdentifiers) == 64);
static_assert(send_receive_size(kManyIdentifiers) == 352);

struct ReadWrite {
    Header header;
    uint32_t identifier;
    uint32_t hang_up;      ///< not 0: nothing comes after this
    uint32_t opaque_size;  ///< bytes that follow
    uint32_t padding;
};
static_assert(sizeof(ReadWrite) == 24);

struct ReadCreateEvent {
    Header header;
    uint32_t identifier;
    uint32_t padding;
};
static_assert(sizeof(ReadCreateEvent) == 16);

/// A message to the guest has these bytes at most, whatever the ring's size: guests read no more.
inline constexpr uint32_t kMaxMessage = 4096;
/// Read pipes get their ids from the guest, from here on (Sommelier, wayland-proxy-virtwl).
inline constexpr uint32_t kFirstReadPipe = 0x80000001;
/// Ids that we give (blobs, pipes, events) end below this.
inline constexpr uint32_t kIdEnd = 0x40000000;

/// The ring (virtio 1.3, ring_idx) whose fences are requests for one message; fences of others are
/// done at once.
inline constexpr uint8_t kChannelRing = 1;

inline constexpr uint32_t kMapAccessRead = 0x10;   ///< in map_info, rutabaga's
inline constexpr uint32_t kMapAccessWrite = 0x20;  ///< in map_info, rutabaga's

}  // namespace swede::wire::cross_domain
