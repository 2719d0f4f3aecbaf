// SPDX-License-Identifier: Apache-2.0
// What a guest finds in memory that it is given: nothing of the host, of other programs or of its
// own past (invariant I4).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "gfxstream/color_buffer.h"
#include "gfxstream/host_memory.h"
#include "unit/gfxstream/program.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr VkDeviceSize kSize = 65536;

/// Dirty free blocks in the heap, as other work of the process leaves them. What stands between
/// them keeps the C library from giving them back to the kernel.
class SoiledHeap {
  public:
    SoiledHeap() {
        std::vector<std::unique_ptr<unsigned char[]>> blocks;
        for (size_t i = 0; i < 64; ++i) {
            const size_t size = kSize + 4096 * (i % 8);
            blocks.push_back(std::make_unique_for_overwrite<unsigned char[]>(size));
            std::fill_n(blocks.back().get(), size, static_cast<unsigned char>(0xa5));
            between_.push_back(std::make_unique<unsigned char[]>(4096));
        }
    }

  private:
    std::vector<std::unique_ptr<unsigned char[]>> between_;
};

/// The bytes of `memory`, by a copy to memory that the guest maps.
std::vector<std::byte> contents_of(Program& program, VkDeviceMemory memory, uint64_t blob_id) {
    const VkBuffer from = program.make_buffer(kSize, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    program.bind(from, memory);
    const VkBuffer to = program.make_buffer(kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    const VkDeviceMemory mapped =
        program.make_mapped_memory(kSize, blob_id, Program::mapped_type());
    program.bind(to, mapped);
    const auto bytes = program.map(mapped, blob_id, kSize);
    const VkBufferCopy region{.srcOffset = 0, .dstOffset = 0, .size = kSize};
    GuestRecording copy;
    copy.add(guest::vkCmdCopyBuffer{
        .srcBuffer = from, .dstBuffer = to, .regionCount = 1, .pRegions = &region});
    EXPECT_EQ(program.run(copy.bytes()), VK_SUCCESS);
    return {bytes->data(), bytes->data() + kSize};
}

bool is_zero(const std::vector<std::byte>& bytes) {
    return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{}; });
}

TEST(Memory, WithoutAName_HasNothingOfTheHost) {
    Program program;
    program.start();
    for (uint64_t i = 0; i < 8; ++i) {
        const SoiledHeap dirt;
        const VkDeviceMemory memory = program.make_memory(kSize, Program::mapped_type());
        EXPECT_TRUE(is_zero(contents_of(program, memory, i))) << i;
    }
}

/// Memory without a name, filled and freed again.
void leave_dirty_memory(Program& program) {
    std::vector<VkBuffer> buffers;
    std::vector<VkDeviceMemory> memories;
    GuestRecording fill;
    for (int i = 0; i < 16; ++i) {
        buffers.push_back(program.make_buffer(kSize, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
        memories.push_back(program.make_memory(kSize, Program::mapped_type()));
        program.bind(buffers.back(), memories.back());
        fill.add(guest::vkCmdFillBuffer{.dstBuffer = buffers.back(), .size = kSize, .data = ~0U});
    }
    EXPECT_EQ(program.run(fill.bytes()), VK_SUCCESS);
    for (const VkBuffer buffer : buffers)
        program.call(guest::vkDestroyBuffer{.self = program.device, .buffer = buffer});
    for (const VkDeviceMemory memory : memories)
        program.call(guest::vkFreeMemory{.self = program.device, .memory = memory});
}

TEST(Memory, WithoutAName_HasNothingOfThePast) {
    Program program;
    program.start();
    leave_dirty_memory(program);
    for (uint64_t i = 0; i < 16; ++i) {
        const VkDeviceMemory memory = program.make_memory(kSize, Program::mapped_type());
        EXPECT_TRUE(is_zero(contents_of(program, memory, i))) << i;
    }
}

TEST(Memory, WithoutAName_HasNothingOfAnotherProgram) {
    Program other;
    other.start();
    Program program;
    program.start();
    leave_dirty_memory(other);
    for (uint64_t i = 0; i < 16; ++i) {
        const VkDeviceMemory memory = program.make_memory(kSize, Program::mapped_type());
        EXPECT_TRUE(is_zero(contents_of(program, memory, i))) << i;
    }
}

// Only Host3d blobs are the renderer's; what a guest says of others must not open another way.
TEST(Memory, OfAnotherBlobKind_IsZeroedAndNotMapped) {
    Program program;
    program.start();
    const SoiledHeap dirt;
    VkCreateBlobGOOGLE blob{};
    blob.sType = VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE;
    blob.blobMem = 1;
    blob.blobId = 77;
    const VkDeviceMemory memory = program.make_memory(kSize, Program::mapped_type(), &blob);
    EXPECT_EQ(program.result_of(guest::vkGetBlobGOOGLE{.self = program.device, .memory = memory}),
              VK_ERROR_MEMORY_MAP_FAILED);
    EXPECT_FALSE(program.session->take_blob(77, kSize));
    EXPECT_TRUE(is_zero(contents_of(program, memory, 1)));
}

TEST(Memory, WithoutAName_IsPaidFor) {
    Program program;
    program.start();
    const auto used = [&] { return program.services.budget()->used(BudgetKind::kHostBytes); };
    const uint64_t before = used();
    const VkDeviceMemory memory = program.make_memory(kSize, Program::mapped_type());
    EXPECT_GE(used(), before + kSize);
    program.call(guest::vkFreeMemory{.self = program.device, .memory = memory});
    EXPECT_EQ(used(), before);
}

/// A shared image in rows, as a swap chain's.
VkImage make_shared_image(Program& program) {
    VkExternalMemoryImageCreateInfo external{};
    external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO;
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    VkImageCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
    info.pNext = &external;
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = VK_FORMAT_B8G8R8A8_UNORM;
    info.extent = {100, 64, 1};
    info.mipLevels = info.arrayLayers = 1;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_LINEAR;
    info.usage = VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    VkImage image = VK_NULL_HANDLE;
    return program.create<VkImage>(
        guest::vkCreateImage{.self = program.device, .pCreateInfo = &info, .pImage = &image});
}

// The VMM looks at its memory with the stride that it gave.
TEST(Memory, OfAFixedStride_TakesImagesWithThoseRowsAlone) {
    Program program;
    program.start();
    const VkImage asked = make_shared_image(program);
    const VkImageSubresource colour{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
    VkSubresourceLayout layout{};
    layout = program
                 .call(guest::vkGetImageSubresourceLayout{.self = program.device,
                                                          .image = asked,
                                                          .pSubresource = &colour,
                                                          .pLayout = &layout})
                 .plain<VkSubresourceLayout>();
    const auto pitch = static_cast<uint32_t>(layout.rowPitch);
    ASSERT_GE(pitch, 400u);
    uint32_t resource = 0;
    const auto bind = [&](uint32_t stride, bool is_fixed) {
        const auto buffer = std::make_shared<ColorBuffer>();
        buffer->memory = HostMemory::create(1 << 20, program.services.budget()).value();
        buffer->stride = stride;
        buffer->has_fixed_stride = is_fixed;
        program.services.color_buffers[++resource] = buffer;
        VkImportColorBufferGOOGLE import{};
        import.sType = VK_STRUCTURE_TYPE_IMPORT_COLOR_BUFFER_GOOGLE;
        import.colorBuffer = resource;
        const VkDeviceMemory memory = program.make_memory(1 << 20, Program::mapped_type(), &import);
        const VkResult result = program.result_of(guest::vkBindImageMemory{
            .self = program.device, .image = make_shared_image(program), .memory = memory});
        return std::pair(result, buffer->stride.load());
    };
    EXPECT_EQ(bind(pitch, true), std::pair(VK_SUCCESS, pitch));
    EXPECT_EQ(bind(pitch + 64, true), std::pair(VK_ERROR_OUT_OF_DEVICE_MEMORY, pitch + 64));
    EXPECT_EQ(bind(pitch + 64, false), std::pair(VK_SUCCESS, pitch)) << "the driver says";
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
