// SPDX-License-Identifier: Apache-2.0
// Passes of recordings, and what they draw to: drivers follow what they take for the attachments of
// the pass in hand, and draw as far as they are told.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "unit/gfxstream/program.h"
#include "vulkan_null/null_driver.h"

namespace swede::gfxstream::vulkan {
namespace {

class Passes : public ::testing::Test {
  protected:
    Passes()
        : host(Host::open(Loader::open(vulkan_null::get_proc_addr).value(), "null").value()),
          program(*host) {
        program.start();
        pool = program.make_pool();
    }

    /// Of two subpasses, the first with a colour attachment, the second with none.
    VkRenderPass make_pass() {
        VkAttachmentDescription attachment{};
        attachment.format = VK_FORMAT_R8G8B8A8_UNORM;
        attachment.samples = VK_SAMPLE_COUNT_1_BIT;
        const VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_GENERAL};
        std::array<VkSubpassDescription, 2> subpasses{};
        subpasses[0].colorAttachmentCount = 1;
        subpasses[0].pColorAttachments = &reference;
        VkRenderPassCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO;
        info.attachmentCount = 1;
        info.pAttachments = &attachment;
        info.subpassCount = subpasses.size();
        info.pSubpasses = subpasses.data();
        VkRenderPass made = VK_NULL_HANDLE;
        return program.create<VkRenderPass>(guest::vkCreateRenderPass{
            .self = program.device, .pCreateInfo = &info, .pRenderPass = &made});
    }
    static VkImageCreateInfo image_info() {
        VkImageCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
        info.imageType = VK_IMAGE_TYPE_2D;
        info.format = VK_FORMAT_R8G8B8A8_UNORM;
        info.extent = {16, 16, 1};
        info.mipLevels = info.arrayLayers = 1;
        info.samples = VK_SAMPLE_COUNT_1_BIT;
        info.usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
        return info;
    }
    VkImage make_image(const VkImageCreateInfo& info) {
        VkImage image = VK_NULL_HANDLE;
        return program.create<VkImage>(
            guest::vkCreateImage{.self = program.device, .pCreateInfo = &info, .pImage = &image});
    }
    /// Null: the context would be lost.
    VkImageView try_view(VkImage image, VkImageSubresourceRange range,
                         VkImageViewType type = VK_IMAGE_VIEW_TYPE_2D_ARRAY,
                         VkFormat format = VK_FORMAT_R8G8B8A8_UNORM) {
        VkImageViewCreateInfo view{};
        view.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO;
        view.image = image;
        view.viewType = type;
        view.format = format;
        view.subresourceRange = range;
        view.subresourceRange.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
        VkImageView made = VK_NULL_HANDLE;
        auto answer = program.try_call(
            guest::vkCreateImageView{.self = program.device, .pCreateInfo = &view, .pView = &made});
        return answer ? answer->handle<VkImageView>() : VK_NULL_HANDLE;
    }
    VkImageView make_view() { return try_view(make_image(image_info()), {0, 0, 1, 0, 1}); }
    /// Null: the context would be lost.
    VkFramebuffer try_framebuffer(VkImageView view, VkExtent3D extent,
                                  VkFramebufferCreateFlags flags = 0) {
        VkFramebufferAttachmentImageInfo image{};
        image.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENT_IMAGE_INFO;
        VkFramebufferAttachmentsCreateInfo images{};
        images.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_ATTACHMENTS_CREATE_INFO;
        images.attachmentImageInfoCount = 1;
        images.pAttachmentImageInfos = &image;
        VkFramebufferCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO;
        info.pNext = flags != 0 ? &images : nullptr;
        info.flags = flags;
        info.renderPass = pass;
        info.attachmentCount = 1;
        info.pAttachments = &view;
        info.width = extent.width;
        info.height = extent.height;
        info.layers = extent.depth;
        VkFramebuffer made = VK_NULL_HANDLE;
        auto answer = program.try_call(guest::vkCreateFramebuffer{
            .self = program.device, .pCreateInfo = &info, .pFramebuffer = &made});
        return answer ? answer->handle<VkFramebuffer>() : VK_NULL_HANDLE;
    }
    static GuestRecording clear(uint32_t attachment,
                                VkClearRect rect = {{{0, 0}, {16, 16}}, 0, 1}) {
        const VkClearAttachment one{VK_IMAGE_ASPECT_COLOR_BIT, attachment, {}};
        return GuestRecording().add(guest::vkCmdClearAttachments{
            .attachmentCount = 1, .pAttachments = &one, .rectCount = 1, .pRects = &rect});
    }
    /// `view`: for a framebuffer without images.
    GuestRecording begin_pass(VkRect2D area = {{0, 0}, {16, 16}},
                              VkImageView view = VK_NULL_HANDLE) {
        VkRenderPassAttachmentBeginInfo views{};
        views.sType = VK_STRUCTURE_TYPE_RENDER_PASS_ATTACHMENT_BEGIN_INFO;
        views.attachmentCount = 1;
        views.pAttachments = &view;
        VkRenderPassBeginInfo info{};
        info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO;
        info.pNext = view != VK_NULL_HANDLE ? &views : nullptr;
        info.renderPass = pass;
        info.framebuffer = framebuffer;
        info.renderArea = area;
        return GuestRecording().add(guest::vkCmdBeginRenderPass{.pRenderPassBegin = &info});
    }
    static GuestRecording begin_rendering(VkImageView view, VkRect2D area = {{0, 0}, {16, 16}},
                                          uint32_t layers = 1, uint32_t mask = 0) {
        VkRenderingAttachmentInfo attachment{};
        attachment.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO;
        attachment.imageView = view;
        VkRenderingInfo info{};
        info.sType = VK_STRUCTURE_TYPE_RENDERING_INFO;
        info.renderArea = area;
        info.layerCount = layers;
        info.viewMask = mask;
        info.colorAttachmentCount = 1;
        info.pColorAttachments = &attachment;
        return GuestRecording().add(guest::vkCmdBeginRendering{.pRenderingInfo = &info});
    }
    static GuestRecording end_pass() { return GuestRecording().add(guest::vkCmdEndRenderPass{}); }
    static GuestRecording end_rendering() {
        return GuestRecording().add(guest::vkCmdEndRendering{});
    }
    static GuestRecording next() { return GuestRecording().add(guest::vkCmdNextSubpass{}); }

    bool records(const std::vector<GuestRecording>& parts) {
        GuestRecording all;
        all.begin();
        for (const GuestRecording& part : parts) all.add(part.bytes());
        return program.flush(program.make_command_buffer(pool), all.end().bytes()).has_value();
    }
    /// A secondary command buffer that goes on with the first subpass of `pass`.
    VkCommandBuffer make_secondary(
        const GuestRecording& commands, uint32_t subpass = 0,
        VkCommandBufferUsageFlags flags = VK_COMMAND_BUFFER_USAGE_RENDER_PASS_CONTINUE_BIT) {
        VkCommandBufferInheritanceInfo inherited{};
        inherited.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO;
        inherited.renderPass = pass;
        inherited.subpass = subpass;
        VkCommandBufferBeginInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
        info.flags = flags;
        info.pInheritanceInfo = &inherited;
        const VkCommandBuffer made =
            program.make_command_buffer(pool, VK_COMMAND_BUFFER_LEVEL_SECONDARY);
        GuestRecording all;
        all.add(guest::vkBeginCommandBufferAsyncGOOGLE{.pBeginInfo = &info})
            .add(commands.bytes())
            .end();
        return program.flush(made, all.bytes()) ? made : VK_NULL_HANDLE;
    }
    static GuestRecording execute(VkCommandBuffer commands) {
        return GuestRecording().add(
            guest::vkCmdExecuteCommands{.commandBufferCount = 1, .pCommandBuffers = &commands});
    }

    std::unique_ptr<Host> host;
    Program program;
    VkCommandPool pool = VK_NULL_HANDLE;
    VkRenderPass pass = VK_NULL_HANDLE;
    VkFramebuffer framebuffer = VK_NULL_HANDLE;
};

class RenderPasses : public Passes {
  protected:
    RenderPasses() {
        view = make_view();
        pass = make_pass();
        framebuffer = try_framebuffer(view, {16, 16, 1});
    }

    VkImageView view = VK_NULL_HANDLE;
};

TEST_F(RenderPasses, BeginAndEndInTurn) {
    EXPECT_TRUE(records({begin_pass(), next(), end_pass(), begin_pass(), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), begin_pass(), end_pass()}));
    EXPECT_FALSE(records({begin_pass()}));
    EXPECT_FALSE(records({end_pass()}));
    EXPECT_FALSE(records({begin_pass(), end_pass(), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), end_pass(), next()}));
    EXPECT_FALSE(records({begin_pass(), end_rendering()}));
}

TEST_F(RenderPasses, AndRenderingToo) {
    EXPECT_TRUE(records({begin_rendering(view), end_rendering()}));
    EXPECT_FALSE(records({begin_rendering(view), begin_pass(), end_pass(), end_rendering()}));
    EXPECT_FALSE(records({begin_rendering(view), end_pass()}));
    EXPECT_FALSE(records({begin_rendering(view)}));
    EXPECT_FALSE(records({end_rendering()}));
}

TEST_F(RenderPasses, ClearTheAttachmentsThatTheyHave) {
    EXPECT_TRUE(records({begin_pass(), clear(0), next(), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), clear(1), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), next(), clear(0), end_pass()}));
    EXPECT_TRUE(records({begin_pass(), next(), clear(VK_ATTACHMENT_UNUSED), end_pass()}));
    EXPECT_TRUE(records({begin_rendering(view), clear(0), end_rendering()}));
    EXPECT_FALSE(records({begin_rendering(view), clear(1), end_rendering()}));
    EXPECT_FALSE(records({clear(0)}));
}

TEST_F(RenderPasses, AreInheritedAsTheyAre) {
    const VkCommandBuffer clears = make_secondary(clear(0));
    const VkCommandBuffer clears_none = make_secondary({}, 1);
    ASSERT_NE(clears, VkCommandBuffer{});
    ASSERT_NE(clears_none, VkCommandBuffer{});
    EXPECT_EQ(make_secondary(clear(1)), VkCommandBuffer{});
    EXPECT_EQ(make_secondary(clear(0), 1), VkCommandBuffer{});
    EXPECT_EQ(make_secondary({}, 2), VkCommandBuffer{}) << "There is no such subpass.";
    EXPECT_TRUE(records({begin_pass(), execute(clears), next(), execute(clears_none), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), next(), execute(clears), end_pass()}));
    EXPECT_FALSE(records({execute(clears)})) << "There is no pass.";
    const VkCommandBuffer alone = make_secondary({}, 7, 0);  // where all that is ignored
    ASSERT_NE(alone, VkCommandBuffer{});
    EXPECT_TRUE(records({execute(alone)}));
    EXPECT_FALSE(records({begin_pass(), execute(alone), end_pass()}));
    pass = VK_NULL_HANDLE;
    EXPECT_EQ(make_secondary({}), VkCommandBuffer{}) << "Nothing describes what is inherited.";
}

// --- how large things are ------------------------------------------------------------------------

TEST_F(Passes, ImagesAreWithinTheLimitsOfTheDriver) {
    const auto makes = [&](const auto& change) {
        VkImageCreateInfo info = image_info();
        change(info);
        VkImage image = VK_NULL_HANDLE;
        Answer answer = program.call(
            guest::vkCreateImage{.self = program.device, .pCreateInfo = &info, .pImage = &image});
        (void)answer.handle<VkImage>();
        return answer.result() == VK_SUCCESS;
    };
    for (const uint32_t levels : {0U, 1U, 5U, 6U, 15U, 16U, 200U, ~0U}) {
        EXPECT_EQ(makes([&](VkImageCreateInfo& info) { info.mipLevels = levels; }),
                  levels >= 1 && levels <= 5)
            << "The fifth is of one texel.";
        EXPECT_EQ(makes([&](VkImageCreateInfo& info) {
                      info.extent.width = 16384;
                      info.mipLevels = levels;
                  }),
                  levels >= 1 && levels <= 15);
    }
    for (const uint32_t layers : {0U, 2048U, 2049U, ~0U})
        EXPECT_EQ(makes([&](VkImageCreateInfo& info) { info.arrayLayers = layers; }),
                  layers == 2048);
    for (const uint32_t width : {0U, 16384U, 16385U, ~0U})
        EXPECT_EQ(makes([&](VkImageCreateInfo& info) { info.extent.width = width; }),
                  width == 16384);
    for (const uint32_t samples : {0U, 3U, 4U, 0x40U, 0x80U})
        EXPECT_EQ(makes([&](VkImageCreateInfo& info) {
                      info.samples = static_cast<VkSampleCountFlagBits>(samples);
                  }),
                  samples == 4 || samples == 0x40);
}

TEST_F(Passes, ViewsShowWhatTheImageHas) {
    VkImageCreateInfo info = image_info();
    info.mipLevels = 4;
    info.arrayLayers = 6;
    const VkImage image = make_image(info);
    const auto shows = [&](uint32_t level, uint32_t levels, uint32_t layer, uint32_t layers) {
        return try_view(image, {0, level, levels, layer, layers}) != VK_NULL_HANDLE;
    };
    EXPECT_TRUE(shows(0, 4, 0, 6));
    EXPECT_TRUE(shows(3, 1, 5, 1));
    EXPECT_TRUE(shows(3, VK_REMAINING_MIP_LEVELS, 5, VK_REMAINING_ARRAY_LAYERS));
    EXPECT_FALSE(shows(0, 5, 0, 6));
    EXPECT_FALSE(shows(4, 1, 0, 1));
    EXPECT_FALSE(shows(4, VK_REMAINING_MIP_LEVELS, 0, 1));
    EXPECT_FALSE(shows(~0U, 2, 0, 1));
    EXPECT_FALSE(shows(0, 0, 0, 1));
    EXPECT_FALSE(shows(0, 1, 0, 7));
    EXPECT_FALSE(shows(0, 1, 6, 1));
    EXPECT_FALSE(shows(0, 1, 6, VK_REMAINING_ARRAY_LAYERS));
    EXPECT_FALSE(shows(0, 1, 0, 0));
    info.imageType = VK_IMAGE_TYPE_3D;
    info.extent = {16, 16, 8};
    info.arrayLayers = 1;
    const VkImage volume = make_image(info);
    EXPECT_NE(try_view(volume, {0, 0, 4, 0, 1}, VK_IMAGE_VIEW_TYPE_3D), VkImageView{});
    EXPECT_NE(try_view(volume, {0, 0, 1, 0, 8}), VkImageView{}) << "Slices.";
    EXPECT_NE(try_view(volume, {0, 1, 1, 0, 4}), VkImageView{});
    EXPECT_EQ(try_view(volume, {0, 1, 1, 0, 5}), VkImageView{});
}

TEST_F(RenderPasses, AreNotLargerThanTheirViews) {
    EXPECT_EQ(try_framebuffer(view, {17, 16, 1}), VkFramebuffer{});
    EXPECT_EQ(try_framebuffer(view, {16, 17, 1}), VkFramebuffer{});
    EXPECT_EQ(try_framebuffer(view, {16, 16, 2}), VkFramebuffer{});
    VkImageCreateInfo info = image_info();
    info.mipLevels = 3;
    const VkImageView small = try_view(make_image(info), {0, 2, 1, 0, 1});
    EXPECT_NE(try_framebuffer(small, {4, 4, 1}), VkFramebuffer{});
    EXPECT_EQ(try_framebuffer(small, {5, 4, 1}), VkFramebuffer{});
    info = image_info();
    info.format = VK_FORMAT_BC1_RGB_UNORM_BLOCK;
    const VkImageView blocks = try_view(make_image(info), {0, 0, 1, 0, 1}, VK_IMAGE_VIEW_TYPE_2D,
                                        VK_FORMAT_R16G16B16A16_UINT);
    EXPECT_NE(try_framebuffer(blocks, {4, 4, 1}), VkFramebuffer{});
    EXPECT_EQ(try_framebuffer(blocks, {5, 5, 1}), VkFramebuffer{});

    for (const auto& [area, fits] : {std::pair<VkRect2D, bool>{{{0, 0}, {16, 16}}, true},
                                     {{{8, 8}, {8, 8}}, true},
                                     {{{8, 8}, {9, 8}}, false},
                                     {{{0, 0}, {16, 17}}, false},
                                     {{{-1, 0}, {4, 4}}, false},
                                     {{{0, 0x7fff'ffff}, {1, ~0U}}, false}}) {
        EXPECT_EQ(records({begin_pass(area), end_pass()}), fits);
        EXPECT_EQ(records({begin_rendering(view, area), end_rendering()}), fits);
    }
    EXPECT_FALSE(records({begin_rendering(view, {{0, 0}, {16, 16}}, 2), end_rendering()}));
    EXPECT_TRUE(records({begin_rendering(view, {{0, 0}, {16, 16}}, 0, 1), end_rendering()}));
    EXPECT_FALSE(records({begin_rendering(view, {{0, 0}, {16, 16}}, 0, 2), end_rendering()}));
}

TEST_F(RenderPasses, WithoutImages_AreNotLargerThanTheViewsTheyGet) {
    const VkRect2D area{{0, 0}, {16, 16}};
    framebuffer = try_framebuffer(VK_NULL_HANDLE, {16, 16, 1}, VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT);
    ASSERT_NE(framebuffer, VkFramebuffer{});
    EXPECT_TRUE(records({begin_pass(area, view), end_pass()}));
    framebuffer = try_framebuffer(VK_NULL_HANDLE, {32, 16, 1}, VK_FRAMEBUFFER_CREATE_IMAGELESS_BIT);
    ASSERT_NE(framebuffer, VkFramebuffer{});
    EXPECT_FALSE(records({begin_pass(area, view), end_pass()}));
}

TEST_F(RenderPasses, ClearWithinThem) {
    const VkRect2D half{{0, 0}, {8, 16}};
    EXPECT_TRUE(records({begin_pass(half), clear(0, {half, 0, 1}), end_pass()}));
    EXPECT_FALSE(records({begin_pass(half), clear(0), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), clear(0, {half, 0, 2}), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), clear(0, {{{-8, 0}, {8, 8}}, 0, 1}), end_pass()}));
    const VkCommandBuffer wide = make_secondary(clear(0));
    const VkCommandBuffer deep = make_secondary(clear(0, {half, 1, 1}));
    EXPECT_TRUE(records({begin_pass(), execute(wide), end_pass()}));
    EXPECT_FALSE(records({begin_pass(half), execute(wide), end_pass()}));
    EXPECT_FALSE(records({begin_pass(), execute(deep), end_pass()}));
}

TEST_F(Passes, BufferViewsLieInTheirBuffer) {
    VkBufferViewCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO;
    info.buffer = program.make_buffer(4096, VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT);
    info.format = VK_FORMAT_R8_UNORM;
    for (const auto& [offset, range, fits] : {std::tuple<uint64_t, uint64_t, bool>{0, 4096, true},
                                              {4032, 64, true},
                                              {4032, VK_WHOLE_SIZE, true},
                                              {4032, 65, false},
                                              {4097, VK_WHOLE_SIZE, false},
                                              {64, ~uint64_t{1}, false}}) {
        info.offset = offset;
        info.range = range;
        VkBufferView made = VK_NULL_HANDLE;
        EXPECT_EQ(program
                      .try_call(guest::vkCreateBufferView{
                          .self = program.device, .pCreateInfo = &info, .pView = &made})
                      .has_value(),
                  fits);
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
