// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/run.h"

namespace swede::gfxstream::vulkan {

bool reply(Call& call, const Layout* layout, const void* arguments) {
    if (call.in.failed()) return false;
    if (layout != nullptr) call.out.outputs(*layout, arguments);
    return !call.out.failed() || call.in.fail("A reply is longer than {} bytes.", Reply::kBound);
}

bool absent(Call& call, const char* name) {
    return call.in.fail("{} is called, which the driver does not offer to this device.", name);
}

uint64_t adopt(Call& call, Object& parent, ObjectType type, uint64_t made, VkResult* result) {
    if (*result != VK_SUCCESS) return 0;
    const Object* const object = call.session.table().add(type, made, &parent, parent.device);
    if (object != nullptr) return object->id;
    Object homeless{.type = type,
                    .id = 0,
                    .driver = made,
                    .parent = &parent,
                    .device = parent.device,
                    .data = nullptr};
    destroy_driver_object(homeless);
    *result = VK_ERROR_OUT_OF_HOST_MEMORY;
    return 0;
}

void forget(Call& call, Object* object) {
    if (object != nullptr) call.session.table().remove(object->id, object->type);
}

void destroy_device(Object& object) {
    auto& data = object.get<DeviceData>();
    data.pipelines.destroy(data.vk, object.as<VkDevice>());
    const auto function = data.vk.vkDestroyDevice;
    if (function != nullptr) function(object.as<VkDevice>(), nullptr);
}

void destroy_instance(Object& object) {
    const auto function = instance_functions(object).vkDestroyInstance;
    if (function != nullptr) function(object.as<VkInstance>(), nullptr);
}

void free_command_buffer(Object& object) {
    const auto function = device_functions(object).vkFreeCommandBuffers;
    if (function == nullptr) return;
    const auto handle = object.as<VkCommandBuffer>();
    function(object.device->as<VkDevice>(), object.parent->as<VkCommandPool>(), 1, &handle);
}

}  // namespace swede::gfxstream::vulkan
