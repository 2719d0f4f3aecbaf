// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "gfxstream/arena.h"
#include "gfxstream/vulkan/decoder.h"
#include "gfxstream/vulkan/pins.h"
#include "unit/gfxstream/guest_support.h"

namespace swede::gfxstream::vulkan {

/// What a decoder needs, and two objects of each type, all of one device except for the second
/// device. Their driver handles are their ids: what is decoded can be encoded again and compared.
struct World {
    World() : table([](Object&) {}), pins(&table) {
        device = add(ObjectType::kDevice);
        other_device = add(ObjectType::kDevice);
        for (size_t i = 1; i < kObjectTypeCount; ++i) {
            const auto type = static_cast<ObjectType>(i);
            if (type == ObjectType::kDevice) continue;
            add(type);
            Object* const second = add(type);
            if (type == ObjectType::kCommandBuffer) command_buffer = second;
        }
    }

    /// An object of `type` that random structures may name.
    Object* add(ObjectType type) {
        const bool below_device =
            type != ObjectType::kInstance && type != ObjectType::kPhysicalDevice;
        Object* const object = table.add(type, 0, nullptr, below_device ? device : nullptr);
        object->driver = object->id;
        objects.push_back(object);
        return object;
    }
    [[nodiscard]] uint64_t id(ObjectType type) const {
        for (const Object* const object : objects) {
            if (object->type == type) return object->id;
        }
        return 0;
    }
    void offer_to(guest::Random& random) const {
        for (const Object* const object : objects) {
            if (object != other_device) random.offer(object->type, object->id);
        }
    }
    [[nodiscard]] Decoder decoder(std::span<const std::byte> bytes) {
        return Decoder(bytes, arena, pins);
    }
    void forget() {
        arena.reset();
        pins.release_all();
    }

    HandleTable table;
    Pins pins;
    Arena arena;
    std::vector<Object*> objects;
    Object* device = nullptr;
    Object* other_device = nullptr;
    Object* command_buffer = nullptr;
};

}  // namespace swede::gfxstream::vulkan
