// SPDX-License-Identifier: Apache-2.0
#include "unit/gfxstream/program.h"

#include <bit>
#include <cstdlib>

namespace swede::gfxstream::vulkan {

Host& software_host() {
    static const std::unique_ptr<Host> host = [] {
        Result<std::unique_ptr<Host>> opened = Host::open("llvmpipe");
        if (!opened) {
            std::fprintf(stderr, "These tests need Mesa's software driver: %s\n",
                         opened.error().message.c_str());
            std::exit(EXIT_FAILURE);
        }
        return *std::move(opened);
    }();
    return *host;
}

void Program::start() {
    VkInstanceCreateInfo instance_info{};
    instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    instance = create<VkInstance>(
        guest::vkCreateInstance{.pCreateInfo = &instance_info, .pInstance = &instance});

    uint32_t count = 1;
    Answer answer = call(guest::vkEnumeratePhysicalDevices{
        .self = instance, .pPhysicalDeviceCount = &count, .pPhysicalDevices = &physical});
    EXPECT_TRUE(answer.marker());
    EXPECT_EQ(answer.plain<uint32_t>(), 1U);
    EXPECT_TRUE(answer.marker());
    physical = answer.handle<VkPhysicalDevice>();
    EXPECT_EQ(answer.result(), VK_SUCCESS);

    const OneQueueDevice wanted;
    device = create<VkDevice>(
        guest::vkCreateDevice{.self = physical, .pCreateInfo = &wanted.info, .pDevice = &device});
    queue = call(guest::vkGetDeviceQueue{.self = device, .pQueue = &queue}).handle<VkQueue>();
    EXPECT_NE(queue, VkQueue{});
}

VkBuffer Program::make_buffer(VkDeviceSize size, VkBufferUsageFlags usage) {
    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = size;
    info.usage = usage;
    VkBuffer buffer = VK_NULL_HANDLE;
    return create<VkBuffer>(
        guest::vkCreateBuffer{.self = device, .pCreateInfo = &info, .pBuffer = &buffer});
}

uint32_t Program::mapped_type() {
    return static_cast<uint32_t>(std::countr_zero(software_host().memory().importable));
}

VkDeviceMemory Program::make_mapped_memory(VkDeviceSize size, uint64_t blob_id, uint32_t type) {
    VkCreateBlobGOOGLE blob{};
    blob.sType = VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE;
    blob.blobMem = 2;
    blob.blobId = blob_id;
    return make_memory(size, type, &blob);
}

VkDeviceMemory Program::make_memory(VkDeviceSize size, uint32_t type, const void* next) {
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.pNext = next;
    info.allocationSize = size;
    info.memoryTypeIndex = type;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    return create<VkDeviceMemory>(
        guest::vkAllocateMemory{.self = device, .pAllocateInfo = &info, .pMemory = &memory});
}

void Program::bind(VkBuffer buffer, VkDeviceMemory memory) {
    EXPECT_EQ(
        result_of(guest::vkBindBufferMemory{.self = device, .buffer = buffer, .memory = memory}),
        VK_SUCCESS);
}

std::shared_ptr<HostMemory> Program::map(VkDeviceMemory memory, uint64_t blob_id, uint64_t size) {
    EXPECT_EQ(result_of(guest::vkGetBlobGOOGLE{.self = device, .memory = memory}), VK_SUCCESS);
    auto blob = session->take_blob(blob_id, size);
    EXPECT_TRUE(blob) << blob.error().message;
    return blob ? *std::move(blob) : nullptr;
}

VkFence Program::make_fence(VkFenceCreateFlags flags) {
    VkExportFenceCreateInfo exported{};  // as the guest's driver leaves it in the chain
    exported.sType = VK_STRUCTURE_TYPE_EXPORT_FENCE_CREATE_INFO;
    exported.handleTypes = VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT;
    VkFenceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    info.pNext = &exported;
    info.flags = flags;
    VkFence fence = VK_NULL_HANDLE;
    return create<VkFence>(
        guest::vkCreateFence{.self = device, .pCreateInfo = &info, .pFence = &fence});
}

VkCommandPool Program::make_pool() {
    VkCommandPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    VkCommandPool pool = VK_NULL_HANDLE;
    return create<VkCommandPool>(
        guest::vkCreateCommandPool{.self = device, .pCreateInfo = &info, .pCommandPool = &pool});
}

VkCommandBuffer Program::make_command_buffer(VkCommandPool pool, VkCommandBufferLevel level) {
    VkCommandBufferAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    info.commandPool = pool;
    info.level = level;
    info.commandBufferCount = 1;
    VkCommandBuffer made = VK_NULL_HANDLE;
    return create<VkCommandBuffer>(guest::vkAllocateCommandBuffers{
        .self = device, .pAllocateInfo = &info, .pCommandBuffers = &made});
}

Result<Answer> Program::flush(VkCommandBuffer command_buffer,
                              std::span<const std::byte> recording) {
    return try_call(guest::vkQueueFlushCommandsGOOGLE{.self = queue,
                                                      .commandBuffer = command_buffer,
                                                      .dataSize = recording.size(),
                                                      .pData = recording.data()});
}

Answer Program::submit(VkCommandBuffer command_buffer, VkFence fence) {
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = command_buffer != nullptr ? 1 : 0;
    info.pCommandBuffers = &command_buffer;
    return call(guest::vkQueueSubmitAsyncGOOGLE{
        .self = queue, .submitCount = 1, .pSubmits = &info, .fence = fence});
}

VkResult Program::run(std::span<const std::byte> recording) {
    const VkCommandPool pool = make_pool();
    const VkCommandBuffer commands = make_command_buffer(pool);
    GuestRecording whole;
    whole.begin().add(recording).end();
    const auto flushed = flush(commands, whole.bytes());
    EXPECT_TRUE(flushed) << flushed.error().message;
    const VkFence fence = make_fence();
    submit(commands, fence);
    const VkResult result = wait(fence);
    call(guest::vkDestroyFence{.self = device, .fence = fence});
    call(guest::vkDestroyCommandPool{.self = device, .commandPool = pool});
    return result;
}

VkResult Program::wait(VkFence fence, uint64_t timeout) {
    return result_of(guest::vkWaitForFences{.self = device,
                                            .fenceCount = 1,
                                            .pFences = &fence,
                                            .waitAll = VK_TRUE,
                                            .timeout = timeout});
}

}  // namespace swede::gfxstream::vulkan
