// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gfxstream/vulkan/generated/dispatch.h"

namespace swede::gfxstream::vulkan {

/// What guests see at most: their drivers are made for Vulkan 1.3 (docs of Mesa's gfxstream).
inline constexpr uint32_t kHighestVersion = VK_MAKE_API_VERSION(0, 1, 3, VK_HEADER_VERSION);

/// libvulkan.so.1 and an instance to ask questions with. The library is opened at run time, so that
/// one build serves machines without Vulkan, and stays loaded: drivers leave threads behind. Owned
/// by a Host or a list_devices(); thread-safe.
class Loader {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Loader>> open();
    /// The same with another library's vkGetInstanceProcAddr: tests.
    [[nodiscard]] static Result<std::unique_ptr<Loader>> open(PFN_vkGetInstanceProcAddr proc_addr);
    ~Loader();
    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;

    [[nodiscard]] PFN_vkGetInstanceProcAddr proc_addr() const { return proc_addr_; }
    [[nodiscard]] const GlobalFunctions& global() const { return global_; }
    /// Of instances: the loader's or kHighestVersion.
    [[nodiscard]] uint32_t version() const { return version_; }
    [[nodiscard]] VkInstance instance() const { return instance_; }
    [[nodiscard]] const InstanceFunctions& vk() const { return vk_; }
    /// In an order that stays for this Loader.
    [[nodiscard]] std::vector<VkPhysicalDevice> physical_devices() const;

  private:
    Loader() = default;

    PFN_vkGetInstanceProcAddr proc_addr_ = nullptr;
    GlobalFunctions global_;
    uint32_t version_ = 0;
    VkInstance instance_ = nullptr;
    InstanceFunctions vk_;
};

/// All physical devices of an instance.
[[nodiscard]] std::vector<VkPhysicalDevice> physical_devices_of(const InstanceFunctions& vk,
                                                                VkInstance instance);

/// "VK_ERROR_OUT_OF_HOST_MEMORY", or the number.
[[nodiscard]] std::string text_of(VkResult result);

}  // namespace swede::gfxstream::vulkan
