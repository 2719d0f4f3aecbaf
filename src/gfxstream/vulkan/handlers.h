// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "gfxstream/vulkan/call.h"
#include "gfxstream/vulkan/device_data.h"
#include "gfxstream/vulkan/held_objects.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

// What the handlers of several subjects share.

[[nodiscard]] inline const InstanceFunctions& functions_of_physical(const Object& physical_device) {
    return physical_device.parent->get<InstanceData>().vk;
}
[[nodiscard]] inline const DeviceFunctions& functions_of(const Object& object) {
    return device_data(object).vk;
}

/// The object with the guest's id, for commands whose structures keep them; null, and the call has
/// failed, when there is none of the type on `device`.
[[nodiscard]] inline Object* look_up(Call& call, ObjectType type, uint64_t id,
                                     const Object& device) {
    Object* const object = call.ring.pins.pin(type, id);
    if (object != nullptr && object->device == device.device) return object;
    call.in.fail("There is no {} {:#x} here.", name_of(type), id);
    return nullptr;
}

/// Has `holder` keep what the packet names by this handle of the driver's. False, and the call has
/// failed: it has gone.
[[nodiscard]] inline bool hold(Call& call, ObjectType type, uint64_t driver, HeldObjects& holder) {
    const Object* const object = call.ring.pins.find(type, driver);
    return (object != nullptr && holder.hold(*object)) ||
           call.in.fail("A {} is used that has gone.", name_of(type));
}

/// An array of the arena; null, and the call has failed, when there is no room.
template <typename T>
[[nodiscard]] T* room_for(Call& call, size_t count) {
    T* const array = call.allocate<T>(count);
    if (array == nullptr) call.in.fail("A command needs more memory than a packet may use.");
    return array;
}

/// The driver's handles of objects, in the arena. Null, and the call has failed: no room.
template <typename T>
[[nodiscard]] T* handles_of(Call& call, std::span<Object* const> objects) {
    T* const handles = room_for<T>(call, objects.size());
    if (handles == nullptr) return nullptr;
    for (size_t i = 0; i < objects.size(); ++i)
        handles[i] = objects[i] != nullptr ? objects[i]->as<T>() : VK_NULL_HANDLE;
    return handles;
}

/// Answers a vkEnumerateX: never more than was asked for. `copy(to, from)` writes an element.
/// `count` is never null (kRequired).
template <typename From, typename To, typename Copy>
[[nodiscard]] VkResult enumerate(Call&, std::span<const From> all, uint32_t* count, To* to,
                                 Copy&& copy) {
    if (to == nullptr) {
        *count = static_cast<uint32_t>(all.size());
        return VK_SUCCESS;
    }
    const bool fits = all.size() <= *count;
    if (fits) *count = static_cast<uint32_t>(all.size());
    for (uint32_t i = 0; i < *count; ++i) copy(to[i], all[i]);
    return fits ? VK_SUCCESS : VK_INCOMPLETE;
}

template <typename T>
[[nodiscard]] VkResult enumerate(Call& call, std::span<const T> all, uint32_t* count, T* to) {
    return enumerate(call, all, count, to, [](T& place, const T& from) { place = from; });
}

}  // namespace swede::gfxstream::vulkan
