// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/decoder.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstring>

#include "gfxstream/vulkan/generated/layouts.h"

namespace swede::gfxstream::vulkan {

namespace {

template <typename T>
void store(void* place, T value) {
    std::memcpy(place, &value, sizeof(value));
}

/// memcpy() without the call, for the sizes that most fields have.
void copy_field(std::byte* to, const std::byte* from, size_t size) {
    if (size == sizeof(uint32_t)) return store(to, load_at<uint32_t>(from, 0));
    if (size == sizeof(uint64_t)) return store(to, load_at<uint64_t>(from, 0));
    std::memcpy(to, from, size);
}

/// Values of Decoder::fields' `prefix`.
constexpr unsigned kHasRasterization = 1;
constexpr unsigned kHasTessellation = 2;

[[nodiscard]] bool holds(Condition condition, const std::byte* base, unsigned prefix) {
    switch (condition) {
        case Condition::kAlways:
            return true;
        case Condition::kRasterization:
            return (prefix & kHasRasterization) != 0;
        case Condition::kTessellation:
            return (prefix & kHasTessellation) != 0;
        case Condition::kNotImageless:
            return (load_at<VkFlags>(base, offsetof(VkFramebufferCreateInfo, flags)) &
                    VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT) == 0;
        default:
            break;
    }
    switch (load_at<VkDescriptorType>(base, offsetof(VkWriteDescriptorSet, descriptorType))) {
        case VK_DESCRIPTOR_TYPE_SAMPLER:
        case VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER:
        case VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE:
        case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE:
        case VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT:
            return condition == Condition::kImageDescriptor;
        case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
        case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
        case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
        case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
            return condition == Condition::kBufferDescriptor;
        case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
        case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
            return condition == Condition::kTexelBufferDescriptor;
        default:
            return false;
    }
}

}  // namespace

inline Object* Decoder::find(ObjectType type, uint64_t id) {
    Object* const object = pins_.pin(type, id);
    if (object == nullptr) return nullptr;
    const bool foreign =
        device_ != nullptr && object->device != nullptr && object->device != device_;
    return foreign ? nullptr : object;
}

inline void* Decoder::room(uint64_t count, size_t size, size_t alignment) {
    void* const to = count <= Arena::kBound / size
                         ? arena_.allocate(static_cast<size_t>(count) * size, alignment)
                         : nullptr;
    if (to == nullptr) fail("A packet decodes to more than {} bytes.", Arena::kBound);
    return to;
}

bool Decoder::fail_null(ObjectType type) {
    return fail("A {} is null that Vulkan needs.", name_of(type));
}

Object* Decoder::object(ObjectType type, bool may_be_null) {
    const uint64_t id = u64();
    if (failed_ || (id == 0 && may_be_null)) return nullptr;
    Object* const object = id != 0 ? find(type, id) : nullptr;
    if (id == 0)
        fail_null(type);
    else if (object == nullptr)
        fail("There is no {} {:#x} here.", name_of(type), id);
    return object;
}

inline bool Decoder::handle(const Field& field, std::byte* place) {
    const uint64_t id = u64();
    if (failed_) return false;
    uint64_t value = 0;
    const auto type = static_cast<ObjectType>(field.type);
    if (type == ObjectType::kDescriptorSet) [[unlikely]]
        sets_ = {nullptr, sets_[0]};
    if (id == 0) {
        if (handles_ == Handles::kDriver && (field.flags & (kMayBeNull | kIgnorable)) == 0)
            return fail_null(type);
    } else if (handles_ == Handles::kDriver) {
        if (const Object* const object = find(type, id)) {
            value = object->driver;
            if (type == ObjectType::kDescriptorSet) [[unlikely]]
                sets_[0] = object;
        } else if ((field.flags & kIgnorable) == 0) {
            return fail("There is no {} {:#x} here.", name_of(type), id);
        }
    } else if (handles_ == Handles::kGuest) {
        value = id;
    }
    store(place, value);
    return true;
}

bool Decoder::arguments(const Layout& layout, ObjectType self, Object* command_buffer, void* to) {
    std::memset(to, 0, layout.size);
    handles_ = (layout.flags & kRaw) != 0 ? Handles::kGuest : Handles::kDriver;
    Object* first = nullptr;
    if ((self == ObjectType::kCommandBuffer) != (command_buffer != nullptr)) {
        return fail("{} is sent {} a command buffer.", layout.name,
                    command_buffer != nullptr ? "into" : "outside of");
    }
    if (self == ObjectType::kCommandBuffer) {
        first = command_buffer;
    } else if (self != ObjectType::kNone) {
        first = object(self, false);
        if (first == nullptr) return false;
    }
    device_ = first != nullptr ? first->device : nullptr;
    store(to, first);
    if (!fields(layout, to)) return false;
    if (at_ != end_) return fail("{} has {} bytes too many.", layout.name, remaining());
    return true;
}

bool Decoder::structure(const Layout& layout, void* to) {
    return fields(layout, to);
}

bool Decoder::fields(const Layout& layout, void* structure) {
    auto* const base = static_cast<std::byte*>(structure);
    unsigned prefix = 0;
    const Field* const end = kFields + layout.first_field + layout.field_count;
    for (const Field* at = kFields + layout.first_field; at != end; ++at) {
        if (at->kind == Kind::kPlain && (at->flags & kOutput) == 0) [[likely]] {
            if (remaining() < at->size) return too_short(at->size);
            copy_field(base + at->offset, at_, at->size);
            at_ += at->size;
        } else if (at->kind == Kind::kPrefix) {
            if (be32() != 0) prefix |= kHasRasterization;
            if (be32() != 0) prefix |= kHasTessellation;
        } else if (!field(*at, base, prefix)) {
            return false;
        }
    }
    if (layout.stype != 0) store(base, layout.stype);  // whatever the application wrote
    if (failed_) return false;
    const Check check =
        checks_ != nullptr ? (*checks_)[static_cast<size_t>(&layout - kLayouts)] : nullptr;
    return check == nullptr || check(*this, structure);
}

bool Decoder::field(const Field& field, std::byte* base, unsigned prefix) {
    std::byte* const place = base + field.offset;
    switch (field.kind) {
        case Kind::kPlain:
        case Kind::kPrefix:
            break;
        case Kind::kIgnored:
            if ((field.flags & kMarker) != 0 && be64() == 0) return !failed_;
            return take(field.size) != nullptr;
        case Kind::kSize:
            store(place, be64());
            return !failed_;
        case Kind::kHandle:
            return handle(field, place);
        case Kind::kHandles:
            for (uint32_t i = 0; i < field.size; ++i) {
                if (!handle(field, place + size_t{8} * i)) return false;
            }
            return true;
        case Kind::kObject:
            store(place,
                  object(static_cast<ObjectType>(field.type), (field.flags & kMayBeNull) != 0));
            return !failed_;
        case Kind::kStructs: {
            const Layout& layout = kLayouts[field.type];
            for (uint32_t i = 0; i < field.size; ++i) {
                if (!fields(layout, place + size_t{layout.size} * i)) return false;
            }
            return true;
        }
        case Kind::kNext:
            return next(place);
        case Kind::kString:
            if ((field.flags & kMarker) != 0 && be64() == 0) return !failed_;
            return string(place);
        case Kind::kStrings:
            return strings(field, base);
        case Kind::kArray: {
            if ((field.flags & kOutput) == 0) return array(field, base, prefix);
            const Handles handles = std::exchange(handles_, Handles::kNone);
            const bool done = array(field, base, prefix);
            handles_ = handles;
            return done;
        }
        case Kind::kNoAllocator:
            if (be64() == 0) return !failed_;
            return fail("An allocator is sent, which no guest does.");
    }
    return fail("A field has no meaning here.");
}

bool Decoder::array(const Field& field, std::byte* base, unsigned prefix) {
    const bool null = (field.flags & kMarker) != 0 && be64() == 0;
    if (failed_ || !holds(field.condition, base, prefix)) return !failed_;
    if (null) {
        // Drivers follow it.
        const bool wanted = (field.flags & kRequired) != 0 && length_of(field, base) != 0;
        return !wanted || fail("A pointer is null that Vulkan needs.");
    }
    return elements(field, length_of(field, base), base);
}

bool Decoder::elements(const Field& field, uint64_t count, std::byte* base) {
    std::byte* const place = base + field.offset;
    if (failed_) return false;
    if (field.element == Element::kStruct) {
        const Layout& layout = kLayouts[field.type];
        if (count > remaining() / layout.wire_minimum) return too_short(count);
        auto* const to = static_cast<std::byte*>(room(count, layout.size, layout.alignment));
        if (to == nullptr) return false;
        store(place, to);
        if (++depth_ > kMaxDepth) return fail("Structures nest deeper than {}.", kMaxDepth);
        for (uint64_t i = 0; i < count; ++i) {
            if (!fields(layout, to + layout.size * i)) return false;
        }
        --depth_;
        return true;
    }
    // All other elements have one size on both sides.
    if (count > remaining() / field.size) return too_short(count);
    if (field.element == Element::kPlain) {
        const size_t size = static_cast<size_t>(count) * field.size;
        const size_t alignment = field.type;
        if ((field.flags & kCopied) == 0 && size != 0 &&
            reinterpret_cast<uintptr_t>(at_) % alignment == 0) {
            store(place, at_);
            at_ += size;
            return true;
        }
        void* const to = room(count, field.size, alignment);
        if (to == nullptr) return false;
        if (size != 0) std::memcpy(to, at_, size);
        at_ += size;
        store(place, to);
        return true;
    }
    auto* const to = static_cast<std::byte*>(room(count, 8, 8));
    if (to == nullptr) return false;
    store(place, to);
    for (uint64_t i = 0; i < count && !failed_; ++i) {
        std::byte* const slot = to + 8 * i;
        if (field.element == Element::kSize) {
            store(slot, be64());
        } else if (field.element == Element::kHandle) {
            handle(field, slot);
        } else {
            store(slot,
                  object(static_cast<ObjectType>(field.type), (field.flags & kMayBeNull) != 0));
        }
    }
    return !failed_;
}

bool Decoder::next(std::byte* place) {
    if (be32() == 0) return !failed_;
    const uint32_t stype = u32();
    if (failed_) return false;
    const Layout* const layout = find_extension(stype);
    if (layout == nullptr) return fail("A chain holds a structure of the unknown type {}.", stype);
    void* const structure = room(1, layout->size, layout->alignment);
    if (structure == nullptr) return false;
    if (++depth_ > kMaxDepth) return fail("Structures nest deeper than {}.", kMaxDepth);
    if (!fields(*layout, structure)) return false;
    --depth_;
    const bool unwanted = (layout->flags & kNotOffered) != 0 && checks_ != nullptr &&
                          handles_ != Handles::kNone;  // that is of outputs
    store(place, (layout->flags & kDropped) == 0 && !unwanted
                     ? structure
                     : load_at<void*>(structure, offsetof(VkBaseInStructure, pNext)));
    return true;
}

bool Decoder::string(std::byte* place) {
    const uint32_t size = be32();
    const std::byte* const bytes = take(size);
    if (bytes == nullptr) return false;
    auto* const text = static_cast<char*>(room(uint64_t{size} + 1, 1, 1));
    if (text == nullptr) return false;
    std::memcpy(text, bytes, size);
    store(place, text);
    return true;
}

bool Decoder::strings(const Field& field, std::byte* base) {
    const uint32_t count = be32();
    if (failed_) return false;
    if (count != length_of(field, base)) {
        return fail("A list of {} strings is counted as {}.", count, length_of(field, base));
    }
    if (count > remaining() / sizeof(uint32_t)) return too_short(count);
    auto* const list = static_cast<std::byte*>(room(count, sizeof(char*), alignof(char*)));
    if (list == nullptr) return false;
    for (uint32_t i = 0; i < count; ++i) {
        if (!string(list + sizeof(char*) * i)) return false;
    }
    store(base + field.offset, list);
    return true;
}

bool Decoder::too_short(uint64_t wanted) {
    return fail("A packet ends with {} bytes where {} (bytes or elements) are to come.",
                remaining(), wanted);
}

void Decoder::set_failed(std::string sentence) {
    failed_ = true;
    at_ = end_;
    sentence_ = std::move(sentence);
}

}  // namespace swede::gfxstream::vulkan
