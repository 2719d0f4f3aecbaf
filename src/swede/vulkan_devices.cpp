// SPDX-License-Identifier: Apache-2.0
#include "swede/vulkan_devices.h"

#include <dlfcn.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include "swede/child_output.h"

namespace swede {
namespace {

// What is needed of Vulkan 1.0, so that the program builds without its headers (specification,
// "Initialization" and "Devices and Queues"; values from its registry).
using VkResult = int32_t;
using VkInstance = struct VkInstanceT*;
using VkPhysicalDevice = struct VkPhysicalDeviceT*;
using AnyFunction = void (*)();

constexpr uint32_t kInstanceCreateInfoType = 1;  // VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO
constexpr VkResult kSuccess = 0;
constexpr uint32_t kMaxDevices = 16;

struct VkInstanceCreateInfo {
    uint32_t type = kInstanceCreateInfoType;
    const void* next = nullptr;
    uint32_t flags = 0;
    const void* application_info = nullptr;
    uint32_t layer_count = 0;
    const char* const* layers = nullptr;
    uint32_t extension_count = 0;
    const char* const* extensions = nullptr;
};
static_assert(sizeof(void*) != 8 || sizeof(VkInstanceCreateInfo) == 64);

struct VkPhysicalDeviceProperties {
    uint32_t api_version;
    uint32_t driver_version;
    uint32_t vendor_id;
    uint32_t device_id;
    uint32_t device_type;
    std::array<char, 256> device_name;
    alignas(8) std::array<std::byte, 1024> rest;  // cache id, limits, sparse properties: 544 bytes
};
static_assert(offsetof(VkPhysicalDeviceProperties, device_name) == 20);

constexpr std::string_view kDeviceMark = "device ";
constexpr std::string_view kErrorMark = "error ";
constexpr auto kTimeout = std::chrono::seconds(10);

template <typename Function>
Function as(AnyFunction function) {
    return reinterpret_cast<Function>(function);
}

void print_error(const char* what) {
    std::printf("%.*s%s\n", static_cast<int>(kErrorMark.size()), kErrorMark.data(), what);
}

/// Runs in the child: a line for each device, or one with the reason for none.
void print_devices() {
    void* const loader = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (loader == nullptr) return print_error("there is no Vulkan loader (libvulkan.so.1)");
    const auto proc_address = as<AnyFunction (*)(VkInstance, const char*)>(
        reinterpret_cast<AnyFunction>(::dlsym(loader, "vkGetInstanceProcAddr")));
    if (proc_address == nullptr) return print_error("libvulkan.so.1 is no Vulkan loader");
    const auto create_instance =
        as<VkResult (*)(const VkInstanceCreateInfo*, const void*, VkInstance*)>(
            proc_address(nullptr, "vkCreateInstance"));
    VkInstance instance = nullptr;
    const VkInstanceCreateInfo info;
    if (create_instance == nullptr || create_instance(&info, nullptr, &instance) != kSuccess)
        return print_error("no driver is installed (vkCreateInstance fails)");
    const auto enumerate = as<VkResult (*)(VkInstance, uint32_t*, VkPhysicalDevice*)>(
        proc_address(instance, "vkEnumeratePhysicalDevices"));
    const auto get_properties = as<void (*)(VkPhysicalDevice, VkPhysicalDeviceProperties*)>(
        proc_address(instance, "vkGetPhysicalDeviceProperties"));
    uint32_t count = kMaxDevices;
    std::array<VkPhysicalDevice, kMaxDevices> devices{};
    if (enumerate == nullptr || get_properties == nullptr ||
        enumerate(instance, &count, devices.data()) < kSuccess)  // VK_INCOMPLETE is above it
        return print_error("the drivers find no device (vkEnumeratePhysicalDevices fails)");
    for (uint32_t i = 0; i < count; ++i) {
        VkPhysicalDeviceProperties properties{};
        get_properties(devices[i], &properties);
        properties.device_name.back() = '\0';
        std::printf("%.*s%s\n", static_cast<int>(kDeviceMark.size()), kDeviceMark.data(),
                    properties.device_name.data());
    }
    if (count == 0) print_error("the drivers find no device");
}

}  // namespace

Result<std::vector<std::string>> list_vulkan_devices() {
    const ChildOutput output = SWEDE_TRY(run_for_output(print_devices, kTimeout));
    std::vector<std::string> devices;
    std::string_view rest = output.text;
    for (size_t end; (end = rest.find('\n')) != std::string_view::npos;
         rest.remove_prefix(end + 1)) {
        const std::string_view line = rest.substr(0, end);
        if (line.starts_with(kDeviceMark)) devices.emplace_back(line.substr(kDeviceMark.size()));
        if (line.starts_with(kErrorMark))
            return fail(ErrorCode::kUnsupported, "{}", line.substr(kErrorMark.size()));
    }
    if (!devices.empty()) return devices;
    return fail(ErrorCode::kSystem, "a driver {}", output.timed_out ? "hangs" : "crashes");
}

}  // namespace swede
