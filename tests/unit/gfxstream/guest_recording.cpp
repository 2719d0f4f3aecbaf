// SPDX-License-Identifier: Apache-2.0
#include "unit/gfxstream/guest_recording.h"

namespace swede::gfxstream::vulkan {

GuestRecording& GuestRecording::add(uint32_t opcode, std::span<const std::byte> parameters) {
    guest::Writer header;
    header.u32(opcode);
    header.u32(static_cast<uint32_t>(parameters.size() + 8));
    bytes_.insert(bytes_.end(), header.bytes().begin(), header.bytes().end());
    bytes_.insert(bytes_.end(), parameters.begin(), parameters.end());
    return *this;
}

GuestRecording& GuestRecording::add(std::span<const std::byte> recording) {
    bytes_.insert(bytes_.end(), recording.begin(), recording.end());
    return *this;
}

GuestRecording& GuestRecording::begin(VkCommandBufferUsageFlags flags) {
    VkCommandBufferBeginInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    info.flags = flags;
    return add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &info});
}

}  // namespace swede::gfxstream::vulkan
