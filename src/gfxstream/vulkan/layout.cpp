// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/layout.h"

#include <algorithm>

namespace swede::gfxstream::vulkan {

size_t find_command_layout(uint32_t opcode) {
    const CommandLayout* const end = kCommandLayouts + kCommandLayoutCount;
    const CommandLayout* const found = std::lower_bound(
        kCommandLayouts, end, opcode,
        [](const CommandLayout& command, uint32_t wanted) { return command.opcode < wanted; });
    const bool exact = found != end && found->opcode == opcode;
    return exact ? static_cast<size_t>(found - kCommandLayouts) : kCommandLayoutCount;
}

uint64_t length_of(const Field& field, const void* base) {
    switch (field.length) {
        case Length::kOne:
            return 1;
        case Length::kMember32:
            return load_at<uint32_t>(base, field.length_offset);
        case Length::kMember64:
            return load_at<uint64_t>(base, field.length_offset);
        case Length::kQuarter64:
            return load_at<uint64_t>(base, field.length_offset) / 4;
        case Length::kBitWords:
            return (uint64_t{load_at<uint32_t>(base, field.length_offset)} + 31) / 32;
        case Length::kPointee32:
        case Length::kPointee64:
        case Length::kNested32:
            break;
    }
    const void* const pointee = load_at<const void*>(base, field.length_offset);
    if (pointee == nullptr) return 0;
    if (field.length == Length::kPointee64) return load_at<uint64_t>(pointee, 0);
    return load_at<uint32_t>(pointee, field.nested);
}

}  // namespace swede::gfxstream::vulkan
