// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

/// What a snapshot is on disk: one file in the folder that the VMM names, a FileHeader, then for
/// each resource in order of ids a Record and, of a 2D resource, its pixels row by row without
/// gaps; at the end a checksum of all bytes before it. Little-endian. Whoever reads one trusts none
/// of it (invariant I14); the checksum finds broken disks, not enemies.
namespace swede::c_abi::snapshot {

inline constexpr const char* kFileName = "swede-2d.snapshot";
inline constexpr uint64_t kMagic = 0x31'74'6f'6f'72'44'57'53;  // "SWDroot1"
inline constexpr uint32_t kVersion = 1;

struct FileHeader {
    uint64_t magic;
    uint32_t version;
    uint32_t num_resources;
};
static_assert(sizeof(FileHeader) == 16);

inline constexpr uint32_t kKind2d = 1;
inline constexpr uint32_t kKindGuestBlob = 2;

struct Record {
    uint32_t id;
    uint32_t kind;
    uint32_t format;      ///< VIRTIO_GPU_FORMAT_*, of a 2D resource
    uint32_t width;       ///< px, of a 2D resource
    uint32_t height;      ///< px, of a 2D resource
    uint32_t blob_flags;  ///< of a blob
    uint64_t size;        ///< bytes, of a blob
};
static_assert(sizeof(Record) == 32);

/// FNV-1a of 64 bits.
class Checksum {
  public:
    void add(const void* bytes, uint64_t size) {
        const auto* const from = static_cast<const uint8_t*>(bytes);
        for (uint64_t i = 0; i < size; ++i) value_ = (value_ ^ from[i]) * 0x100000001b3;
    }
    [[nodiscard]] uint64_t value() const { return value_; }

  private:
    uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace swede::c_abi::snapshot
