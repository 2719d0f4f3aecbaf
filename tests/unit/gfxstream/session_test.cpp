// SPDX-License-Identifier: Apache-2.0
// A guest's program on the real software driver: what it may do, and that bad calls lose its
// context and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/checked.h"
#include "gfxstream/host_memory.h"
#include "unit/gfxstream/program.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr VkDeviceSize kSize = 65536;
constexpr uint32_t kPattern = 0x5eed'1234;

class SessionTest : public ::testing::Test {
  protected:
    SessionTest() { program.start(); }

    /// A buffer in mapped memory with the blob id 1.
    void make_bound_buffer() {
        buffer = program.make_buffer(
            kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
        memory = program.make_mapped_memory(kSize, 1, Program::mapped_type());
        EXPECT_EQ(program.result_of(guest::vkBindBufferMemory{
                      .self = program.device, .buffer = buffer, .memory = memory}),
                  VK_SUCCESS);
    }
    VkCommandBuffer make_fill() {
        const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
        GuestRecording recording;
        recording.begin()
            .add(guest::vkCmdFillBuffer{
                .dstBuffer = buffer, .dstOffset = 0, .size = kSize, .data = kPattern})
            .end();
        const auto flushed = program.flush(commands, recording.bytes());
        EXPECT_TRUE(flushed) << flushed.error().message;
        return commands;
    }

    Program program;
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
};

TEST_F(SessionTest, FilledBuffer_IsSeenThroughTheBlob) {
    make_bound_buffer();
    ASSERT_EQ(program.result_of(guest::vkGetBlobGOOGLE{.self = program.device, .memory = memory}),
              VK_SUCCESS);
    const auto blob = program.session->take_blob(1, kSize);
    ASSERT_TRUE(blob) << blob.error().message;
    EXPECT_FALSE(program.session->take_blob(1, kSize)) << "It was taken.";

    const VkFence fence = program.make_fence();
    EXPECT_EQ(program.submit(make_fill(), fence).size(), 0U);
    ASSERT_EQ(program.wait(fence), VK_SUCCESS);
    for (size_t i = 0; i < kSize; i += sizeof(kPattern)) {
        uint32_t word = 0;
        std::memcpy(&word, (*blob)->data() + i, sizeof(word));
        ASSERT_EQ(word, kPattern) << i;
    }
    EXPECT_EQ(program.result_of(guest::vkGetFenceStatus{.self = program.device, .fence = fence}),
              VK_SUCCESS);
}

TEST_F(SessionTest, EverythingIsGone_WithTheSession) {
    make_bound_buffer();
    program.submit(make_fill(), program.make_fence());
    EXPECT_GT(program.services.budget()->used(BudgetKind::kHostBytes), kSize);
    EXPECT_GT(program.session->table().live(), 8U);
    program.ring.reset();
    program.session.reset();  // with all of it alive, and perhaps at work
    EXPECT_EQ(program.services.budget()->used(BudgetKind::kHostBytes), 0U);
}

TEST_F(SessionTest, DestroyedDevice_TakesItsChildrenAlong) {
    make_bound_buffer();
    program.submit(make_fill(), program.make_fence());
    program.call(guest::vkDestroyDevice{.self = program.device});
    EXPECT_EQ(program.count(ObjectType::kBuffer), 0U);
    EXPECT_EQ(program.count(ObjectType::kDeviceMemory), 0U);
    EXPECT_EQ(program.count(ObjectType::kCommandBuffer), 0U);
    EXPECT_EQ(program.count(ObjectType::kQueue), 0U);
    EXPECT_EQ(program.session->table().live(), 2U);  // the instance and its physical device
    program.failure_of(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.call(guest::vkDestroyInstance{.self = program.instance});
    EXPECT_EQ(program.session->table().live(), 0U);
}

TEST_F(SessionTest, FreedMemory_StaysWhileABufferIsBoundToIt) {
    make_bound_buffer();
    const VkCommandBuffer commands = make_fill();
    program.call(guest::vkFreeMemory{.self = program.device, .memory = memory});
    program.failure_of(guest::vkGetBlobGOOGLE{.self = program.device, .memory = memory});
    const VkFence fence = program.make_fence();
    program.submit(commands, fence);
    EXPECT_EQ(program.wait(fence), VK_SUCCESS);
    EXPECT_EQ(program.count(ObjectType::kDeviceMemory), 1U);
    // The fence may be reached a moment before the queue's semaphore, by which we tell.
    EXPECT_EQ(program.result_of(guest::vkDeviceWaitIdle{.self = program.device}), VK_SUCCESS);
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    EXPECT_EQ(program.count(ObjectType::kDeviceMemory), 0U);
}

TEST_F(SessionTest, UnmappedBlob_IsWithdrawnWithItsMemory) {
    memory = program.make_mapped_memory(kSize, 9, Program::mapped_type());
    EXPECT_FALSE(program.session->take_blob(9, kSize)) << "It was not published.";
    EXPECT_EQ(program.result_of(guest::vkGetBlobGOOGLE{.self = program.device, .memory = memory}),
              VK_SUCCESS);
    EXPECT_FALSE(program.session->take_blob(8, kSize));
    EXPECT_EQ(
        program.result_of(guest::vkFreeMemorySyncGOOGLE{.self = program.device, .memory = memory}),
        VK_SUCCESS);
    EXPECT_FALSE(program.session->take_blob(9, kSize));
}

TEST_F(SessionTest, BlobLargerThanItsMemory_IsRefused) {
    memory = program.make_mapped_memory(kSize, 9, Program::mapped_type());
    program.call(guest::vkGetBlobGOOGLE{.self = program.device, .memory = memory});
    EXPECT_FALSE(program.session->take_blob(9, kSize + kPageSize));
}

TEST_F(SessionTest, MemoryOverTheBudget_IsOutOfMemory) {
    VkCreateBlobGOOGLE blob{};
    blob.sType = VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE;
    blob.blobMem = 2;
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    VkDeviceMemory made = VK_NULL_HANDLE;
    for (const VkDeviceSize size :
         {VkDeviceSize{1} << 40, ~VkDeviceSize{0}, VkDeviceSize{0}, ~VkDeviceSize{0} - 4095}) {
        info.allocationSize = size;
        for (const void* next :
             {static_cast<const void*>(&blob), static_cast<const void*>(nullptr)}) {
            info.pNext = next;
            program.create<VkDeviceMemory>(
                guest::vkAllocateMemory{
                    .self = program.device, .pAllocateInfo = &info, .pMemory = &made},
                VK_ERROR_OUT_OF_DEVICE_MEMORY);
        }
    }
    info.allocationSize = kSize;
    info.memoryTypeIndex = 17;
    program.create<VkDeviceMemory>(
        guest::vkAllocateMemory{.self = program.device, .pAllocateInfo = &info, .pMemory = &made},
        VK_ERROR_OUT_OF_DEVICE_MEMORY);
    EXPECT_EQ(program.count(ObjectType::kDeviceMemory), 0U);
}

TEST_F(SessionTest, BindingOutsideOfTheMemory_IsRefused) {
    buffer = program.make_buffer(kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    memory = program.make_mapped_memory(kSize, 1, Program::mapped_type());
    for (const VkDeviceSize offset :
         {VkDeviceSize{kPageSize}, ~VkDeviceSize{0} - 63, VkDeviceSize{1}})
        EXPECT_EQ(program.result_of(guest::vkBindBufferMemory{.self = program.device,
                                                              .buffer = buffer,
                                                              .memory = memory,
                                                              .memoryOffset = offset}),
                  VK_ERROR_OUT_OF_DEVICE_MEMORY);
    EXPECT_EQ(program.result_of(guest::vkBindBufferMemory{
                  .self = program.device, .buffer = buffer, .memory = memory}),
              VK_SUCCESS);
    EXPECT_EQ(program.result_of(guest::vkBindBufferMemory{
                  .self = program.device, .buffer = buffer, .memory = memory}),
              VK_ERROR_OUT_OF_DEVICE_MEMORY)
        << "It is bound already.";
}

TEST_F(SessionTest, DestroyedTwice_LosesTheContext) {
    buffer = program.make_buffer(kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.failure_of(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
}

TEST_F(SessionTest, NullHandles_AreDestroyedWithoutEffect) {
    program.call(guest::vkDestroyBuffer{.self = program.device});
    program.call(guest::vkDestroyFence{.self = program.device});
    program.call(guest::vkDestroyImage{.self = program.device});
    program.call(guest::vkDestroyCommandPool{.self = program.device});
    program.call(guest::vkFreeMemory{.self = program.device});
}

TEST_F(SessionTest, WrongTypes_LoseTheContext) {
    const VkFence fence = program.make_fence();
    const uint64_t id = guest::id_of_handle(fence);
    program.failure_of(guest::vkDestroyBuffer{.self = program.device,
                                              .buffer = guest::handle_of_id<VkBuffer>(id)});
    program.failure_of(guest::vkGetBlobGOOGLE{.self = program.device,
                                              .memory = guest::handle_of_id<VkDeviceMemory>(id)});
    program.failure_of(guest::vkQueueWaitIdle{.self = guest::handle_of_id<VkQueue>(id)});
    program.failure_of(guest::vkDestroyDevice{.self = guest::handle_of_id<VkDevice>(1)});
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.signalSemaphoreCount = 1;
    const auto semaphore = guest::handle_of_id<VkSemaphore>(id);
    info.pSignalSemaphores = &semaphore;
    program.failure_of(guest::vkQueueSubmitAsyncGOOGLE{
        .self = program.queue, .submitCount = 1, .pSubmits = &info, .fence = fence});
    EXPECT_EQ(program.wait(fence, 0), VK_TIMEOUT);
}

TEST_F(SessionTest, AnotherDevicesObjects_LoseTheContext) {
    make_bound_buffer();
    const VkDevice first = program.device;
    const VkQueue first_queue = program.queue;
    program.start();  // a second instance and device
    ASSERT_NE(first, program.device);
    program.failure_of(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.failure_of(
        guest::vkBindBufferMemory{.self = program.device, .buffer = buffer, .memory = memory});
    const VkFence fence = program.make_fence();
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    program.failure_of(guest::vkQueueSubmitAsyncGOOGLE{
        .self = first_queue, .submitCount = 1, .pSubmits = &info, .fence = fence});
    const VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, nullptr, memory, 0,
                                    VK_WHOLE_SIZE};
    program.failure_of(guest::vkFlushMappedMemoryRanges{
        .self = program.device, .memoryRangeCount = 1, .pMemoryRanges = &range});
    EXPECT_EQ(program.result_of(guest::vkFlushMappedMemoryRanges{
                  .self = first, .memoryRangeCount = 1, .pMemoryRanges = &range}),
              VK_SUCCESS);
}

TEST_F(SessionTest, UnknownCommands_LoseTheContext) {
    for (const uint32_t opcode : {0U, 1U, 19999U, 20343U, 199999999U, 299999999U, ~0U})
        EXPECT_FALSE(program.try_call(opcode, {})) << opcode;
}

TEST_F(SessionTest, TruncatedAndPaddedPackets_LoseTheContext) {
    const std::vector<std::byte> whole =
        guest::parameters_of(guest::vkQueueWaitIdle{.self = program.queue});
    for (size_t size = 0; size < whole.size(); ++size)
        EXPECT_FALSE(
            program.try_call(guest::vkQueueWaitIdle::kOpcode, std::span(whole).first(size)));
    std::vector<std::byte> padded = whole;
    padded.push_back({});
    EXPECT_FALSE(program.try_call(guest::vkQueueWaitIdle::kOpcode, padded));
    EXPECT_TRUE(program.try_call(guest::vkQueueWaitIdle::kOpcode, whole));
}

TEST_F(SessionTest, RecordingOutsideOfBeginAndEnd_LosesTheContext) {
    make_bound_buffer();
    const VkCommandPool pool = program.make_pool();
    const guest::vkCmdFillBuffer fill{.dstBuffer = buffer, .size = kSize};
    const VkCommandBuffer fresh = program.make_command_buffer(pool);
    EXPECT_FALSE(program.flush(fresh, GuestRecording().add(fill).bytes()));
    EXPECT_FALSE(program.flush(fresh, GuestRecording().end().bytes()));
    EXPECT_FALSE(program.flush(fresh, GuestRecording().begin().begin().bytes()));
    const VkCommandBuffer ended = program.make_command_buffer(pool);
    EXPECT_TRUE(program.flush(ended, GuestRecording().begin().end().bytes()));
    EXPECT_FALSE(program.flush(ended, GuestRecording().add(fill).bytes()));
    EXPECT_FALSE(program.flush(ended, GuestRecording().end().bytes()));
    EXPECT_TRUE(program.flush(ended, GuestRecording().begin().add(fill).end().bytes()))
        << "It may be recorded anew.";
}

TEST_F(SessionTest, BadRecordings_LoseTheContext) {
    const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
    const auto flush = [&](std::initializer_list<uint32_t> words) {
        return program.flush(commands, std::as_bytes(std::span(words))).has_value();
    };
    EXPECT_FALSE(flush({20321}));         // no size
    EXPECT_FALSE(flush({20323, 7}));      // smaller than its header
    EXPECT_FALSE(flush({20323, 16, 0}));  // larger than what is there
    EXPECT_FALSE(flush({20323, ~0U, 0}));
    EXPECT_FALSE(flush({20018, 8}));  // no command of a command buffer
    EXPECT_FALSE(flush({20340, 8}));  // a flush in a flush
    EXPECT_FALSE(flush({77, 8}));     // unknown
    EXPECT_FALSE(flush({20323, 8}));  // its parameters are missing
    EXPECT_TRUE(flush({20323, 12, 0}));
    EXPECT_TRUE(flush({}));
    // The same commands outside of a recording.
    EXPECT_FALSE(program.try_call(guest::vkEndCommandBufferAsyncGOOGLE{}));
}

TEST_F(SessionTest, IncompleteCommandBuffers_AreNotSubmitted) {
    const VkCommandPool pool = program.make_pool();
    const VkCommandBuffer fresh = program.make_command_buffer(pool);
    const VkCommandBuffer begun = program.make_command_buffer(pool);
    const VkCommandBuffer secondary =
        program.make_command_buffer(pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
    EXPECT_TRUE(program.flush(begun, GuestRecording().begin().bytes()));
    VkCommandBufferInheritanceInfo inherited{};
    inherited.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO;
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    EXPECT_FALSE(program.flush(secondary, GuestRecording().begin().bytes()))
        << "It inherits nothing.";
    begin.pInheritanceInfo = &inherited;
    EXPECT_TRUE(program.flush(secondary,
                              GuestRecording()
                                  .add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &begin})
                                  .end()
                                  .bytes()));
    for (const VkCommandBuffer bad : {fresh, begun, secondary}) {
        VkSubmitInfo info{};
        info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
        info.commandBufferCount = 1;
        info.pCommandBuffers = &bad;
        program.failure_of(guest::vkQueueSubmitAsyncGOOGLE{
            .self = program.queue, .submitCount = 1, .pSubmits = &info});
    }
    // A secondary one may be executed, by a primary one only.
    const guest::vkCmdExecuteCommands execute{.commandBufferCount = 1,
                                              .pCommandBuffers = &secondary};
    const guest::vkCmdExecuteCommands execute_fresh{.commandBufferCount = 1,
                                                    .pCommandBuffers = &fresh};
    EXPECT_FALSE(program.flush(
        secondary, GuestRecording()
                       .add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &begin})
                       .add(execute)
                       .bytes()));
    const VkCommandBuffer second =
        program.make_command_buffer(pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
    EXPECT_TRUE(
        program.flush(second, GuestRecording()
                                  .add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &begin})
                                  .end()
                                  .bytes()));
    EXPECT_FALSE(program.flush(begun, GuestRecording().add(execute).bytes()));
    EXPECT_FALSE(program.flush(begun, GuestRecording().add(execute_fresh).bytes()));
    const guest::vkCmdExecuteCommands execute_second{.commandBufferCount = 1,
                                                     .pCommandBuffers = &second};
    EXPECT_TRUE(program.flush(begun, GuestRecording().add(execute_second).end().bytes()));
    const VkFence fence = program.make_fence();
    program.submit(begun, fence);
    EXPECT_EQ(program.wait(fence), VK_SUCCESS);
}

TEST_F(SessionTest, ResetPool_MakesItsCommandBuffersInitial) {
    make_bound_buffer();
    const VkCommandPool pool = program.make_pool();
    const VkCommandBuffer commands = program.make_command_buffer(pool);
    EXPECT_TRUE(program.flush(commands, GuestRecording().begin().end().bytes()));
    EXPECT_EQ(
        program.result_of(guest::vkResetCommandPool{.self = program.device, .commandPool = pool}),
        VK_SUCCESS);
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    program.failure_of(guest::vkQueueSubmitAsyncGOOGLE{
        .self = program.queue, .submitCount = 1, .pSubmits = &info});
    program.call(guest::vkDestroyCommandPool{.self = program.device, .commandPool = pool});
    EXPECT_EQ(program.count(ObjectType::kCommandBuffer), 0U);
    EXPECT_FALSE(program.flush(commands, {}));
}

TEST_F(SessionTest, SparseBinding_LosesTheDevice) {
    const VkFence fence = program.make_fence();
    program.call(guest::vkQueueBindSparseAsyncGOOGLE{.self = program.queue, .fence = fence});
    EXPECT_EQ(program.wait(fence), VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(program.result_of(guest::vkQueueWaitIdle{.self = program.queue}),
              VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(program.result_of(guest::vkDeviceWaitIdle{.self = program.device}),
              VK_ERROR_DEVICE_LOST);
    EXPECT_EQ(program.result_of(guest::vkGetFenceStatus{.self = program.device, .fence = fence}),
              VK_ERROR_DEVICE_LOST);
}

TEST_F(SessionTest, IdleWaits_ComeBack) {
    make_bound_buffer();
    program.submit(make_fill(), VK_NULL_HANDLE);
    EXPECT_EQ(program.result_of(guest::vkQueueWaitIdle{.self = program.queue}), VK_SUCCESS);
    EXPECT_EQ(program.result_of(guest::vkDeviceWaitIdle{.self = program.device}), VK_SUCCESS);
}

TEST_F(SessionTest, AbandonedWait_Ends) {
    const VkFence never = program.make_fence();
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        program.session->abandon();
    });
    EXPECT_EQ(program.wait(never, UINT64_MAX), VK_ERROR_DEVICE_LOST);
    other.join();
    program.failure_of(guest::vkQueueWaitIdle{.self = program.queue});
}

TEST_F(SessionTest, ExportedFence_IsWaitedFor) {
    const VkFence fence = program.make_fence();
    const uint64_t id = guest::id_of_handle(fence);
    using std::chrono::milliseconds;
    EXPECT_FALSE(program.session->wait_for_fence(id, milliseconds(0)));
    EXPECT_FALSE(program.session->wait_for_fence(id, milliseconds(5)));
    program.submit(VK_NULL_HANDLE, fence);
    EXPECT_TRUE(program.session->wait_for_fence(id, milliseconds(10000)));

    const FenceMark mark = program.session->mark_fence(id);
    EXPECT_EQ(program.result_of(
                  guest::vkResetFences{.self = program.device, .fenceCount = 1, .pFences = &fence}),
              VK_SUCCESS);
    EXPECT_FALSE(program.session->wait_for_fence(id, milliseconds(0)));
    EXPECT_TRUE(program.session->wait_for_fence(mark, milliseconds(0)))
        << "What was exported is over.";

    const FenceMark again = program.session->mark_fence(id);
    program.call(guest::vkDestroyFence{.self = program.device, .fence = fence});
    EXPECT_TRUE(program.session->wait_for_fence(again, milliseconds(0)));
    // Unknown ids and other objects' complete at once.
    EXPECT_TRUE(program.session->wait_for_fence(uint64_t{0}, milliseconds(0)));
    EXPECT_TRUE(
        program.session->wait_for_fence(guest::id_of_handle(program.queue), milliseconds(0)));
}

TEST_F(SessionTest, QueryResults_DoNotLeaveTheirBuffer) {
    VkQueryPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    info.queryType = VK_QUERY_TYPE_OCCLUSION;
    info.queryCount = 4;
    VkQueryPool pool = VK_NULL_HANDLE;
    pool = program.create<VkQueryPool>(guest::vkCreateQueryPool{
        .self = program.device, .pCreateInfo = &info, .pQueryPool = &pool});
    std::array<std::byte, 64> data{};
    guest::vkGetQueryPoolResults get{.self = program.device,
                                     .queryPool = pool,
                                     .firstQuery = 0,
                                     .queryCount = 4,
                                     .dataSize = 16,
                                     .pData = data.data(),
                                     .stride = 4,
                                     .flags = VK_QUERY_RESULT_PARTIAL_BIT};
    EXPECT_EQ(program.call(get).size(), 16U + 4);
    const auto bad = [&](auto&& change) {
        guest::vkGetQueryPoolResults broken = get;
        change(broken);
        program.failure_of(broken);
    };
    bad([](auto& call) { call.stride = 8; });
    bad([](auto& call) { call.flags |= VK_QUERY_RESULT_64_BIT; });
    bad([](auto& call) { call.flags |= VK_QUERY_RESULT_WITH_AVAILABILITY_BIT; });
    bad([](auto& call) { call.stride = ~VkDeviceSize{0} / 2; });
    bad([](auto& call) { call.firstQuery = 1; });
    bad([](auto& call) { call.firstQuery = ~0U; });
    bad([](auto& call) { call.queryCount = 5; });
    bad([](auto& call) { call.dataSize = 15; });
    bad([](auto& call) { call.stride = 3; });
}

TEST_F(SessionTest, PrivateData_IsKeptByWhatTheGuestCallsTheObject) {
    VkPrivateDataSlotCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO;
    VkPrivateDataSlot slot = VK_NULL_HANDLE;
    slot = program.create<VkPrivateDataSlot>(guest::vkCreatePrivateDataSlot{
        .self = program.device, .pCreateInfo = &info, .pPrivateDataSlot = &slot});
    const auto get = [&](VkObjectType type, uint64_t handle) {
        uint64_t data = 0;
        return program
            .call(guest::vkGetPrivateData{.self = program.device,
                                          .objectType = type,
                                          .objectHandle = handle,
                                          .privateDataSlot = slot,
                                          .pData = &data})
            .plain<uint64_t>();
    };
    EXPECT_EQ(program.result_of(guest::vkSetPrivateData{.self = program.device,
                                                        .objectType = VK_OBJECT_TYPE_BUFFER,
                                                        .objectHandle = 0x7fff'1234,
                                                        .privateDataSlot = slot,
                                                        .data = 42}),
              VK_SUCCESS);
    EXPECT_EQ(get(VK_OBJECT_TYPE_BUFFER, 0x7fff'1234), 42U);
    EXPECT_EQ(get(VK_OBJECT_TYPE_IMAGE, 0x7fff'1234), 0U);
    EXPECT_EQ(get(VK_OBJECT_TYPE_BUFFER, 1), 0U);
    program.call(guest::vkDestroyPrivateDataSlot{.self = program.device, .privateDataSlot = slot});
}

TEST_F(SessionTest, BadDevices_AreRefused) {
    const float priorities[2] = {};
    VkDeviceQueueCreateInfo queues[2] = {};
    for (VkDeviceQueueCreateInfo& info : queues) {
        info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
        info.queueCount = 1;
        info.pQueuePriorities = priorities;
    }
    VkDeviceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.pQueueCreateInfos = queues;
    VkDevice made = VK_NULL_HANDLE;
    const auto make = [&](VkResult expected) {
        program.create<VkDevice>(
            guest::vkCreateDevice{.self = program.physical, .pCreateInfo = &info, .pDevice = &made},
            expected);
    };
    make(VK_ERROR_INITIALIZATION_FAILED);  // no queue
    info.queueCreateInfoCount = 2;
    make(VK_ERROR_INITIALIZATION_FAILED);  // one family twice
    info.queueCreateInfoCount = 1;
    queues[0].queueFamilyIndex = 99;
    make(VK_ERROR_INITIALIZATION_FAILED);
    queues[0].queueFamilyIndex = 0;
    const char* const unknown = "VK_EXT_that_nobody_has";
    const char* const hidden = "VK_EXT_external_memory_host";
    info.enabledExtensionCount = 1;
    for (const char* const& name : {unknown, hidden}) {
        info.ppEnabledExtensionNames = &name;
        make(VK_ERROR_EXTENSION_NOT_PRESENT);
    }
    info.enabledExtensionCount = 0;
    VkPhysicalDeviceFeatures features{};
    features.sparseBinding = VK_TRUE;
    info.pEnabledFeatures = &features;
    make(VK_ERROR_FEATURE_NOT_PRESENT);
    EXPECT_EQ(program.count(ObjectType::kDevice), 1U);
    info.pEnabledFeatures = nullptr;
    const char* const emulated[] = {"VK_KHR_external_memory_fd", "VK_EXT_external_memory_dma_buf",
                                    "VK_EXT_image_drm_format_modifier",
                                    "VK_KHR_external_semaphore_fd", "VK_KHR_external_fence_fd"};
    info.enabledExtensionCount = std::size(emulated);
    info.ppEnabledExtensionNames = emulated;
    make(VK_SUCCESS);
}

TEST_F(SessionTest, Recording_AllocatesNothingForObjectsThatExist) {
    make_bound_buffer();
    const VkCommandBuffer commands = program.make_command_buffer(program.make_pool());
    GuestRecording recording;
    recording.begin();
    for (int i = 0; i < 5000; ++i)
        recording.add(guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 4, .data = 1});
    recording.end();
    for (int i = 0; i < 3; ++i) {
        const auto flushed = program.flush(commands, recording.bytes());
        ASSERT_TRUE(flushed) << flushed.error().message;
    }
    EXPECT_EQ(program.ring->pins.mark(), 0U);
}

// Rings of one context record at the same time, into command buffers of one pool, as valid programs
// make their guest's driver do.
TEST_F(SessionTest, RingsAtTheSameTime_ShareAPool) {
    make_bound_buffer();
    const VkCommandPool pool = program.make_pool();
    constexpr int kRings = 4;
    std::vector<VkCommandBuffer> buffers;
    for (int i = 0; i < kRings; ++i) buffers.push_back(program.make_command_buffer(pool));
    GuestRecording recording;
    recording.begin();
    for (int i = 0; i < 200; ++i)
        recording.add(guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 64, .data = 1});
    recording.end();
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < kRings; ++i) {
        threads.emplace_back([&, i] {
            RingState ring;
            const auto packet = guest::parameters_of(
                guest::vkQueueFlushCommandsGOOGLE{.self = program.queue,
                                                  .commandBuffer = buffers[static_cast<size_t>(i)],
                                                  .dataSize = recording.bytes().size(),
                                                  .pData = recording.bytes().data()});
            for (int round = 0; round < 50; ++round)
                if (!program.session->execute(guest::vkQueueFlushCommandsGOOGLE::kOpcode, packet,
                                              ring))
                    ++failures;
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(failures, 0);
    const VkFence fence = program.make_fence();
    program.submit(buffers[0], fence);
    EXPECT_EQ(program.wait(fence), VK_SUCCESS);
}

VkSemaphore make_timeline(Program& program) {
    VkSemaphoreTypeCreateInfo type{};
    type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    info.pNext = &type;
    VkSemaphore made = VK_NULL_HANDLE;
    return program.create<VkSemaphore>(guest::vkCreateSemaphore{
        .self = program.device, .pCreateInfo = &info, .pSemaphore = &made});
}

/// Two batches of one submission, of which the later one waits for the guest to count `of_guest` to
/// 1. The first runs `commands` and counts `done` to 1.
void submit_batches(Program& program, VkCommandBuffer commands, VkSemaphore done,
                    VkSemaphore of_guest) {
    const uint64_t one = 1;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    std::array<VkTimelineSemaphoreSubmitInfo, 2> values{};
    std::array<VkSubmitInfo, 2> infos{};
    for (size_t i = 0; i < infos.size(); ++i) {
        values[i].sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
        infos[i].sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
        infos[i].pNext = &values[i];
    }
    values[0].signalSemaphoreValueCount = 1;
    values[0].pSignalSemaphoreValues = &one;
    infos[0].commandBufferCount = 1;
    infos[0].pCommandBuffers = &commands;
    infos[0].signalSemaphoreCount = 1;
    infos[0].pSignalSemaphores = &done;
    values[1].waitSemaphoreValueCount = 1;
    values[1].pWaitSemaphoreValues = &one;
    infos[1].waitSemaphoreCount = 1;
    infos[1].pWaitSemaphores = &of_guest;
    infos[1].pWaitDstStageMask = &stage;
    program.call(guest::vkQueueSubmitAsyncGOOGLE{
        .self = program.queue, .submitCount = infos.size(), .pSubmits = infos.data()});
}

void submit_batches2(Program& program, VkCommandBuffer commands, VkSemaphore done,
                     VkSemaphore of_guest) {
    std::array<VkSemaphoreSubmitInfo, 2> semaphores{};
    for (VkSemaphoreSubmitInfo& semaphore : semaphores) {
        semaphore.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO;
        semaphore.value = 1;
        semaphore.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
    }
    semaphores[0].semaphore = done;
    semaphores[1].semaphore = of_guest;
    VkCommandBufferSubmitInfo buffer{};
    buffer.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO;
    buffer.commandBuffer = commands;
    std::array<VkSubmitInfo2, 2> infos{};
    for (VkSubmitInfo2& info : infos) info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2;
    infos[0].commandBufferInfoCount = 1;
    infos[0].pCommandBufferInfos = &buffer;
    infos[0].signalSemaphoreInfoCount = 1;
    infos[0].pSignalSemaphoreInfos = semaphores.data();
    infos[1].waitSemaphoreInfoCount = 1;
    infos[1].pWaitSemaphoreInfos = &semaphores[1];
    program.call(guest::vkQueueSubmitAsync2GOOGLE{
        .self = program.queue, .submitCount = infos.size(), .pSubmits = infos.data()});
}

// To begin a command buffer again waits for its batch, and must not wait for those after it: they
// may wait for what the guest does next.
TEST_F(SessionTest, ACommandBufferIsBegunAgain_WhileALaterBatchWaitsForTheGuest) {
    for (const auto submit : {submit_batches, submit_batches2}) {
        if (buffer == VK_NULL_HANDLE) make_bound_buffer();
        const VkCommandBuffer commands = make_fill();
        const VkSemaphore done = make_timeline(program);
        const VkSemaphore of_guest = make_timeline(program);
        submit(program, commands, done, of_guest);
        const uint64_t one = 1;
        VkSemaphoreWaitInfo wait{};
        wait.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
        wait.semaphoreCount = 1;
        wait.pSemaphores = &done;
        wait.pValues = &one;
        EXPECT_EQ(program.result_of(guest::vkWaitSemaphores{
                      .self = program.device, .pWaitInfo = &wait, .timeout = 10'000'000'000}),
                  VK_SUCCESS);

        GuestRecording again;
        again.begin().end();
        std::atomic<bool> begun = false;
        std::thread guest([&] {
            EXPECT_TRUE(program.flush(commands, again.bytes()));
            begun = true;
        });
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!begun && std::chrono::steady_clock::now() < deadline)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_TRUE(begun);
        VkSemaphoreSignalInfo signal{};
        signal.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO;
        signal.semaphore = of_guest;
        signal.value = 1;
        RingState ring;
        EXPECT_TRUE(program.session->execute(guest::vkSignalSemaphore::kOpcode,
                                             guest::parameters_of(guest::vkSignalSemaphore{
                                                 .self = program.device, .pSignalInfo = &signal}),
                                             ring));
        guest.join();
        EXPECT_EQ(program.result_of(guest::vkQueueWaitIdle{.self = program.queue}), VK_SUCCESS);
    }
}

// A guest's program that is killed leaves work that waits for it: it would wait for ever, and end
// this process.
TEST_F(SessionTest, WorkThatWaitsForItsGuest_EndsWithTheContext) {
    Program killed;
    killed.start();
    const VkSemaphore of_guest = make_timeline(killed);
    const VkSemaphore of_queue = make_timeline(killed);
    const auto submit = [&](VkSemaphore wait, uint64_t wait_value, VkSemaphore signal) {
        const uint64_t signal_value = 9;
        const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
        VkTimelineSemaphoreSubmitInfo values{};
        values.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
        values.waitSemaphoreValueCount = 1;
        values.pWaitSemaphoreValues = &wait_value;
        values.signalSemaphoreValueCount = signal != nullptr ? 1 : 0;
        values.pSignalSemaphoreValues = &signal_value;
        VkSubmitInfo info{};
        info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
        info.pNext = &values;
        info.waitSemaphoreCount = 1;
        info.pWaitSemaphores = &wait;
        info.pWaitDstStageMask = &stage;
        info.signalSemaphoreCount = signal != nullptr ? 1 : 0;
        info.pSignalSemaphores = &signal;
        killed.call(guest::vkQueueSubmitAsyncGOOGLE{
            .self = killed.queue, .submitCount = 1, .pSubmits = &info});
    };
    submit(of_guest, 3, of_queue);
    submit(of_queue, 9, VK_NULL_HANDLE);
    submit(of_guest, 4711, VK_NULL_HANDLE);
    killed.ring.reset();
    killed.session.reset();
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
