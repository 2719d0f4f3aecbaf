// SPDX-License-Identifier: Apache-2.0
// Instances and what they list. A guest's instance is one of the host's, with nothing of the
// guest's in it but the application's name, which drivers know workarounds by.
#include <array>
#include <cstring>

#include "base/log.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

log::Module log_("gfxstream");

/// Each loads every driver of the host.
constexpr size_t kMaxInstances = 64;

/// What both guests take from the host; the others they have by themselves. All are a part of 1.1.
constexpr std::array<VkExtensionProperties, 4> kInstanceExtensions{{
    {VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_EXTENSION_NAME,
     VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_SPEC_VERSION},
    {VK_KHR_EXTERNAL_MEMORY_CAPABILITIES_EXTENSION_NAME,
     VK_KHR_EXTERNAL_MEMORY_CAPABILITIES_SPEC_VERSION},
    {VK_KHR_EXTERNAL_SEMAPHORE_CAPABILITIES_EXTENSION_NAME,
     VK_KHR_EXTERNAL_SEMAPHORE_CAPABILITIES_SPEC_VERSION},
    {VK_KHR_EXTERNAL_FENCE_CAPABILITIES_EXTENSION_NAME,
     VK_KHR_EXTERNAL_FENCE_CAPABILITIES_SPEC_VERSION},
}};

}  // namespace

VkResult Session::vkEnumerateInstanceVersion(Call& call, uint32_t* pApiVersion) {
    if (pApiVersion == nullptr) {
        call.in.fail("A version is asked for without a place for it.");
        return VK_ERROR_UNKNOWN;
    }
    *pApiVersion = host_.loader().version();
    return VK_SUCCESS;
}

VkResult Session::vkEnumerateInstanceExtensionProperties(Call& call, const char* pLayerName,
                                                         uint32_t* pPropertyCount,
                                                         VkExtensionProperties* pProperties) {
    if (pLayerName != nullptr) return VK_ERROR_LAYER_NOT_PRESENT;
    return enumerate<VkExtensionProperties>(call, kInstanceExtensions, pPropertyCount, pProperties);
}

VkResult Session::vkEnumerateInstanceLayerProperties(Call& call, uint32_t* pPropertyCount,
                                                     VkLayerProperties* pProperties) {
    return enumerate<VkLayerProperties>(call, {}, pPropertyCount, pProperties);
}

VkResult Session::vkEnumerateDeviceLayerProperties(Call& call, Object&, uint32_t* pPropertyCount,
                                                   VkLayerProperties* pProperties) {
    return enumerate<VkLayerProperties>(call, {}, pPropertyCount, pProperties);
}

VkResult Session::vkCreateInstance(Call& call, const VkInstanceCreateInfo* pCreateInfo,
                                   uint64_t* pInstance) {
    const Loader& loader = host_.loader();
    const std::lock_guard lock(instances_mutex_);
    if (instances_.size() >= kMaxInstances) return VK_ERROR_OUT_OF_HOST_MEMORY;

    VkApplicationInfo application{};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    if (const VkApplicationInfo* const theirs = pCreateInfo->pApplicationInfo) {
        application.pApplicationName = theirs->pApplicationName;
        application.applicationVersion = theirs->applicationVersion;
        application.pEngineName = theirs->pEngineName;
        application.engineVersion = theirs->engineVersion;
    }
    application.apiVersion = loader.version();  // we need 1.1, whatever the application wants
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    std::unique_ptr<ObjectData> owned = std::make_unique<InstanceData>();
    auto& data = static_cast<InstanceData&>(*owned);
    if (!pay(cost::kInstance, data.charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkInstance made = nullptr;
    const VkResult result = loader.global().vkCreateInstance(&info, nullptr, &made);
    if (result != VK_SUCCESS) return result;

    data.vk.load(loader.proc_addr(), made);
    const auto destroy = data.vk.vkDestroyInstance;
    const VkPhysicalDevice physical = host_.find(data.vk, made);
    if (physical == nullptr) {
        log_.error("The Vulkan device '{}' has gone.", host_.description().name);
        destroy(made, nullptr);
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    const Object* const added =
        table_.add(ObjectType::kInstance, raw(made), nullptr, nullptr, std::move(owned));
    if (added == nullptr) {
        destroy(made, nullptr);
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    const uint64_t id = added->id;
    instances_.push_back(id);
    Object* const instance = call.ring.pins.pin(ObjectType::kInstance, id);
    const Object* const device = instance != nullptr ? table_.add(ObjectType::kPhysicalDevice,
                                                                  raw(physical), instance, nullptr)
                                                     : nullptr;
    if (device == nullptr) {
        table_.remove(id, ObjectType::kInstance);
        instances_.pop_back();
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    instance->get<InstanceData>().physical_device = device->id;
    *pInstance = id;
    return VK_SUCCESS;
}

void Session::vkDestroyInstance(Call&, Object& instance) {
    // Guests may leave devices in it (Mesa's never do); work may still run on these.
    const VkResult result = close_devices(instance, Clock::time_point::max());
    // What runs is left to the end of the context.
    if (result == VK_TIMEOUT || must_return()) return;
    const std::lock_guard lock(instances_mutex_);
    std::erase(instances_, instance.id);
    table_.remove(instance.id, ObjectType::kInstance);
}

VkResult Session::vkEnumeratePhysicalDevices(Call& call, Object& instance,
                                             uint32_t* pPhysicalDeviceCount,
                                             uint64_t* pPhysicalDevices) {
    return enumerate<uint64_t>(call, std::span(&instance.get<InstanceData>().physical_device, 1),
                               pPhysicalDeviceCount, pPhysicalDevices);
}

VkResult Session::vkEnumeratePhysicalDeviceGroups(
    Call& call, Object& instance, uint32_t* pPhysicalDeviceGroupCount,
    VkPhysicalDeviceGroupProperties* pPhysicalDeviceGroupProperties) {
    return enumerate(
        call, std::span<const uint64_t>(&instance.get<InstanceData>().physical_device, 1),
        pPhysicalDeviceGroupCount, pPhysicalDeviceGroupProperties,
        [](VkPhysicalDeviceGroupProperties& group, uint64_t id) {
            group.physicalDeviceCount = 1;
            std::memset(group.physicalDevices, 0, sizeof(group.physicalDevices));
            std::memcpy(&group.physicalDevices[0], &id, sizeof(id));  // the guest's id, as replied
            group.subsetAllocation = VK_FALSE;
        });
}

VkResult Session::vkEnumerateDeviceExtensionProperties(Call& call, Object&, const char* pLayerName,
                                                       uint32_t* pPropertyCount,
                                                       VkExtensionProperties* pProperties) {
    if (pLayerName != nullptr) return VK_ERROR_LAYER_NOT_PRESENT;
    return enumerate(call, host_.device_extensions(), pPropertyCount, pProperties);
}

}  // namespace swede::gfxstream::vulkan
