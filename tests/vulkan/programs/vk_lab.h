// SPDX-License-Identifier: Apache-2.0
// What the Vulkan programs of the tests and benchmarks share: a device, objects that destroy
// themselves, and one way to give up.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace swede::lab {

using Here = std::source_location;

constexpr int kExitImpossible = 77;  // this driver cannot do it at all

// Ends the program with status 1 and a sentence on standard error.
[[noreturn]] void give_up(std::string_view sentence, Here here = Here::current());
void check(VkResult result, Here here = Here::current());
void expect(bool condition, std::string_view sentence, Here here = Here::current());

// One line of JSON on standard output, at once.
using Value = std::variant<bool, int64_t, double, std::string>;
using Field = std::pair<std::string, Value>;
void say(const std::vector<Field>& fields);
void write_file(const std::string& path, std::span<const std::byte> bytes);
// Binary PPM of RGBA pixels; alpha is left out.
void write_picture(const std::string& path, uint32_t width, uint32_t height,
                   std::span<const std::byte> rgba);
// FNV-1a, as text: JSON has no 64-bit numbers.
std::string hash_of(std::span<const std::byte> bytes);

// The command line: `--name value` pairs.
class Options {
  public:
    Options(int argc, char** argv);
    std::string text(const std::string& name, std::string fallback = "") const;
    uint64_t number(const std::string& name, uint64_t fallback) const;

  private:
    std::vector<std::pair<std::string, std::string>> values_;
};

// A handle that its device destroys; Create and Destroy are Vulkan's own functions.
template <typename T, auto Create, auto Destroy>
class Owned {
  public:
    Owned() = default;
    Owned(VkDevice device, const auto& info, Here here = Here::current()) : device_(device) {
        check(Create(device, &info, nullptr, &handle_), here);
    }
    static Owned adopt(VkDevice device, T handle) {
        Owned owned;
        owned.device_ = device;
        owned.handle_ = handle;
        return owned;
    }
    Owned(Owned&& other) noexcept
        : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}
    Owned& operator=(Owned&& other) noexcept {
        std::swap(device_, other.device_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Owned() {
        if (handle_ != VK_NULL_HANDLE) Destroy(device_, handle_, nullptr);
    }
    // Vulkan's calls take handles; and pointers to them, where there are many.
    operator T() const { return handle_; }  // NOLINT(google-explicit-constructor)
    const T* pointer() const { return &handle_; }

  private:
    VkDevice device_ = VK_NULL_HANDLE;
    T handle_ = VK_NULL_HANDLE;
};

using Memory = Owned<VkDeviceMemory, vkAllocateMemory, vkFreeMemory>;
using BufferHandle = Owned<VkBuffer, vkCreateBuffer, vkDestroyBuffer>;
using ImageHandle = Owned<VkImage, vkCreateImage, vkDestroyImage>;
using ImageView = Owned<VkImageView, vkCreateImageView, vkDestroyImageView>;
using Sampler = Owned<VkSampler, vkCreateSampler, vkDestroySampler>;
using Fence = Owned<VkFence, vkCreateFence, vkDestroyFence>;
using Semaphore = Owned<VkSemaphore, vkCreateSemaphore, vkDestroySemaphore>;
using QueryPool = Owned<VkQueryPool, vkCreateQueryPool, vkDestroyQueryPool>;
using CommandPool = Owned<VkCommandPool, vkCreateCommandPool, vkDestroyCommandPool>;
using ShaderModule = Owned<VkShaderModule, vkCreateShaderModule, vkDestroyShaderModule>;
using RenderPass = Owned<VkRenderPass, vkCreateRenderPass, vkDestroyRenderPass>;
using Framebuffer = Owned<VkFramebuffer, vkCreateFramebuffer, vkDestroyFramebuffer>;
using SetLayout =
    Owned<VkDescriptorSetLayout, vkCreateDescriptorSetLayout, vkDestroyDescriptorSetLayout>;
using DescriptorPool = Owned<VkDescriptorPool, vkCreateDescriptorPool, vkDestroyDescriptorPool>;
using PipelineLayout = Owned<VkPipelineLayout, vkCreatePipelineLayout, vkDestroyPipelineLayout>;
using UpdateTemplate = Owned<VkDescriptorUpdateTemplate, vkCreateDescriptorUpdateTemplate,
                             vkDestroyDescriptorUpdateTemplate>;

// Pipelines have a cache and are made many at a time.
template <auto Create, typename Info>
VkResult create_one_pipeline(VkDevice device, const Info* info, const VkAllocationCallbacks* calls,
                             VkPipeline* pipeline) {
    return Create(device, VK_NULL_HANDLE, 1, info, calls, pipeline);
}
using ComputePipeline =
    Owned<VkPipeline, create_one_pipeline<vkCreateComputePipelines, VkComputePipelineCreateInfo>,
          vkDestroyPipeline>;
using GraphicsPipeline =
    Owned<VkPipeline, create_one_pipeline<vkCreateGraphicsPipelines, VkGraphicsPipelineCreateInfo>,
          vkDestroyPipeline>;

// What a program wants of its device.
struct Wishes {
    std::vector<const char*> extensions;  // required
    VkPhysicalDeviceFeatures features{};  // each enabled if the device has it
    const void* next = nullptr;           // further structures of VkDeviceCreateInfo
};

// An instance, the first device that has a queue for graphics and computing, and that queue.
// Whoever makes it owns it; it outlives all objects of its device.
class Gpu {
  public:
    explicit Gpu(const Wishes& wishes = {});
    Gpu(const Gpu&) = delete;
    Gpu& operator=(const Gpu&) = delete;
    ~Gpu();

    VkInstance instance() const { return instance_; }
    VkPhysicalDevice physical() const { return physical_; }
    VkDevice device() const { return device_; }
    VkQueue queue() const { return queue_; }
    uint32_t family() const { return family_; }
    const VkPhysicalDeviceProperties& properties() const { return properties_; }
    const VkPhysicalDeviceMemoryProperties& memory() const { return memory_; }
    const VkPhysicalDeviceFeatures& features() const { return features_; }  // enabled ones

    // The first type among `bits` that has all `flags`.
    std::optional<uint32_t> memory_type(uint32_t bits, VkMemoryPropertyFlags flags) const;
    uint32_t need_memory_type(uint32_t bits, VkMemoryPropertyFlags flags,
                              Here here = Here::current()) const;
    VkCommandBuffer allocate(VkCommandPool pool,
                             VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY) const;
    // Records, submits and waits.
    void run(const std::function<void(VkCommandBuffer)>& record) const;

  private:
    void choose_device();

    VkInstance instance_ = VK_NULL_HANDLE;
    VkPhysicalDevice physical_ = VK_NULL_HANDLE;
    VkDevice device_ = VK_NULL_HANDLE;
    VkQueue queue_ = VK_NULL_HANDLE;
    uint32_t family_ = 0;
    VkPhysicalDeviceProperties properties_{};
    VkPhysicalDeviceMemoryProperties memory_{};
    VkPhysicalDeviceFeatures features_{};
};

// The extensions that the first suitable device offers, without making a device.
bool offers_extensions(VkPhysicalDevice device, std::span<const char* const> names);

constexpr VkMemoryPropertyFlags kHostMemory =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkBufferUsageFlags kAnyTransfer =
    VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

// A buffer with its memory, mapped for its life if the host can see it.
struct Buffer {
    Buffer() = default;
    Buffer(const Gpu& gpu, VkDeviceSize bytes, VkBufferUsageFlags usage,
           VkMemoryPropertyFlags flags = kHostMemory, Here here = Here::current());

    std::span<std::byte> bytes() const { return {data, static_cast<size_t>(size)}; }
    template <typename T>
    std::span<T> as() const {
        return {reinterpret_cast<T*>(data), static_cast<size_t>(size / sizeof(T))};
    }

    VkDeviceSize size = 0;
    Memory memory;  // declared first: freed after the buffer is gone
    BufferHandle handle;
    std::byte* data = nullptr;
};

// A 2D image of one level with its memory and a view of all of it.
struct Image {
    Image() = default;
    Image(const Gpu& gpu, VkFormat image_format, uint32_t image_width, uint32_t image_height,
          VkImageUsageFlags usage, VkSampleCountFlagBits samples = VK_SAMPLE_COUNT_1_BIT,
          Here here = Here::current());

    VkFormat format = VK_FORMAT_UNDEFINED;
    uint32_t width = 0;
    uint32_t height = 0;
    VkImageAspectFlags aspect = VK_IMAGE_ASPECT_COLOR_BIT;
    Memory memory;
    ImageHandle handle;
    ImageView view;
};

ShaderModule shader(const Gpu& gpu, std::span<const uint32_t> code, Here here = Here::current());
VkPipelineShaderStageCreateInfo stage(VkShaderStageFlagBits bit, VkShaderModule module);
ComputePipeline compute_pipeline(const Gpu& gpu, std::span<const uint32_t> code,
                                 VkPipelineLayout layout, Here here = Here::current());

// All reads and writes before are done and seen by all after.
void full_barrier(VkCommandBuffer commands);
void change_layout(VkCommandBuffer commands, VkImage image, VkImageAspectFlags aspect,
                   VkImageLayout from, VkImageLayout to,
                   uint32_t from_family = VK_QUEUE_FAMILY_IGNORED,
                   uint32_t to_family = VK_QUEUE_FAMILY_IGNORED);
VkBufferImageCopy whole_image(uint32_t width, uint32_t height);
void begin(VkCommandBuffer commands, VkCommandBufferUsageFlags flags = 0);
void submit(const Gpu& gpu, VkCommandBuffer commands, VkFence fence = VK_NULL_HANDLE);
void wait(const Gpu& gpu, VkFence fence);

// Computing on storage buffers: a set layout of `count` of them in stage COMPUTE, a pool and a set.
struct StorageSet {
    StorageSet(const Gpu& gpu, std::span<const Buffer* const> buffers, uint32_t push_bytes);

    SetLayout set_layout;
    PipelineLayout layout;
    DescriptorPool pool;
    VkDescriptorSet set = VK_NULL_HANDLE;
};

// What this process has open and uses, of /proc/self.
struct Census {
    int64_t files = 0;
    int64_t threads = 0;
    int64_t maps = 0;
    int64_t resident_bytes = 0;
};
Census census();

}  // namespace swede::lab
