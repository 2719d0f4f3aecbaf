// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "unit/gfxstream/world.h"

namespace swede::gfxstream::vulkan {

/// For packets that name objects of where they were recorded: puts one of `world` of the same type
/// everywhere in `bytes` where the object is named that the decoder missed. It says "There is no
/// VkDevice 0x5000 here." False when it said something else.
inline bool replace_missing_id(std::vector<std::byte>& bytes, const std::string& sentence,
                               const World& world) {
    char name[64];
    unsigned long missing = 0;
    if (std::sscanf(sentence.c_str(), "There is no %63s %lx here.", name, &missing) != 2)
        return false;
    bool is_replaced = false;
    for (size_t type = 1; type < kObjectTypeCount; ++type) {
        if (std::string_view(name_of(static_cast<ObjectType>(type))) != name) continue;
        const uint64_t from = missing;
        const uint64_t to = world.id(static_cast<ObjectType>(type));
        for (size_t at = 0; at + sizeof(from) <= bytes.size(); ++at) {
            if (std::memcmp(bytes.data() + at, &from, sizeof(from)) != 0) continue;
            std::memcpy(bytes.data() + at, &to, sizeof(to));
            is_replaced = true;
        }
    }
    return is_replaced;
}

}  // namespace swede::gfxstream::vulkan
