// SPDX-License-Identifier: Apache-2.0
// What a guest destroys, resets and records anew while its recordings name it or its submissions
// use it. The null driver ends the process when any of that comes to it too early.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/device_data.h"
#include "unit/gfxstream/program.h"
#include "vulkan_null/null_driver.h"

namespace swede::gfxstream::vulkan {
namespace {

class Lifetimes : public ::testing::Test {
  protected:
    Lifetimes()
        : host(Host::open(Loader::open(vulkan_null::get_proc_addr).value(), "null").value()),
          program(*host) {
        program.start();
        pool = program.make_pool();
        commands = program.make_command_buffer(pool);
        buffer = program.make_buffer(4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    }
    ~Lifetimes() override { vulkan_null::hold_submissions(false); }

    GuestRecording fill() {
        return GuestRecording().begin().add(
            guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 4096, .data = 1});
    }
    void record(VkCommandBuffer into, const GuestRecording& recording) {
        const auto flushed = program.flush(into, recording.bytes());
        EXPECT_TRUE(flushed) << flushed.error().message;
    }
    void record() { record(commands, fill().end()); }
    /// Submits `commands`, which is not done before let_it_finish().
    void submit_and_hold(VkFence fence = VK_NULL_HANDLE) {
        vulkan_null::hold_submissions(true);
        program.submit(commands, fence);
    }
    void let_it_finish() {
        vulkan_null::hold_submissions(false);
        EXPECT_EQ(program.result_of(guest::vkDeviceWaitIdle{.self = program.device}), VK_SUCCESS);
    }
    /// Runs `what` in another thread with a ring of its own, and lets what is submitted finish once
    /// it has had time to do harm.
    template <typename T>
    void expect_to_wait(const T& what) {
        std::atomic<bool> done = false;
        const auto parameters = guest::parameters_of(what);
        std::thread thread([&] {
            RingState ring;
            EXPECT_TRUE(program.session->execute(T::kOpcode, parameters, ring));
            done = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        EXPECT_FALSE(done);
        vulkan_null::hold_submissions(false);
        thread.join();
    }
    [[nodiscard]] bool is_lost() {
        return program.result_of(guest::vkQueueWaitIdle{.self = program.queue}) ==
               VK_ERROR_DEVICE_LOST;
    }
    VkDescriptorPool make_descriptor_pool(VkDescriptorPoolCreateFlags flags) {
        const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 4};
        const VkDescriptorPoolCreateInfo info{
            VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, flags, 4, 1, &size};
        VkDescriptorPool made = VK_NULL_HANDLE;
        return program.create<VkDescriptorPool>(guest::vkCreateDescriptorPool{
            .self = program.device, .pCreateInfo = &info, .pDescriptorPool = &made});
    }
    /// A set of `from`, bound by the recording in `commands`.
    VkDescriptorSet record_with_set(VkDescriptorPool from) {
        const VkDescriptorSet set = make_set(from);
        record(commands, bind(set));
        return set;
    }
    /// A set of `from` and the layout `whole` that it is bound by.
    VkDescriptorSet make_set(VkDescriptorPool from) {
        const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1,
                                                   VK_SHADER_STAGE_ALL, nullptr};
        const VkDescriptorSetLayoutCreateInfo layout_info{
            VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0, 1, &binding};
        VkDescriptorSetLayout layout = VK_NULL_HANDLE;
        layout = program.create<VkDescriptorSetLayout>(guest::vkCreateDescriptorSetLayout{
            .self = program.device, .pCreateInfo = &layout_info, .pSetLayout = &layout});
        layouts.push_back(layout);
        VkPipelineLayoutCreateInfo whole_info{};
        whole_info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
        whole_info.setLayoutCount = 1;
        whole_info.pSetLayouts = &layout;
        whole = program.create<VkPipelineLayout>(guest::vkCreatePipelineLayout{
            .self = program.device, .pCreateInfo = &whole_info, .pPipelineLayout = &whole});
        const VkDescriptorSetAllocateInfo set_info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                                   nullptr, from, 1, &layout};
        VkDescriptorSet set = VK_NULL_HANDLE;
        return program.create<VkDescriptorSet>(guest::vkAllocateDescriptorSets{
            .self = program.device, .pAllocateInfo = &set_info, .pDescriptorSets = &set});
    }
    GuestRecording bind(VkDescriptorSet set) {
        return GuestRecording()
            .begin()
            .add(guest::vkCmdBindDescriptorSets{
                .layout = whole, .descriptorSetCount = 1, .pDescriptorSets = &set})
            .end();
    }
    void destroy_layout(VkPipelineLayout layout) {
        program.call(
            guest::vkDestroyPipelineLayout{.self = program.device, .pipelineLayout = layout});
    }

    std::unique_ptr<Host> host;
    Program program;
    VkCommandPool pool = VK_NULL_HANDLE;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkBuffer buffer = VK_NULL_HANDLE;
    VkPipelineLayout whole = VK_NULL_HANDLE;
    std::vector<VkDescriptorSetLayout> layouts;
};

TEST_F(Lifetimes, WhatARecordingNamesIsGone_WhenItIsSubmitted) {
    record();
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

TEST_F(Lifetimes, WhatIsDestroyedInARecordingThatIsSentInParts) {
    record(commands, fill());
    record(commands, GuestRecording().add(guest::vkEndCommandBufferAsyncGOOGLE{}));
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

// More objects than a ring remembers, each named once and then again.
TEST_F(Lifetimes, OneOfManyThatARecordingNamesIsGone) {
    std::vector<VkBuffer> buffers;
    for (int i = 0; i < 400; ++i)
        buffers.push_back(program.make_buffer(4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
    GuestRecording recording;
    recording.begin();
    for (int round = 0; round < 2; ++round)
        for (const VkBuffer one : buffers)
            recording.add(guest::vkCmdFillBuffer{.dstBuffer = one, .size = 4096, .data = 1});
    recording.end();
    record(commands, recording);
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_FALSE(is_lost());
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffers[7]});
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

TEST_F(Lifetimes, WhatARecordingNamed_MayGoOnceItIsRecordedAnew) {
    record();
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    buffer = program.make_buffer(4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    record();
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_FALSE(is_lost());
}

TEST_F(Lifetimes, ALayoutMayGoBeforeItsRecordingRuns) {
    (void)record_with_set(make_descriptor_pool(0));
    destroy_layout(whole);
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_FALSE(is_lost());
}

// A guest keeps its recordings and sends them when it submits: a layout that the program destroyed
// after vkEndCommandBuffer, as Vulkan allows, is named later.
TEST_F(Lifetimes, ALayoutMayGoBeforeItsRecordingIsSent) {
    const VkDescriptorSet set = make_set(make_descriptor_pool(0));
    destroy_layout(whole);
    record(commands, bind(set));
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_FALSE(is_lost());
}

TEST_F(Lifetimes, DestroyedLayoutsAreNotKeptForEver) {
    VkPipelineLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    const uint64_t before = vulkan_null::live_objects();
    VkPipelineLayout first = VK_NULL_HANDLE;
    for (uint64_t i = 0; i < cost::kMostDestroyedLayouts + 100; ++i) {
        VkPipelineLayout made = VK_NULL_HANDLE;
        made = program.create<VkPipelineLayout>(guest::vkCreatePipelineLayout{
            .self = program.device, .pCreateInfo = &info, .pPipelineLayout = &made});
        destroy_layout(made);
        if (i == 0) first = made;
    }
    EXPECT_EQ(program.count(ObjectType::kPipelineLayout), cost::kMostDestroyedLayouts);
    EXPECT_EQ(vulkan_null::live_objects(), before + cost::kMostDestroyedLayouts);
    program.failure_of(
        guest::vkDestroyPipelineLayout{.self = program.device, .pipelineLayout = first});
}

TEST_F(Lifetimes, ALayoutIsDestroyedOnce) {
    (void)make_set(make_descriptor_pool(0));
    destroy_layout(whole);
    program.failure_of(
        guest::vkDestroyPipelineLayout{.self = program.device, .pipelineLayout = whole});
}

TEST_F(Lifetimes, WhatASubmissionUses_StaysUntilItIsDone) {
    const VkFence fence = program.make_fence();
    record();
    submit_and_hold(fence);
    const uint64_t before = vulkan_null::live_objects();
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.call(guest::vkDestroyFence{.self = program.device, .fence = fence});
    program.call(guest::vkFreeCommandBuffers{.self = program.device,
                                             .commandPool = pool,
                                             .commandBufferCount = 1,
                                             .pCommandBuffers = &commands});
    program.call(guest::vkDestroyCommandPool{.self = program.device, .commandPool = pool});
    EXPECT_EQ(vulkan_null::live_objects(), before);
    let_it_finish();
    EXPECT_EQ(vulkan_null::live_objects(), before - 4);
}

TEST_F(Lifetimes, SemaphoresStayUntilTheirSubmissionIsDone) {
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    VkSemaphore semaphore = VK_NULL_HANDLE;
    semaphore = program.create<VkSemaphore>(guest::vkCreateSemaphore{
        .self = program.device, .pCreateInfo = &info, .pSemaphore = &semaphore});
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.signalSemaphoreCount = 1;
    submit.pSignalSemaphores = &semaphore;
    vulkan_null::hold_submissions(true);
    program.call(guest::vkQueueSubmitAsyncGOOGLE{
        .self = program.queue, .submitCount = 1, .pSubmits = &submit});
    program.call(guest::vkDestroySemaphore{.self = program.device, .semaphore = semaphore});
    EXPECT_EQ(program.count(ObjectType::kSemaphore), 1U);
    let_it_finish();
    EXPECT_EQ(program.count(ObjectType::kSemaphore), 0U);
}

TEST_F(Lifetimes, ACommandBufferIsBegunAgain_OnceItIsDone) {
    record();
    submit_and_hold();
    const GuestRecording again = fill().end();
    expect_to_wait(guest::vkQueueFlushCommandsGOOGLE{.self = program.queue,
                                                     .commandBuffer = commands,
                                                     .dataSize = again.bytes().size(),
                                                     .pData = again.bytes().data()});
    EXPECT_FALSE(is_lost());
}

TEST_F(Lifetimes, ACommandPoolIsReset_OnceItsCommandBuffersAreDone) {
    record();
    submit_and_hold();
    expect_to_wait(guest::vkResetCommandPool{.self = program.device, .commandPool = pool});
    EXPECT_FALSE(is_lost());
}

// It is no child of the pool any more, and lies in the pool's memory until it is done.
TEST_F(Lifetimes, ACommandPoolIsReset_OnceAFreedCommandBufferIsDone) {
    record();
    submit_and_hold();
    program.call(guest::vkFreeCommandBuffers{.self = program.device,
                                             .commandPool = pool,
                                             .commandBufferCount = 1,
                                             .pCommandBuffers = &commands});
    expect_to_wait(guest::vkResetCommandPool{.self = program.device, .commandPool = pool});
    EXPECT_FALSE(is_lost());
    commands = program.make_command_buffer(pool);
    record();
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_FALSE(is_lost());
}

// The wait for an exported fence gives nobody else a turn. Marking is for the control queue.
TEST_F(Lifetimes, AFenceThatIsWaitedFor_IsMarkedAndResetAtOnce) {
    const VkFence fence = program.make_fence();
    const uint64_t id = guest::id_of_handle(fence);
    record();
    submit_and_hold();  // so that waits last
    std::atomic<bool> done = false;
    std::thread exporter([&] {
        while (!done) (void)program.session->wait_for_fence(id, std::chrono::milliseconds(100));
    });
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 1000; ++i) (void)program.session->mark_fence(id);
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(program.result_of(guest::vkResetFences{
                      .self = program.device, .fenceCount = 1, .pFences = &fence}),
                  VK_SUCCESS);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    done = true;
    vulkan_null::hold_submissions(false);
    exporter.join();
}

TEST_F(Lifetimes, AFenceIsReset_OnceItsSubmissionIsDone) {
    const VkFence fence = program.make_fence();
    record();
    submit_and_hold(fence);
    expect_to_wait(
        guest::vkResetFences{.self = program.device, .fenceCount = 1, .pFences = &fence});
    program.submit(commands, fence);
    EXPECT_EQ(program.wait(fence), VK_SUCCESS);
}

TEST_F(Lifetimes, AWaitForASubmission_EndsWithTheContext) {
    record();
    submit_and_hold();
    std::thread thread([&] {
        RingState ring;
        EXPECT_TRUE(program.session->execute(guest::vkResetCommandPool::kOpcode,
                                             guest::parameters_of(guest::vkResetCommandPool{
                                                 .self = program.device, .commandPool = pool}),
                                             ring));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    program.session->abandon();
    thread.join();
}

TEST_F(Lifetimes, AFenceIsSubmittedTwice) {
    const VkFence fence = program.make_fence();
    record();
    submit_and_hold(fence);
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    EXPECT_NE(program
                  .failure_of(guest::vkQueueSubmitAsyncGOOGLE{
                      .self = program.queue, .submitCount = 1, .pSubmits = &info, .fence = fence})
                  .find("twice"),
              std::string::npos);
}

TEST_F(Lifetimes, ASetThatIsFreed_StaysUntilItsSubmissionIsDone) {
    const VkDescriptorPool from =
        make_descriptor_pool(VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
    const VkDescriptorSet set = record_with_set(from);
    submit_and_hold();
    const uint64_t before = vulkan_null::live_objects();
    EXPECT_EQ(program.result_of(guest::vkFreeDescriptorSets{.self = program.device,
                                                            .descriptorPool = from,
                                                            .descriptorSetCount = 1,
                                                            .pDescriptorSets = &set}),
              VK_SUCCESS);
    EXPECT_EQ(vulkan_null::live_objects(), before);
    let_it_finish();
    EXPECT_EQ(vulkan_null::live_objects(), before - 1);
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

TEST_F(Lifetimes, ADescriptorPoolIsReset_OnceItsSetsAreDone) {
    const VkDescriptorPool from = make_descriptor_pool(0);
    (void)record_with_set(from);
    submit_and_hold();
    expect_to_wait(guest::vkResetDescriptorPool{.self = program.device, .descriptorPool = from});
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

// A driver's pool gives nothing back before it is reset, whatever the guest says that it frees.
TEST_F(Lifetimes, SetsOfAPoolThatDoesNotFreeThem_AreNoMoreThanItHas) {
    const VkDescriptorPool from = make_descriptor_pool(0);
    (void)make_set(from);
    const auto layout = layouts.back();
    const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr,
                                           from, 1, &layout};
    VkDescriptorSet place = VK_NULL_HANDLE;
    const guest::vkAllocateDescriptorSets allocate{
        .self = program.device, .pAllocateInfo = &info, .pDescriptorSets = &place};
    for (int i = 1; i < 4; ++i) {
        const auto set = program.create<VkDescriptorSet>(allocate);
        program.call(guest::vkFreeDescriptorSets{.self = program.device,
                                                 .descriptorPool = from,
                                                 .descriptorSetCount = 1,
                                                 .pDescriptorSets = &set});
    }
    program.create<VkDescriptorSet>(allocate, VK_ERROR_OUT_OF_POOL_MEMORY);
    EXPECT_EQ(program.result_of(
                  guest::vkResetDescriptorPool{.self = program.device, .descriptorPool = from}),
              VK_SUCCESS);
    program.create<VkDescriptorSet>(allocate);
}

// Between the look at a pool and its reset, another ring makes a set of it.
TEST_F(Lifetimes, ASetIsMadeWhileItsPoolIsReset) {
    const VkDescriptorPool from = make_descriptor_pool(0);
    (void)make_set(from);
    const auto layout = layouts.back();
    std::atomic<bool> done = false;
    std::thread other([&] {
        RingState ring;
        const auto reset = guest::parameters_of(
            guest::vkResetDescriptorPool{.self = program.device, .descriptorPool = from});
        while (!done)
            EXPECT_TRUE(
                program.session->execute(guest::vkResetDescriptorPool::kOpcode, reset, ring));
    });
    const VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr,
                                           from, 1, &layout};
    VkDescriptorSet place = VK_NULL_HANDLE;
    VkDescriptorBufferInfo range{buffer, 0, VK_WHOLE_SIZE};
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.descriptorCount = 1;
    write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER;
    write.pBufferInfo = &range;
    for (int i = 0; i < 3000; ++i) {
        Answer answer = program.call(guest::vkAllocateDescriptorSets{
            .self = program.device, .pAllocateInfo = &info, .pDescriptorSets = &place});
        write.dstSet = answer.handle<VkDescriptorSet>();
        if (answer.result() != VK_SUCCESS) continue;
        (void)program.try_call(guest::vkUpdateDescriptorSets{// unknown if it was reset
                                                             .self = program.device,
                                                             .descriptorWriteCount = 1,
                                                             .pDescriptorWrites = &write});
    }
    done = true;
    other.join();
}

TEST_F(Lifetimes, ADescriptorPoolThatIsDestroyed_StaysUntilItsSetsAreDone) {
    const VkDescriptorPool from = make_descriptor_pool(0);
    (void)record_with_set(from);
    submit_and_hold();
    program.call(guest::vkDestroyDescriptorPool{.self = program.device, .descriptorPool = from});
    EXPECT_EQ(program.count(ObjectType::kDescriptorPool), 1U);
    let_it_finish();
    EXPECT_EQ(program.count(ObjectType::kDescriptorPool), 0U);
}

class Secondaries : public Lifetimes {
  protected:
    Secondaries()
        : secondary(program.make_command_buffer(pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY)) {
        record_secondary();
        record(commands, GuestRecording()
                             .begin()
                             .add(guest::vkCmdExecuteCommands{.commandBufferCount = 1,
                                                              .pCommandBuffers = &secondary})
                             .end());
    }
    void record_secondary() {
        VkCommandBufferInheritanceInfo inherited{};
        inherited.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO;
        VkCommandBufferBeginInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
        info.pInheritanceInfo = &inherited;
        record(secondary,
               GuestRecording()
                   .add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &info})
                   .add(guest::vkCmdFillBuffer{.dstBuffer = buffer, .size = 4096, .data = 1})
                   .end());
    }

    VkCommandBuffer secondary = VK_NULL_HANDLE;
};

TEST_F(Secondaries, AreThere) {
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_FALSE(is_lost());
}

TEST_F(Secondaries, WhatTheyNameIsGone) {
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

TEST_F(Secondaries, AreRecordedAnewAfterTheyWereTakenIn) {
    record_secondary();
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

TEST_F(Secondaries, AreFreedAfterTheyWereTakenIn) {
    program.call(guest::vkFreeCommandBuffers{.self = program.device,
                                             .commandPool = pool,
                                             .commandBufferCount = 1,
                                             .pCommandBuffers = &secondary});
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
}

// 64 batches, each with a command buffer that executes one 8,192 times.
TEST_F(Secondaries, AreBounded_InOneSubmission) {
    const std::vector<VkCommandBuffer> many(8192, secondary);
    record(commands, GuestRecording()
                         .begin()
                         .add(guest::vkCmdExecuteCommands{
                             .commandBufferCount = static_cast<uint32_t>(many.size()),
                             .pCommandBuffers = many.data()})
                         .end());
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    const std::vector<VkSubmitInfo> batches(64, info);
    const std::string why = program.failure_of(guest::vkQueueSubmitAsyncGOOGLE{
        .self = program.queue, .submitCount = 64, .pSubmits = batches.data()});
    EXPECT_NE(why.find("more than"), std::string::npos) << why;
}

TEST_F(Secondaries, AreBegunAgain_OnceThePrimaryIsDone) {
    submit_and_hold();
    VkCommandBufferInheritanceInfo inherited{};
    inherited.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO;
    VkCommandBufferBeginInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    info.pInheritanceInfo = &inherited;
    const GuestRecording again =
        GuestRecording().add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &info}).end();
    expect_to_wait(guest::vkQueueFlushCommandsGOOGLE{.self = program.queue,
                                                     .commandBuffer = secondary,
                                                     .dataSize = again.bytes().size(),
                                                     .pData = again.bytes().data()});
}

TEST_F(Lifetimes, AViewKeepsItsImage_AndAFramebufferItsViews) {
    VkImageCreateInfo image_info{};
    image_info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
    image_info.imageType = VK_IMAGE_TYPE_2D;
    image_info.format = VK_FORMAT_R8G8B8A8_UNORM;
    image_info.extent = {16, 16, 1};
    image_info.mipLevels = image_info.arrayLayers = 1;
    image_info.samples = VK_SAMPLE_COUNT_1_BIT;
    image_info.usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    VkImage image = VK_NULL_HANDLE;
    image = program.create<VkImage>(
        guest::vkCreateImage{.self = program.device, .pCreateInfo = &image_info, .pImage = &image});
    VkImageViewCreateInfo view_info{};
    view_info.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO;
    view_info.image = image;
    view_info.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    VkImageView view = VK_NULL_HANDLE;
    view = program.create<VkImageView>(guest::vkCreateImageView{
        .self = program.device, .pCreateInfo = &view_info, .pView = &view});
    const VkAttachmentDescription attachment{};
    VkRenderPassCreateInfo pass_info{};
    pass_info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO;
    pass_info.attachmentCount = 1;
    pass_info.pAttachments = &attachment;
    const VkSubpassDescription subpass{};
    pass_info.subpassCount = 1;
    pass_info.pSubpasses = &subpass;
    VkRenderPass pass = VK_NULL_HANDLE;
    pass = program.create<VkRenderPass>(guest::vkCreateRenderPass{
        .self = program.device, .pCreateInfo = &pass_info, .pRenderPass = &pass});
    VkFramebufferCreateInfo target_info{};
    target_info.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO;
    target_info.renderPass = pass;
    target_info.attachmentCount = 1;
    target_info.pAttachments = &view;
    VkFramebuffer target = VK_NULL_HANDLE;
    target = program.create<VkFramebuffer>(guest::vkCreateFramebuffer{
        .self = program.device, .pCreateInfo = &target_info, .pFramebuffer = &target});

    program.call(guest::vkDestroyImage{.self = program.device, .image = image});
    program.call(guest::vkDestroyImageView{.self = program.device, .imageView = view});
    EXPECT_EQ(program.count(ObjectType::kImage), 1U);
    EXPECT_EQ(program.count(ObjectType::kImageView), 1U);
    program.call(guest::vkDestroyFramebuffer{.self = program.device, .framebuffer = target});
    EXPECT_EQ(program.count(ObjectType::kImage), 0U);
    EXPECT_EQ(program.count(ObjectType::kImageView), 0U);
}

TEST_F(Lifetimes, ABufferViewKeepsItsBuffer) {
    VkBufferViewCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO;
    info.buffer = buffer;
    info.range = VK_WHOLE_SIZE;
    VkBufferView view = VK_NULL_HANDLE;
    view = program.create<VkBufferView>(
        guest::vkCreateBufferView{.self = program.device, .pCreateInfo = &info, .pView = &view});
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    EXPECT_EQ(program.count(ObjectType::kBuffer), 1U);
    program.call(guest::vkDestroyBufferView{.self = program.device, .bufferView = view});
    EXPECT_EQ(program.count(ObjectType::kBuffer), 0U);
}

TEST_F(Lifetimes, ASetLayoutKeepsItsImmutableSamplers) {
    VkSamplerCreateInfo sampler_info{};
    sampler_info.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO;
    VkSampler sampler = VK_NULL_HANDLE;
    sampler = program.create<VkSampler>(guest::vkCreateSampler{
        .self = program.device, .pCreateInfo = &sampler_info, .pSampler = &sampler});
    const VkDescriptorSetLayoutBinding binding{0, VK_DESCRIPTOR_TYPE_SAMPLER, 1,
                                               VK_SHADER_STAGE_ALL, &sampler};
    const VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                               nullptr, 0, 1, &binding};
    VkDescriptorSetLayout layout = VK_NULL_HANDLE;
    layout = program.create<VkDescriptorSetLayout>(guest::vkCreateDescriptorSetLayout{
        .self = program.device, .pCreateInfo = &info, .pSetLayout = &layout});
    program.call(guest::vkDestroySampler{.self = program.device, .sampler = sampler});
    EXPECT_EQ(program.count(ObjectType::kSampler), 1U);
    program.call(
        guest::vkDestroyDescriptorSetLayout{.self = program.device, .descriptorSetLayout = layout});
    EXPECT_EQ(program.count(ObjectType::kSampler), 0U);
}

TEST_F(Lifetimes, ADeviceThatIsDestroyed_GoesOnceItsWorkIsDone) {
    record();
    submit_and_hold();
    expect_to_wait(guest::vkDestroyDevice{.self = program.device});
    EXPECT_EQ(program.count(ObjectType::kDevice), 0U);
    EXPECT_EQ(program.count(ObjectType::kCommandBuffer), 0U);
}

// Lost to the guest, since a submission failed; what was submitted before still runs.
TEST_F(Lifetimes, ADeviceThatIsLost_LetsItsWorkFinish) {
    record();
    submit_and_hold();
    vulkan_null::fail_after(0, VK_ERROR_OUT_OF_HOST_MEMORY);
    program.submit(commands, VK_NULL_HANDLE);
    EXPECT_TRUE(is_lost());
    program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    program.call(guest::vkFreeCommandBuffers{.self = program.device,
                                             .commandPool = pool,
                                             .commandBufferCount = 1,
                                             .pCommandBuffers = &commands});
    expect_to_wait(guest::vkDestroyDevice{.self = program.device});
    EXPECT_EQ(program.count(ObjectType::kDevice), 0U);
}

TEST_F(Lifetimes, ADeviceThatIsLost_IsNotWaitedForWithoutEnd) {
    record();
    submit_and_hold();
    vulkan_null::fail_after(0, VK_ERROR_OUT_OF_HOST_MEMORY);
    program.submit(commands, VK_NULL_HANDLE);
    program.call(guest::vkDestroyDevice{.self = program.device});
    EXPECT_EQ(program.count(ObjectType::kDevice), 1U);
}

TEST_F(Lifetimes, ADriverThatLostItsDevice_IsNotWaitedFor) {
    record();
    submit_and_hold();
    vulkan_null::fail_after(0, VK_ERROR_DEVICE_LOST);
    program.submit(commands, VK_NULL_HANDLE);
    program.call(guest::vkDestroyDevice{.self = program.device});
    EXPECT_EQ(program.count(ObjectType::kDevice), 0U);
}

TEST_F(Lifetimes, WorkThatWasNeverWaitedFor_GoesWithTheSession) {
    record();
    program.submit(commands, program.make_fence());
    program.ring.reset();
    program.session.reset();
    host.reset();
    EXPECT_EQ(vulkan_null::live_objects(), 0U);
}

TEST(PendingWork, ComesOutInOrder) {
    std::array<Object, 5> objects;
    PendingWork work;
    EXPECT_TRUE(work.empty());
    work.add(3, std::array{&objects[0], &objects[1]});
    work.add(4, {});
    work.add(7, std::array{&objects[2]});
    EXPECT_EQ(work.oldest(), 3U);
    std::vector<Object*> finished;
    work.take_finished(2, finished);
    EXPECT_TRUE(finished.empty());
    work.take_finished(6, finished);
    EXPECT_EQ(finished, (std::vector{&objects[0], &objects[1]}));
    EXPECT_EQ(work.oldest(), 7U);
    work.add(8, std::array{&objects[3], &objects[4]});
    EXPECT_EQ(work.batches(), 2U);
    work.take_finished(8, finished);
    EXPECT_EQ(finished.size(), 5U);
    EXPECT_EQ(finished.back(), &objects[4]);
    EXPECT_TRUE(work.empty());
}

TEST(PendingWork, IsBounded) {
    Object object;
    PendingWork work;
    const std::vector<Object*> many(PendingWork::kBound, &object);
    EXPECT_TRUE(work.has_room_for(PendingWork::kBound, many.size()));
    work.add(1, std::span(many).first(10));
    EXPECT_FALSE(work.has_room_for(1, many.size()));
    EXPECT_TRUE(work.has_room_for(1, many.size() - 10));
    EXPECT_FALSE(work.has_room_for(1, PendingWork::kBound + 1));
    EXPECT_FALSE(work.has_room_for(1, SIZE_MAX));
    EXPECT_FALSE(work.has_room_for(PendingWork::kBound, 0)) << "Batches without objects count too.";
    EXPECT_TRUE(work.has_room_for(PendingWork::kBound - 1, 0));
    EXPECT_FALSE(work.has_room_for(SIZE_MAX, 0));
    std::vector<Object*> finished;
    work.take_finished(1, finished);
    EXPECT_TRUE(work.has_room_for(PendingWork::kBound, many.size()));
}

// The judge itself.
TEST_F(Lifetimes, TheDriverKnowsWhatGoesTooEarly) {
    record();
    submit_and_hold();
    Object* const object =
        program.session->table().pin(ObjectType::kCommandBuffer, guest::id_of_handle(commands));
    ASSERT_NE(object, nullptr);
    const DeviceFunctions& vk = object->device->get<DeviceData>().vk;
    const auto handle = object->as<VkCommandBuffer>();
    EXPECT_DEATH(vk.vkFreeCommandBuffers(object->device->as<VkDevice>(),
                                         object->parent->as<VkCommandPool>(), 1, &handle),
                 "while a submission uses it");
    EXPECT_DEATH((void)vk.vkResetCommandBuffer(handle, 0), "changes while a submission");
    program.session->table().unpin(object);
    Object* const named =
        program.session->table().pin(ObjectType::kBuffer, guest::id_of_handle(buffer));
    ASSERT_NE(named, nullptr);
    EXPECT_DEATH(
        {
            vk.vkDestroyBuffer(named->device->as<VkDevice>(), named->as<VkBuffer>(), nullptr);
            vulkan_null::hold_submissions(false);
            (void)vk.vkDeviceWaitIdle(named->device->as<VkDevice>());
        },
        "names what has gone|heap-use-after-free");
    program.session->table().unpin(named);
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
