// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/reply.h"

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "gfxstream/vulkan/generated/layouts.h"

namespace swede::gfxstream::vulkan {

void Reply::bytes(const void* from, size_t size) {
    if (size == 0 || (size > capacity_ - size_ && !grow(size))) return;
    std::memcpy(bytes_.get() + size_, from, size);
    size_ += size;
}

bool Reply::grow(size_t size) {
    if (failed_ || size > kBound - size_) {
        failed_ = true;
        return false;
    }
    const size_t capacity = std::min(kBound, std::max({size_ + size, 2 * capacity_, size_t{4096}}));
    std::unique_ptr<std::byte[]> larger(new (std::nothrow) std::byte[capacity]);
    if (larger == nullptr) {
        failed_ = true;
        return false;
    }
    if (size_ != 0) std::memcpy(larger.get(), bytes_.get(), size_);
    bytes_ = std::move(larger);
    capacity_ = capacity;
    return true;
}

void Reply::clear() {
    size_ = 0;
    failed_ = false;
    if (capacity_ > kKept) {
        bytes_.reset();
        capacity_ = 0;
    }
}

void Reply::structure(const Layout& layout, const void* from) {
    const auto* const base = static_cast<const std::byte*>(from);
    const Field* const first = kFields + layout.first_field;
    for (uint16_t i = 0; i < layout.field_count && !failed_; ++i) field(first[i], base);
}

void Reply::outputs(const Layout& arguments, const void* from) {
    const auto* const base = static_cast<const std::byte*>(from);
    const Field* const first = kFields + arguments.first_field;
    for (uint16_t i = 0; i < arguments.field_count && !failed_; ++i) {
        if ((first[i].flags & kOutput) != 0) field(first[i], base);
    }
}

void Reply::field(const Field& field, const std::byte* base) {
    static constexpr uint64_t kZero = 0;
    const std::byte* const place = base + field.offset;
    switch (field.kind) {
        case Kind::kPlain:
            bytes(place, field.size);
            break;
        case Kind::kIgnored:
            bytes(&kZero, (field.flags & kMarker) != 0 ? sizeof(kZero) : field.size);
            break;
        case Kind::kSize:
            be64(load_at<uint64_t>(place, 0));
            break;
        case Kind::kHandle:
            bytes(place, sizeof(uint64_t));
            break;
        case Kind::kHandles:
            bytes(place, sizeof(uint64_t) * field.size);
            break;
        case Kind::kStructs: {
            const Layout& layout = kLayouts[field.type];
            for (uint32_t i = 0; i < field.size; ++i) {
                structure(layout, place + size_t{layout.size} * i);
            }
            break;
        }
        case Kind::kNext:
            next(load_at<const void*>(place, 0));
            break;
        case Kind::kArray:
            array(field, base);
            break;
        case Kind::kString:
        case Kind::kStrings:
        case Kind::kPrefix:
        case Kind::kObject:
        case Kind::kNoAllocator:
            failed_ = true;  // no output has these; a test looks
            break;
    }
}

void Reply::array(const Field& field, const std::byte* base) {
    const auto* const from = load_at<const std::byte*>(base, field.offset);
    if ((field.flags & kMarker) != 0) marker(from != nullptr);
    if (from == nullptr) return;
    const uint64_t count = length_of(field, base);
    if (field.element == Element::kStruct) {
        const Layout& layout = kLayouts[field.type];
        for (uint64_t i = 0; i < count && !failed_; ++i) structure(layout, from + layout.size * i);
        return;
    }
    if (count > kBound / field.size) {
        failed_ = true;
    } else if (field.element == Element::kSize) {
        for (uint64_t i = 0; i < count; ++i) be64(load_at<uint64_t>(from, 8 * i));
    } else {
        bytes(from, static_cast<size_t>(count) * field.size);
    }
}

void Reply::next(const void* structure_or_null) {
    const Layout* layout = nullptr;
    const auto* structure = static_cast<const VkBaseInStructure*>(structure_or_null);
    // What a handler put into the chain for itself stays here.
    while (structure != nullptr) {
        layout = find_extension(static_cast<uint32_t>(structure->sType));
        if (layout != nullptr) break;
        structure = structure->pNext;
    }
    be32(layout != nullptr ? layout->size : 0);
    if (layout == nullptr) return;
    u32(layout->stype);
    this->structure(*layout, structure);
}

}  // namespace swede::gfxstream::vulkan
