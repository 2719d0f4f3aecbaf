// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/loader.h"

#include <dlfcn.h>

#include <algorithm>

namespace swede::gfxstream::vulkan {

Result<std::unique_ptr<Loader>> Loader::open() {
    void* const library = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
        return fail(ErrorCode::kUnsupported, "There is no Vulkan loader (libvulkan.so.1).");
    const auto proc_addr =
        reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(library, "vkGetInstanceProcAddr"));
    if (proc_addr == nullptr)
        return fail(ErrorCode::kUnsupported, "libvulkan.so.1 is no Vulkan loader.");
    return open(proc_addr);
}

Result<std::unique_ptr<Loader>> Loader::open(PFN_vkGetInstanceProcAddr proc_addr) {
    std::unique_ptr<Loader> loader(new Loader);
    loader->proc_addr_ = proc_addr;
    loader->global_.load(loader->proc_addr_);
    const GlobalFunctions& global = loader->global_;
    uint32_t version = VK_API_VERSION_1_0;  // a loader of 1.0 has no function to tell
    if (global.vkEnumerateInstanceVersion != nullptr) global.vkEnumerateInstanceVersion(&version);
    if (version < VK_API_VERSION_1_1)
        return fail(ErrorCode::kUnsupported, "The Vulkan loader is too old (1.0; 1.1 is needed).");
    loader->version_ = std::min(version, kHighestVersion);

    const VkApplicationInfo application{.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                        .pNext = nullptr,
                                        .pApplicationName = "swede",
                                        .applicationVersion = 0,
                                        .pEngineName = nullptr,
                                        .engineVersion = 0,
                                        .apiVersion = loader->version_};
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    const VkResult result = global.vkCreateInstance(&info, nullptr, &loader->instance_);
    if (result != VK_SUCCESS) {
        loader->instance_ = nullptr;
        return fail(ErrorCode::kUnsupported,
                    "No Vulkan driver is installed (vkCreateInstance: {}).", text_of(result));
    }
    loader->vk_.load(loader->proc_addr_, loader->instance_);
    return loader;
}

Loader::~Loader() {
    if (instance_ != nullptr && vk_.vkDestroyInstance != nullptr)
        vk_.vkDestroyInstance(instance_, nullptr);
}

std::vector<VkPhysicalDevice> Loader::physical_devices() const {
    return physical_devices_of(vk_, instance_);
}

std::vector<VkPhysicalDevice> physical_devices_of(const InstanceFunctions& vk,
                                                  VkInstance instance) {
    uint32_t count = 0;
    if (vk.vkEnumeratePhysicalDevices(instance, &count, nullptr) < VK_SUCCESS) return {};
    std::vector<VkPhysicalDevice> devices(count);
    if (vk.vkEnumeratePhysicalDevices(instance, &count, devices.data()) < VK_SUCCESS) return {};
    devices.resize(count);
    return devices;
}

std::string text_of(VkResult result) {
    switch (result) {
        case VK_ERROR_OUT_OF_HOST_MEMORY:
            return "VK_ERROR_OUT_OF_HOST_MEMORY";
        case VK_ERROR_OUT_OF_DEVICE_MEMORY:
            return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
        case VK_ERROR_INITIALIZATION_FAILED:
            return "VK_ERROR_INITIALIZATION_FAILED";
        case VK_ERROR_DEVICE_LOST:
            return "VK_ERROR_DEVICE_LOST";
        case VK_ERROR_EXTENSION_NOT_PRESENT:
            return "VK_ERROR_EXTENSION_NOT_PRESENT";
        case VK_ERROR_INCOMPATIBLE_DRIVER:
            return "VK_ERROR_INCOMPATIBLE_DRIVER";
        case VK_ERROR_INVALID_EXTERNAL_HANDLE:
            return "VK_ERROR_INVALID_EXTERNAL_HANDLE";
        default:
            return fmt::format("VkResult {}", static_cast<int>(result));
    }
}

}  // namespace swede::gfxstream::vulkan
