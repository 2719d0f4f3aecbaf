// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gfxstream/vulkan/object_type.h"

namespace swede::gfxstream::vulkan {

// How structures and the arguments of commands stand on the wire: tables that codegen/ writes
// (generated/layouts.cpp) and that Decoder and Reply walk. Facts: Mesa 25.0.7
// src/gfxstream/codegen.

/// What one step of a walk reads.
enum class Kind : uint8_t {
    kPlain,    ///< `size` bytes that are the same in C
    kIgnored,  ///< `size` bytes that name something of the guest's process; null or 0 in C
    kSize,     ///< a size_t: u64, big endian
    kHandle,   ///< one id -> the driver's handle
    kHandles,  ///< `size` of them, a static array
    kObject,   ///< one id -> Object* (arguments only)
    kStructs,  ///< a static array of `size` structures
    kNext,     ///< pNext: be32 0, or be32 (not 0), u32 sType and the next structure
    kString,   ///< be32 length and the bytes
    kStrings,  ///< be32 count, which must be the counter's, and that many strings
    kArray,    ///< a pointer to elements
    kPrefix,   ///< two be32 before VkGraphicsPipelineCreateInfo: hasRasterization, hasTessellation
    kNoAllocator,  ///< a marker that must be 0
};

/// What an array holds. `size` of its Field is the C size of one element.
enum class Element : uint8_t { kPlain, kSize, kHandle, kObject, kStruct };

/// Where the count of elements comes from. Offsets are in the structure that holds the pointer.
enum class Length : uint8_t {
    kOne,
    kMember32,
    kMember64,
    kPointee32,  ///< through a pointer; null: no elements
    kPointee64,
    kNested32,   ///< through a pointer, at `nested`
    kQuarter64,  ///< VkShaderModuleCreateInfo::codeSize / 4
    kBitWords,   ///< a bit for each sample: (samples + 31) / 32
};

/// Whether the elements cross at all; the marker does in any case.
enum class Condition : uint8_t {
    kAlways,
    kRasterization,
    kTessellation,
    kImageDescriptor,
    kBufferDescriptor,
    kTexelBufferDescriptor,
    kNotImageless,
};

/// Flags of a Field.
inline constexpr uint8_t kMarker = 1;     ///< a be64 stands before it: 0 is null
inline constexpr uint8_t kOutput = 2;     ///< an argument that the reply carries, too
inline constexpr uint8_t kMayBeNull = 4;  ///< of objects and handles: id 0 is allowed
inline constexpr uint8_t kIgnorable =
    8;                                  ///< handles that are unknown, or 0, read as VK_NULL_HANDLE
inline constexpr uint8_t kCopied = 16;  ///< the driver may write to what it points to
inline constexpr uint8_t kRequired = 32;  ///< has a marker, and must not be null with elements

/// Flags of a Layout.
inline constexpr uint8_t kRaw = 1;      ///< handles in structures stay the guest's ids
inline constexpr uint8_t kDropped = 2;  ///< read, and left out of the chain
/// The same in what a driver reads: of an extension that no guest is offered, so that nobody has
/// looked at what drivers make of its numbers. The reply has it.
inline constexpr uint8_t kNotOffered = 4;

enum class LayoutId : uint16_t;  // generated/layouts.h

struct Field {
    Kind kind;
    Element element;
    uint8_t flags;
    Length length;
    uint16_t offset;  ///< in the C structure
    uint16_t length_offset;
    uint16_t type;  ///< LayoutId, ObjectType, or the alignment of plain elements
    Condition condition;
    uint8_t nested;
    uint32_t size;
};

struct Layout {
    const char* name;
    uint32_t stype;         ///< 0: none
    uint32_t wire_minimum;  ///< no encoding is shorter
    uint16_t first_field;
    uint16_t field_count;
    uint16_t size;  ///< sizeof
    uint8_t alignment;
    uint8_t flags;
};

extern const Field kFields[];
extern const Layout kLayouts[];

[[nodiscard]] inline const Layout& layout_of(LayoutId id) {
    return kLayouts[static_cast<size_t>(id)];
}

/// A structure that may stand in a pNext chain; null: none with this sType.
[[nodiscard]] const Layout* find_extension(uint32_t stype);

/// A command as it stands in a packet.
struct CommandLayout {
    uint32_t opcode;
    LayoutId arguments;
    ObjectType self;  ///< first parameter; kNone for global commands
};

/// All commands, aliases under their own opcodes; sorted by opcode.
extern const CommandLayout kCommandLayouts[];
extern const size_t kCommandLayoutCount;
/// Index into kCommandLayouts; kCommandLayoutCount when there is no such command.
[[nodiscard]] size_t find_command_layout(uint32_t opcode);

template <typename T>
[[nodiscard]] T load_at(const void* base, size_t offset) {
    T value;
    std::memcpy(&value, static_cast<const std::byte*>(base) + offset, sizeof(T));
    return value;
}

/// How many elements `field` of the structure at `base` has.
[[nodiscard]] uint64_t length_of(const Field& field, const void* base);

}  // namespace swede::gfxstream::vulkan
