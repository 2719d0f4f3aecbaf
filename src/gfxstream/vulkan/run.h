// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>

#include "gfxstream/vulkan/call.h"
#include "gfxstream/vulkan/commands.h"
#include "gfxstream/vulkan/device_data.h"
#include "gfxstream/vulkan/generated/dispatch.h"
#include "gfxstream/vulkan/generated/layouts.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {

// What the generated run_vkX are made of.

/// Decodes the arguments into `arguments` (an args::vkX).
[[nodiscard]] inline bool start(Call& call, LayoutId layout, ObjectType self, void* arguments) {
    return call.in.arguments(layout_of(layout), self, call.command_buffer, arguments);
}

/// Writes the output parameters, if `layout` is not null.
[[nodiscard]] bool reply(Call& call, const Layout* layout, const void* arguments);

template <typename T>
[[nodiscard]] bool reply(Call& call, const Layout* layout, const void* arguments, T result) {
    static_assert(std::is_scalar_v<T>);
    if (!reply(call, layout, arguments)) return false;
    call.out.bytes(&result, sizeof(result));
    return !call.out.failed() || call.in.fail("A reply is longer than {} bytes.", Reply::kBound);
}

/// The driver has no such function: its extension is not enabled, or the version is too old.
bool absent(Call& call, const char* name);

[[nodiscard]] inline const InstanceFunctions& instance_functions(const Object& instance) {
    return instance.get<InstanceData>().vk;
}
[[nodiscard]] inline const InstanceFunctions& physical_functions(const Object& physical_device) {
    return instance_functions(*physical_device.parent);
}
[[nodiscard]] inline const DeviceFunctions& device_functions(const Object& object) {
    return object.device->get<DeviceData>().vk;
}

template <typename T>
[[nodiscard]] T driver(const Object* object) {
    return object != nullptr ? object->as<T>() : VK_NULL_HANDLE;
}

/// Registers what a pass-through vkCreateX made of `parent`; 0 when it failed, or when the table is
/// full: then the object goes and `result` tells.
[[nodiscard]] uint64_t adopt(Call& call, Object& parent, ObjectType type, uint64_t made,
                             VkResult* result);
template <typename T>
[[nodiscard]] uint64_t adopt(Call& call, Object& parent, T made, VkResult* result) {
    return adopt(call, parent, kObjectTypeOf<T>,
                 static_cast<uint64_t>(reinterpret_cast<uintptr_t>(made)), result);
}

/// A pass-through vkDestroyX: the id goes at once, the driver is called when nobody uses it.
void forget(Call& call, Object* object);

// For destroy_driver_object.
template <typename T, typename Function>
void destroy(Object& object, Function DeviceFunctions::* member) {
    const Function function = device_functions(object).*member;
    if (function != nullptr) {
        function(object.device->as<VkDevice>(), object.as<T>(), nullptr);
    }
}
void destroy_device(Object& object);
void destroy_instance(Object& object);
void free_command_buffer(Object& object);

}  // namespace swede::gfxstream::vulkan
