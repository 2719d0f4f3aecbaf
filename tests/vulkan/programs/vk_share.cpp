// SPDX-License-Identifier: Apache-2.0
// An image whose memory two processes share as a dma-buf: the first draws a pattern and hands the
// file to a second one (a new program, not a mere fork), which compares, draws another pattern, and
// ends; the first sees that one: vk_share [--size N]
// With --show-with PROGRAM that second one is PROGRAM, which gets the words "import", the file's
// number, width, height and the bytes of a row, and shows the picture on whatever screen it has.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "vk_lab.h"

using namespace swede::lab;

namespace {

constexpr std::array kExtensions{VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME,
                                 VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME};
constexpr VkImageUsageFlags kUsage =
    VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
constexpr VkFormat kFormat = VK_FORMAT_B8G8R8A8_UNORM;
constexpr auto kDmaBuf = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;

bool can_share() {
    const Gpu gpu;
    if (!offers_extensions(gpu.physical(), kExtensions)) return false;
    const VkPhysicalDeviceExternalImageFormatInfo external{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO,
        .handleType = kDmaBuf};
    const VkPhysicalDeviceImageFormatInfo2 info{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_FORMAT_INFO_2,
        .pNext = &external,
        .format = kFormat,
        .type = VK_IMAGE_TYPE_2D,
        .tiling = VK_IMAGE_TILING_LINEAR,
        .usage = kUsage};
    VkExternalImageFormatProperties answer{.sType =
                                               VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES};
    VkImageFormatProperties2 properties{.sType = VK_STRUCTURE_TYPE_IMAGE_FORMAT_PROPERTIES_2,
                                        .pNext = &answer};
    const VkResult result =
        vkGetPhysicalDeviceImageFormatProperties2(gpu.physical(), &info, &properties);
    if (result == VK_ERROR_FORMAT_NOT_SUPPORTED) return false;
    check(result);
    constexpr VkExternalMemoryFeatureFlags kBoth =
        VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT;
    return (answer.externalMemoryProperties.externalMemoryFeatures & kBoth) == kBoth;
}

uint32_t pattern(uint32_t pixel, uint32_t seed) {
    return (pixel * 2654435761U) ^ (seed * 0x9e3779b9U);
}

// The image in one of the two processes; `fd` is imported, or the memory is new.
class SharedImage {
  public:
    SharedImage(const Gpu& gpu, uint32_t size, int fd = -1)
        : gpu_(gpu), size_(size), pixels_(gpu, 4ULL * size * size, kAnyTransfer) {
        const VkExternalMemoryImageCreateInfo external{
            .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO, .handleTypes = kDmaBuf};
        image_ = ImageHandle(gpu.device(),
                             VkImageCreateInfo{.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                               .pNext = &external,
                                               .imageType = VK_IMAGE_TYPE_2D,
                                               .format = kFormat,
                                               .extent = {size, size, 1},
                                               .mipLevels = 1,
                                               .arrayLayers = 1,
                                               .samples = VK_SAMPLE_COUNT_1_BIT,
                                               .tiling = VK_IMAGE_TILING_LINEAR,
                                               .usage = kUsage});
        VkMemoryRequirements needs{};
        vkGetImageMemoryRequirements(gpu.device(), image_, &needs);
        const VkImportMemoryFdInfoKHR import{
            .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR, .handleType = kDmaBuf, .fd = fd};
        const VkExportMemoryAllocateInfo exporting{
            .sType = VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, .handleTypes = kDmaBuf};
        const VkMemoryDedicatedAllocateInfo dedicated{
            .sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO,
            .pNext = fd < 0 ? static_cast<const void*>(&exporting) : &import,
            .image = image_};
        memory_ = Memory(
            gpu.device(),
            VkMemoryAllocateInfo{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                 .pNext = &dedicated,
                                 .allocationSize = needs.size,
                                 .memoryTypeIndex = gpu.need_memory_type(
                                     needs.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)});
        check(vkBindImageMemory(gpu.device(), image_, memory_, 0));
    }

    int export_fd() const {
        const auto get = reinterpret_cast<PFN_vkGetMemoryFdKHR>(
            vkGetDeviceProcAddr(gpu_.device(), "vkGetMemoryFdKHR"));
        const VkMemoryGetFdInfoKHR info{.sType = VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR,
                                        .memory = memory_,
                                        .handleType = kDmaBuf};
        int fd = -1;
        check(get(gpu_.device(), &info, &fd));
        return fd;
    }

    uint64_t row_bytes() const {
        const VkImageSubresource plane{.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT};
        VkSubresourceLayout layout{};
        vkGetImageSubresourceLayout(gpu_.device(), image_, &plane, &layout);
        return layout.rowPitch;
    }

    // The image belongs to the outside between the uses of a process.
    void write(uint32_t seed) const {
        for (uint32_t i = 0; i < size_ * size_; ++i) pixels_.as<uint32_t>()[i] = pattern(i, seed);
        const VkBufferImageCopy copy = whole_image(size_, size_);
        gpu_.run([&](VkCommandBuffer commands) {
            change_layout(commands, image_, VK_IMAGE_ASPECT_COLOR_BIT, VK_IMAGE_LAYOUT_UNDEFINED,
                          VK_IMAGE_LAYOUT_GENERAL);
            vkCmdCopyBufferToImage(commands, pixels_.handle, image_, VK_IMAGE_LAYOUT_GENERAL, 1,
                                   &copy);
            change_layout(commands, image_, VK_IMAGE_ASPECT_COLOR_BIT, VK_IMAGE_LAYOUT_GENERAL,
                          VK_IMAGE_LAYOUT_GENERAL, gpu_.family(), VK_QUEUE_FAMILY_EXTERNAL);
        });
    }

    void compare(uint32_t seed) const {
        for (uint32_t& word : pixels_.as<uint32_t>()) word = 0;
        const VkBufferImageCopy copy = whole_image(size_, size_);
        gpu_.run([&](VkCommandBuffer commands) {
            change_layout(commands, image_, VK_IMAGE_ASPECT_COLOR_BIT, VK_IMAGE_LAYOUT_GENERAL,
                          VK_IMAGE_LAYOUT_GENERAL, VK_QUEUE_FAMILY_EXTERNAL, gpu_.family());
            vkCmdCopyImageToBuffer(commands, image_, VK_IMAGE_LAYOUT_GENERAL, pixels_.handle, 1,
                                   &copy);
            full_barrier(commands);
        });
        for (uint32_t i = 0; i < size_ * size_; ++i)
            if (pixels_.as<uint32_t>()[i] != pattern(i, seed))
                give_up("pixel " + std::to_string(i) + " of pattern " + std::to_string(seed) +
                        " is " + std::to_string(pixels_.as<uint32_t>()[i]) + ", expected is " +
                        std::to_string(pattern(i, seed)));
    }

  private:
    const Gpu& gpu_;
    uint32_t size_;
    Buffer pixels_;
    Memory memory_;
    ImageHandle image_;
};

// Runs a program with the file, whose number in it takes the place of an empty word; its exit
// status.
int run_with_file(std::vector<std::string> words, int fd) {
    const int inherited = dup(fd);  // without close-on-exec
    expect(inherited >= 0, "the file could not be duplicated");
    const pid_t child = fork();
    expect(child >= 0, "no process could be started");
    if (child == 0) {
        std::vector<char*> arguments;
        for (std::string& word : words) {
            if (word.empty()) word = std::to_string(inherited);
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        execv(arguments.front(), arguments.data());
        _exit(127);
    }
    close(inherited);
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "the second process is gone");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// `starter` is a program that starts another with a C library of its own; else it is empty.
int start_second(const std::string& starter, const char* program, int fd, uint32_t size) {
    std::vector<std::string> words{starter.empty() ? "/proc/self/exe" : program, "--import", "",
                                   "--size", std::to_string(size)};
    if (!starter.empty()) words.insert(words.begin(), starter);
    return run_with_file(std::move(words), fd);
}

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const auto size = static_cast<uint32_t>(options.number("size", 250));
    const bool importing = !options.text("import").empty();
    if (!importing && !can_share()) {
        say({{"program", "vk_share"}, {"impossible", "no linear images as dma-bufs"}});
        return kExitImpossible;
    }
    Wishes wishes;
    wishes.extensions.assign(kExtensions.begin(), kExtensions.end());
    const Gpu gpu(wishes);
    if (importing) {
        const SharedImage image(gpu, size, static_cast<int>(options.number("import", 0)));
        image.compare(1);
        image.write(2);
        return 0;
    }
    const SharedImage image(gpu, size);
    image.write(1);
    const int fd = image.export_fd();
    if (const std::string viewer = options.text("show-with"); !viewer.empty()) {
        const std::string edge = std::to_string(size);
        return run_with_file({viewer, "import", "", edge, edge, std::to_string(image.row_bytes())},
                             fd);
    }
    const int status = start_second(options.text("starter"), argv[0], fd, size);
    close(fd);
    expect(status == 0, "the second process ended with status " + std::to_string(status));
    image.compare(2);
    say({{"program", "vk_share"}, {"size", size}});
}
