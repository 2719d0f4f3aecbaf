// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "gfxstream/vulkan/object_type.h"  // generated: enum class ObjectType, kObjectTypeOf<VkX>

namespace swede::gfxstream::vulkan {

/// What handlers keep of an object beside the driver's handle (sizes, parents of its own, state).
struct ObjectData {
    virtual ~ObjectData() = default;
};

/// A Vulkan object that a guest made, under an id of its own: {type, generation, index} in one u64,
/// never a pointer, never 0. Lives in the Session's HandleTable; pinned while a command uses it.
/// Destroying unlinks the id at once; the driver is called when the last pin is gone.
struct Object {
    ObjectType type{};
    uint64_t id = 0;
    uint64_t driver = 0;       ///< the driver's handle (dispatchable ones: the pointer)
    Object* parent = nullptr;  ///< device of a device object, pool of a pool's child, instance...;
                               ///< held by a pin for as long as this lives
    Object* device = nullptr;  ///< the VkDevice it belongs to; itself for a device; null above
    std::unique_ptr<ObjectData> data;
    /// The recording that named it last (CommandBufferData::name), so that each lists it once.
    std::atomic<uint64_t> named_by = 0;

    template <typename T>
    [[nodiscard]] T as() const {  ///< the driver's handle: object.as<VkBuffer>()
        return reinterpret_cast<T>(static_cast<uintptr_t>(driver));
    }
    /// The handlers' data; the type of an object fixes the class, so it is a static cast.
    template <typename T>
    [[nodiscard]] T& get() const {
        return static_cast<T&>(*data);
    }
};

}  // namespace swede::gfxstream::vulkan
