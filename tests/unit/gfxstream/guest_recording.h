// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "unit/gfxstream/guest.h"

namespace swede::gfxstream::vulkan {

/// What vkCreateDevice() takes for one queue of family 0; points into itself.
struct OneQueueDevice {
    OneQueueDevice() {
        queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
        queue.queueCount = 1;
        queue.pQueuePriorities = &priority;
        info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
        info.queueCreateInfoCount = 1;
        info.pQueueCreateInfos = &queue;
    }
    OneQueueDevice(const OneQueueDevice&) = delete;
    OneQueueDevice& operator=(const OneQueueDevice&) = delete;

    float priority = 1;
    VkDeviceQueueCreateInfo queue{};
    VkDeviceCreateInfo info{};
};

/// A recording as a guest sends it.
class GuestRecording {
  public:
    template <typename T>
    GuestRecording& add(const T& command) {
        return add(T::kOpcode, guest::parameters_of(command));
    }
    GuestRecording& add(uint32_t opcode, std::span<const std::byte> parameters);
    GuestRecording& add(std::span<const std::byte> recording);
    GuestRecording& begin(VkCommandBufferUsageFlags flags = 0);
    GuestRecording& end() { return add(guest::vkEndCommandBufferAsyncGOOGLE{}); }
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

}  // namespace swede::gfxstream::vulkan
