// SPDX-License-Identifier: Apache-2.0
// Sessions on the null driver, which ends the process when a guest makes it break Vulkan's rules of
// lifetimes: what gfxstream_session_fuzzer found, and that the driver judges at all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "gfxstream/vulkan/device_data.h"
#include "unit/gfxstream/program.h"
#include "vulkan_null/null_driver.h"

namespace swede::gfxstream::vulkan {
namespace {

Host& null_host() {
    static const std::unique_ptr<Host> host =
        Host::open(Loader::open(vulkan_null::get_proc_addr).value(), "null").value();
    return *host;
}

class NullSessionTest : public ::testing::Test {
  protected:
    NullSessionTest() { program.start(); }

    Program program{null_host()};
};

TEST_F(NullSessionTest, ObjectsGo_WithTheSession) {
    program.ring.reset();
    program.session.reset();
    const uint64_t before = vulkan_null::live_objects();
    Program other(null_host());
    other.start();
    other.make_buffer(4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    other.make_mapped_memory(4096, 1, 0);
    other.make_command_buffer(other.make_pool());
    EXPECT_GT(vulkan_null::live_objects(), before + 5);
    other.ring.reset();
    other.session.reset();
    EXPECT_EQ(vulkan_null::live_objects(), before);
}

TEST_F(NullSessionTest, RecordsAndSubmits) {
    const VkBuffer buffer = program.make_buffer(4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    const VkDeviceMemory memory = program.make_mapped_memory(65536, 1, 0);
    EXPECT_EQ(program.result_of(guest::vkBindBufferMemory{
                  .self = program.device, .buffer = buffer, .memory = memory}),
              VK_SUCCESS);
    const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
    const auto flushed = program.flush(
        commands, GuestRecording()
                      .begin()
                      .add(guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 4096, .data = 1})
                      .end()
                      .bytes());
    ASSERT_TRUE(flushed) << flushed.error().message;
    const VkFence fence = program.make_fence();
    program.submit(commands, fence);
    EXPECT_EQ(program.wait(fence), VK_SUCCESS);
}

// One costs megabytes, in each renderer process.
TEST(NullHost, HasNoDeviceBeforeAColourBufferIsAskedFor) {
    const uint64_t before = vulkan_null::live_objects();
    std::unique_ptr<Host> host =
        Host::open(Loader::open(vulkan_null::get_proc_addr).value(), "null").value();
    EXPECT_EQ(vulkan_null::live_objects(), before + 2) << "An instance and what it has.";
    EXPECT_TRUE(host->color_buffer_layout(67, 64, 64));
    const uint64_t with_device = vulkan_null::live_objects();
    EXPECT_GT(with_device, before + 2);
    EXPECT_TRUE(host->color_buffer_layout(67, 64, 64));
    EXPECT_EQ(vulkan_null::live_objects(), with_device);
    host.reset();
    EXPECT_EQ(vulkan_null::live_objects(), before);
}

// Two rings may use it at the same time, so that the driver is to lock it whatever the guest says.
TEST_F(NullSessionTest, APipelineCacheIsNotMadeAsTheGuestSays) {
    const uint32_t bytes[4] = {1, 2, 3, 4};
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    info.flags = VK_PIPELINE_CACHE_CREATE_EXTERNALLY_SYNCHRONIZED_BIT;
    info.initialDataSize = sizeof(bytes);
    info.pInitialData = bytes;
    VkPipelineCache cache = VK_NULL_HANDLE;
    cache = program.create<VkPipelineCache>(guest::vkCreatePipelineCache{
        .self = program.device, .pCreateInfo = &info, .pPipelineCache = &cache});
}

VkSemaphore make_semaphore(Program& program, VkSemaphoreType kind) {
    VkSemaphoreTypeCreateInfo type{};
    type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    type.semaphoreType = kind;
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    info.pNext = &type;
    VkSemaphore made = VK_NULL_HANDLE;
    return program.create<VkSemaphore>(guest::vkCreateSemaphore{
        .self = program.device, .pCreateInfo = &info, .pSemaphore = &made});
}

// Drivers have no function for the values of one that is binary.
TEST_F(NullSessionTest, OnlyTimelinesAreAskedForTheirValues) {
    const auto ask = [&](VkSemaphore semaphore) {
        const uint64_t value = 1;
        VkSemaphoreWaitInfo wait{};
        wait.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
        wait.semaphoreCount = 1;
        wait.pSemaphores = &semaphore;
        wait.pValues = &value;
        VkSemaphoreSignalInfo signal{};
        signal.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO;
        signal.semaphore = semaphore;
        signal.value = value;
        uint64_t current = 0;
        return std::array{
            program
                .try_call(guest::vkSignalSemaphore{.self = program.device, .pSignalInfo = &signal})
                .has_value(),
            program
                .try_call(guest::vkGetSemaphoreCounterValue{
                    .self = program.device, .semaphore = semaphore, .pValue = &current})
                .has_value(),
            program
                .try_call(guest::vkWaitSemaphores{
                    .self = program.device, .pWaitInfo = &wait, .timeout = 1'000'000'000})
                .has_value()};
    };
    EXPECT_THAT(ask(make_semaphore(program, VK_SEMAPHORE_TYPE_BINARY)), ::testing::Each(false));
    EXPECT_THAT(ask(VK_NULL_HANDLE), ::testing::Each(false));
    EXPECT_THAT(ask(make_semaphore(program, VK_SEMAPHORE_TYPE_TIMELINE)), ::testing::Each(true));
}

TEST_F(NullSessionTest, QueriesThatAreReset_AreThere) {
    VkQueryPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_OCCLUSION;
    info.queryCount = 4;
    VkQueryPool place = VK_NULL_HANDLE;
    const guest::vkCreateQueryPool create{
        .self = program.device, .pCreateInfo = &info, .pQueryPool = &place};
    const auto pool = program.create<VkQueryPool>(create);
    const auto resets = [&](uint32_t first, uint32_t count) {
        return program
            .try_call(guest::vkResetQueryPool{.self = program.device,
                                              .queryPool = pool,
                                              .firstQuery = first,
                                              .queryCount = count})
            .has_value();
    };
    EXPECT_TRUE(resets(0, 4));
    EXPECT_TRUE(resets(3, 1));
    EXPECT_FALSE(resets(1, 4));
    EXPECT_FALSE(resets(~0U, 1));
    EXPECT_FALSE(resets(1, ~0U));
    info.queryType = VK_QUERY_TYPE_PIPELINE_STATISTICS;
    for (const uint32_t statistics : {0x7ffU, 0x800U, ~0U}) {
        info.pipelineStatistics = statistics;
        program.create<VkQueryPool>(
            create, statistics == 0x7ff ? VK_SUCCESS : VK_ERROR_OUT_OF_DEVICE_MEMORY);
    }
}

// The driver writes the length wherever the guest says.
TEST_F(NullSessionTest, ListsWithoutAPlaceForTheirLength_LoseTheContext) {
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    VkPipelineCache cache = VK_NULL_HANDLE;
    cache = program.create<VkPipelineCache>(guest::vkCreatePipelineCache{
        .self = program.device, .pCreateInfo = &info, .pPipelineCache = &cache});
    program.failure_of(
        guest::vkGetPipelineCacheData{.self = program.device, .pipelineCache = cache});
    program.failure_of(guest::vkGetPhysicalDeviceSparseImageFormatProperties{
        .self = program.physical, .format = VK_FORMAT_R8G8B8A8_UNORM});
}

/// What a program hears of its device on each of its ways.
void expect_lost(Program& program, VkFence fence, VkSemaphore semaphore) {
    EXPECT_EQ(program.wait(fence, UINT64_MAX), VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(program.result_of(guest::vkGetFenceStatus{.self = program.device, .fence = fence}),
              VK_ERROR_DEVICE_LOST);
    VkEventCreateInfo event_info{};
    event_info.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO;
    VkEvent event = VK_NULL_HANDLE;
    event = program.create<VkEvent>(
        guest::vkCreateEvent{.self = program.device, .pCreateInfo = &event_info, .pEvent = &event});
    EXPECT_EQ(program.result_of(guest::vkGetEventStatus{.self = program.device, .event = event}),
              VK_ERROR_DEVICE_LOST)
        << "Else a program that polls it never ends.";
    const uint64_t value = 1;
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pSemaphores = &semaphore;
    info.pValues = &value;
    EXPECT_EQ(program.result_of(guest::vkWaitSemaphores{
                  .self = program.device, .pWaitInfo = &info, .timeout = UINT64_MAX}),
              VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(program.result_of(guest::vkQueueWaitIdle{.self = program.queue}),
              VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(program.result_of(guest::vkDeviceWaitIdle{.self = program.device}),
              VK_ERROR_DEVICE_LOST);
}

class LosingDriver : public NullSessionTest, public ::testing::WithParamInterface<const char*> {
  protected:
    /// The driver's next call, which the parameter names, says that the device is lost.
    void lose() {
        const std::string_view call = GetParam();
        vulkan_null::fail_after(0, VK_ERROR_DEVICE_LOST);
        if (call == "submit") {
            program.submit(commands, fence);  // its failure is not heard
        } else if (call == "wait") {
            EXPECT_EQ(program.wait(fence), VK_ERROR_DEVICE_LOST);
        } else {
            EXPECT_EQ(
                program.result_of(guest::vkGetFenceStatus{.self = program.device, .fence = fence}),
                VK_ERROR_DEVICE_LOST);
        }
        vulkan_null::fail_after(0, VK_SUCCESS);
    }

    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;
};

// The driver says it once; a fence of what was not submitted would be waited for without end.
TEST_P(LosingDriver, LosesTheDeviceForGood) {
    commands = program.make_command_buffer(program.make_pool());
    ASSERT_TRUE(program.flush(commands, GuestRecording().begin().end().bytes()));
    fence = program.make_fence();
    const VkSemaphore semaphore = make_semaphore(program, VK_SEMAPHORE_TYPE_TIMELINE);
    Program other(null_host());
    other.start();

    lose();

    expect_lost(program, fence, semaphore);
    const VkFence others = other.make_fence();
    const VkCommandBuffer work = other.make_command_buffer(other.make_pool());
    ASSERT_TRUE(other.flush(work, GuestRecording().begin().end().bytes()));
    other.submit(work, others);
    EXPECT_EQ(other.wait(others), VK_SUCCESS);
}

INSTANTIATE_TEST_SUITE_P(Calls, LosingDriver, ::testing::Values("submit", "wait", "status"),
                         [](const auto& call) { return std::string(call.param); });

// The judge itself: a handle of another type ends the process.
TEST_F(NullSessionTest, TheDriverKnowsItsHandles) {
    const VkFence fence = program.make_fence();
    Object* const object =
        program.session->table().pin(ObjectType::kFence, guest::id_of_handle(fence));
    ASSERT_NE(object, nullptr);
    Object* const device = object->device;
    const auto destroy = device->get<DeviceData>().vk.vkDestroyBuffer;
    EXPECT_DEATH(destroy(device->as<VkDevice>(), object->as<VkBuffer>(), nullptr),
                 "of another type");
    EXPECT_DEATH(device->get<DeviceData>().vk.vkDestroyDevice(device->as<VkDevice>(), nullptr),
                 "before its children");
    program.session->table().unpin(object);
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
