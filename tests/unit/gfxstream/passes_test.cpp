// SPDX-License-Identifier: Apache-2.0
// Passes of recordings: drivers follow what they take for the attachments of the pass in hand.
#include <gtest/gtest.h>

#include <array>
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
    VkImageView make_view() {
        VkImageCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
        info.imageType = VK_IMAGE_TYPE_2D;
        info.format = VK_FORMAT_R8G8B8A8_UNORM;
        info.extent = {16, 16, 1};
        info.mipLevels = info.arrayLayers = 1;
        info.samples = VK_SAMPLE_COUNT_1_BIT;
        info.usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
        VkImage image = VK_NULL_HANDLE;
        image = program.create<VkImage>(
            guest::vkCreateImage{.self = program.device, .pCreateInfo = &info, .pImage = &image});
        VkImageViewCreateInfo view{};
        view.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO;
        view.image = image;
        view.viewType = VK_IMAGE_VIEW_TYPE_2D;
        view.format = info.format;
        view.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
        VkImageView made = VK_NULL_HANDLE;
        return program.create<VkImageView>(
            guest::vkCreateImageView{.self = program.device, .pCreateInfo = &view, .pView = &made});
    }
    VkFramebuffer make_framebuffer(VkRenderPass pass, VkImageView view) {
        VkFramebufferCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO;
        info.renderPass = pass;
        info.attachmentCount = 1;
        info.pAttachments = &view;
        info.width = info.height = 16;
        info.layers = 1;
        VkFramebuffer made = VK_NULL_HANDLE;
        return program.create<VkFramebuffer>(guest::vkCreateFramebuffer{
            .self = program.device, .pCreateInfo = &info, .pFramebuffer = &made});
    }
    static GuestRecording clear(uint32_t attachment) {
        const VkClearAttachment one{VK_IMAGE_ASPECT_COLOR_BIT, attachment, {}};
        const VkClearRect rect{{{0, 0}, {16, 16}}, 0, 1};
        return GuestRecording().add(guest::vkCmdClearAttachments{
            .attachmentCount = 1, .pAttachments = &one, .rectCount = 1, .pRects = &rect});
    }
    GuestRecording begin_pass() {
        VkRenderPassBeginInfo info{};
        info.sType = VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO;
        info.renderPass = pass;
        info.framebuffer = framebuffer;
        info.renderArea = {{0, 0}, {16, 16}};
        return GuestRecording().add(guest::vkCmdBeginRenderPass{.pRenderPassBegin = &info});
    }
    static GuestRecording begin_rendering(VkImageView view) {
        VkRenderingAttachmentInfo attachment{};
        attachment.sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO;
        attachment.imageView = view;
        VkRenderingInfo info{};
        info.sType = VK_STRUCTURE_TYPE_RENDERING_INFO;
        info.renderArea = {{0, 0}, {16, 16}};
        info.layerCount = 1;
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
        framebuffer = make_framebuffer(pass, view);
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

}  // namespace
}  // namespace swede::gfxstream::vulkan
