// SPDX-License-Identifier: Apache-2.0
#include "vk_lab.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace swede::lab {

void give_up(std::string_view sentence, Here here) {
    std::fprintf(stderr, "%s:%u: %.*s\n", here.file_name(), here.line(),
                 static_cast<int>(sentence.size()), sentence.data());
    // Without destructors: threads may still run, and a lost device must not hold us.
    std::fflush(nullptr);
    _exit(1);
}

void check(VkResult result, Here here) {
    if (result < VK_SUCCESS) give_up("VkResult " + std::to_string(result), here);
}

void expect(bool condition, std::string_view sentence, Here here) {
    if (!condition) give_up(sentence, here);
}

void say(const std::vector<Field>& fields) {
    nlohmann::ordered_json line;
    for (const auto& [name, value] : fields)
        std::visit([&](const auto& content) { line[name] = content; }, value);
    std::puts(line.dump().c_str());
    std::fflush(stdout);
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
    if (path.empty()) return;
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    file.close();
    expect(file.good(), path + " could not be written");
}

void write_picture(const std::string& path, uint32_t width, uint32_t height,
                   std::span<const std::byte> rgba) {
    const std::string head =
        "P6 " + std::to_string(width) + " " + std::to_string(height) + " 255\n";
    std::vector<std::byte> file(head.size());
    std::memcpy(file.data(), head.data(), head.size());
    for (size_t pixel = 0; pixel < size_t{width} * height; ++pixel)
        for (size_t channel = 0; channel < 3; ++channel) file.push_back(rgba[4 * pixel + channel]);
    write_file(path, file);
}

std::string hash_of(std::span<const std::byte> bytes) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
    std::array<char, 17> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
    return text.data();
}

Options::Options(int argc, char** argv) {
    for (int i = 1; i < argc; i += 2) {
        if (std::string_view(argv[i]).substr(0, 2) != "--" || i + 1 == argc)
            give_up("options are pairs: --name value");
        values_.emplace_back(argv[i] + 2, argv[i + 1]);
    }
}

std::string Options::text(const std::string& name, std::string fallback) const {
    for (const auto& [key, value] : values_)
        if (key == name) return value;
    return fallback;
}

uint64_t Options::number(const std::string& name, uint64_t fallback) const {
    const std::string value = text(name);
    return value.empty() ? fallback : std::strtoull(value.c_str(), nullptr, 0);
}

bool offers_extensions(VkPhysicalDevice device, std::span<const char* const> names) {
    uint32_t count = 0;
    check(vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr));
    std::vector<VkExtensionProperties> offered(count);
    check(vkEnumerateDeviceExtensionProperties(device, nullptr, &count, offered.data()));
    return std::ranges::all_of(names, [&](const char* name) {
        return std::ranges::any_of(offered, [&](const VkExtensionProperties& extension) {
            return std::strcmp(static_cast<const char*>(extension.extensionName), name) == 0;
        });
    });
}

void Gpu::choose_device() {
    uint32_t count = 0;
    check(vkEnumeratePhysicalDevices(instance_, &count, nullptr));
    std::vector<VkPhysicalDevice> devices(count);
    check(vkEnumeratePhysicalDevices(instance_, &count, devices.data()));
    constexpr VkQueueFlags kNeeded = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
    for (VkPhysicalDevice device : devices) {
        uint32_t families = 0;
        vkGetPhysicalDeviceQueueFamilyProperties(device, &families, nullptr);
        std::vector<VkQueueFamilyProperties> queues(families);
        vkGetPhysicalDeviceQueueFamilyProperties(device, &families, queues.data());
        for (uint32_t family = 0; family < families; ++family) {
            if ((queues[family].queueFlags & kNeeded) != kNeeded) continue;
            physical_ = device;
            family_ = family;
            return;
        }
    }
    give_up("no device has a queue for graphics and computing; devices: " + std::to_string(count));
}

Gpu::Gpu(const Wishes& wishes) {
    const VkApplicationInfo application{.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                        .pApplicationName = "swede-lab",
                                        .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo instance_info{.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                             .pApplicationInfo = &application};
    check(vkCreateInstance(&instance_info, nullptr, &instance_));
    choose_device();
    vkGetPhysicalDeviceProperties(physical_, &properties_);
    vkGetPhysicalDeviceMemoryProperties(physical_, &memory_);

    // The structure is an array of flags.
    constexpr size_t kFlags = sizeof(VkPhysicalDeviceFeatures) / sizeof(VkBool32);
    VkPhysicalDeviceFeatures offered{};
    vkGetPhysicalDeviceFeatures(physical_, &offered);
    std::array<VkBool32, kFlags> wished{};
    std::array<VkBool32, kFlags> possible{};
    std::memcpy(wished.data(), &wishes.features, sizeof(wished));
    std::memcpy(possible.data(), &offered, sizeof(possible));
    for (size_t i = 0; i < kFlags; ++i) wished[i] &= possible[i];
    std::memcpy(&features_, wished.data(), sizeof(wished));

    const float priority = 1;
    const VkDeviceQueueCreateInfo queue_info{.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                             .queueFamilyIndex = family_,
                                             .queueCount = 1,
                                             .pQueuePriorities = &priority};
    const VkDeviceCreateInfo device_info{
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = wishes.next,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue_info,
        .enabledExtensionCount = static_cast<uint32_t>(wishes.extensions.size()),
        .ppEnabledExtensionNames = wishes.extensions.data(),
        .pEnabledFeatures = &features_};
    check(vkCreateDevice(physical_, &device_info, nullptr, &device_));
    vkGetDeviceQueue(device_, family_, 0, &queue_);
}

Gpu::~Gpu() {
    vkDestroyDevice(device_, nullptr);
    vkDestroyInstance(instance_, nullptr);
}

std::optional<uint32_t> Gpu::memory_type(uint32_t bits, VkMemoryPropertyFlags flags) const {
    for (uint32_t type = 0; type < memory_.memoryTypeCount; ++type)
        if ((bits >> type & 1) != 0 && (memory_.memoryTypes[type].propertyFlags & flags) == flags)
            return type;
    return std::nullopt;
}

uint32_t Gpu::need_memory_type(uint32_t bits, VkMemoryPropertyFlags flags, Here here) const {
    const auto type = memory_type(bits, flags);
    if (!type)
        give_up("no memory type of bits " + std::to_string(bits) + " has flags " +
                    std::to_string(flags),
                here);
    return *type;
}

VkCommandBuffer Gpu::allocate(VkCommandPool pool, VkCommandBufferLevel level) const {
    const VkCommandBufferAllocateInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = pool,
                                           .level = level,
                                           .commandBufferCount = 1};
    VkCommandBuffer commands = VK_NULL_HANDLE;
    check(vkAllocateCommandBuffers(device_, &info, &commands));
    return commands;
}

void Gpu::run(const std::function<void(VkCommandBuffer)>& record) const {
    const VkCommandPoolCreateInfo pool_info{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                            .queueFamilyIndex = family_};
    const CommandPool pool(device_, pool_info);
    const Fence fence(device_, VkFenceCreateInfo{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO});
    VkCommandBuffer commands = allocate(pool);
    begin(commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
    record(commands);
    check(vkEndCommandBuffer(commands));
    submit(*this, commands, fence);
    wait(*this, fence);
}

Buffer::Buffer(const Gpu& gpu, VkDeviceSize bytes, VkBufferUsageFlags usage,
               VkMemoryPropertyFlags flags, Here here)
    : size(bytes) {
    const VkBufferCreateInfo info{
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes, .usage = usage};
    handle = BufferHandle(gpu.device(), info, here);
    VkMemoryRequirements needs{};
    vkGetBufferMemoryRequirements(gpu.device(), handle, &needs);
    const VkMemoryAllocateInfo allocation{
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = needs.size,
        .memoryTypeIndex = gpu.need_memory_type(needs.memoryTypeBits, flags, here)};
    memory = Memory(gpu.device(), allocation, here);
    check(vkBindBufferMemory(gpu.device(), handle, memory, 0), here);
    if ((flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0) return;
    void* place = nullptr;
    check(vkMapMemory(gpu.device(), memory, 0, VK_WHOLE_SIZE, 0, &place), here);
    data = static_cast<std::byte*>(place);
}

Image::Image(const Gpu& gpu, VkFormat image_format, uint32_t image_width, uint32_t image_height,
             VkImageUsageFlags usage, VkSampleCountFlagBits samples, Here here)
    : format(image_format), width(image_width), height(image_height) {
    if ((usage & VK_IMAGE_USAGE_DEPTH_STENCIL_ATTACHMENT_BIT) != 0)
        aspect = VK_IMAGE_ASPECT_DEPTH_BIT;
    const VkImageCreateInfo info{.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                 .imageType = VK_IMAGE_TYPE_2D,
                                 .format = format,
                                 .extent = {width, height, 1},
                                 .mipLevels = 1,
                                 .arrayLayers = 1,
                                 .samples = samples,
                                 .usage = usage};
    handle = ImageHandle(gpu.device(), info, here);
    VkMemoryRequirements needs{};
    vkGetImageMemoryRequirements(gpu.device(), handle, &needs);
    const VkMemoryAllocateInfo allocation{
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .allocationSize = needs.size,
        .memoryTypeIndex =
            gpu.need_memory_type(needs.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, here)};
    memory = Memory(gpu.device(), allocation, here);
    check(vkBindImageMemory(gpu.device(), handle, memory, 0), here);
    const VkImageViewCreateInfo view_info{.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
                                          .image = handle,
                                          .viewType = VK_IMAGE_VIEW_TYPE_2D,
                                          .format = format,
                                          .subresourceRange = {aspect, 0, 1, 0, 1}};
    view = ImageView(gpu.device(), view_info, here);
}

ShaderModule shader(const Gpu& gpu, std::span<const uint32_t> code, Here here) {
    const VkShaderModuleCreateInfo info{.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                        .codeSize = code.size_bytes(),
                                        .pCode = code.data()};
    return {gpu.device(), info, here};
}

VkPipelineShaderStageCreateInfo stage(VkShaderStageFlagBits bit, VkShaderModule module) {
    return {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .stage = bit,
            .module = module,
            .pName = "main"};
}

ComputePipeline compute_pipeline(const Gpu& gpu, std::span<const uint32_t> code,
                                 VkPipelineLayout layout, Here here) {
    const ShaderModule module = shader(gpu, code, here);
    const VkComputePipelineCreateInfo info{.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                           .stage = stage(VK_SHADER_STAGE_COMPUTE_BIT, module),
                                           .layout = layout};
    return {gpu.device(), info, here};
}

void full_barrier(VkCommandBuffer commands) {
    const VkMemoryBarrier barrier{
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                         &barrier, 0, nullptr, 0, nullptr);
}

void change_layout(VkCommandBuffer commands, VkImage image, VkImageAspectFlags aspect,
                   VkImageLayout from, VkImageLayout to, uint32_t from_family, uint32_t to_family) {
    const VkImageMemoryBarrier barrier{
        .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
        .oldLayout = from,
        .newLayout = to,
        .srcQueueFamilyIndex = from_family,
        .dstQueueFamilyIndex = to_family,
        .image = image,
        .subresourceRange = {aspect, 0, 1, 0, 1}};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, nullptr, 0, nullptr, 1,
                         &barrier);
}

VkBufferImageCopy whole_image(uint32_t width, uint32_t height) {
    return {.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
            .imageExtent = {width, height, 1}};
}

void begin(VkCommandBuffer commands, VkCommandBufferUsageFlags flags) {
    const VkCommandBufferBeginInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                        .flags = flags};
    check(vkBeginCommandBuffer(commands, &info));
}

void submit(const Gpu& gpu, VkCommandBuffer commands, VkFence fence) {
    const VkSubmitInfo info{.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                            .commandBufferCount = 1,
                            .pCommandBuffers = &commands};
    check(vkQueueSubmit(gpu.queue(), 1, &info, fence));
}

void wait(const Gpu& gpu, VkFence fence) {
    check(vkWaitForFences(gpu.device(), 1, &fence, VK_TRUE, UINT64_MAX));
}

StorageSet::StorageSet(const Gpu& gpu, std::span<const Buffer* const> buffers,
                       uint32_t push_bytes) {
    const auto count = static_cast<uint32_t>(buffers.size());
    std::vector<VkDescriptorSetLayoutBinding> bindings;
    std::vector<VkDescriptorBufferInfo> infos;
    for (uint32_t i = 0; i < count; ++i) {
        bindings.push_back({.binding = i,
                            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                            .descriptorCount = 1,
                            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT});
        infos.push_back({buffers[i]->handle, 0, VK_WHOLE_SIZE});
    }
    set_layout =
        SetLayout(gpu.device(), VkDescriptorSetLayoutCreateInfo{
                                    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                                    .bindingCount = count,
                                    .pBindings = bindings.data()});
    const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
    layout = PipelineLayout(
        gpu.device(),
        VkPipelineLayoutCreateInfo{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                   .setLayoutCount = 1,
                                   .pSetLayouts = set_layout.pointer(),
                                   .pushConstantRangeCount = push_bytes != 0 ? 1U : 0U,
                                   .pPushConstantRanges = &range});
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count};
    pool = DescriptorPool(gpu.device(), VkDescriptorPoolCreateInfo{
                                            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                            .maxSets = 1,
                                            .poolSizeCount = 1,
                                            .pPoolSizes = &size});
    const VkDescriptorSetAllocateInfo allocation{
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = pool,
        .descriptorSetCount = 1,
        .pSetLayouts = set_layout.pointer()};
    check(vkAllocateDescriptorSets(gpu.device(), &allocation, &set));
    const VkWriteDescriptorSet write{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                     .dstSet = set,
                                     .dstBinding = 0,
                                     .descriptorCount = 1,
                                     .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER};
    std::vector<VkWriteDescriptorSet> writes(count, write);
    for (uint32_t i = 0; i < count; ++i) {
        writes[i].dstBinding = i;
        writes[i].pBufferInfo = &infos[i];
    }
    vkUpdateDescriptorSets(gpu.device(), count, writes.data(), 0, nullptr);
}

Census census() {
    const auto entries = [](const char* folder) {
        const std::filesystem::directory_iterator list(folder);
        return static_cast<int64_t>(std::distance(begin(list), end(list)));
    };
    std::ifstream statm("/proc/self/statm");
    int64_t total = 0;
    int64_t resident = 0;
    statm >> total >> resident;
    std::ifstream maps("/proc/self/maps");
    const auto lines = std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
    return {.files = entries("/proc/self/fd"),
            .threads = entries("/proc/self/task"),
            .maps = lines,
            .resident_bytes = resident * sysconf(_SC_PAGESIZE)};
}

}  // namespace swede::lab
