// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/host.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>
#include <mutex>
#include <utility>

#include "base/blocked_signals.h"
#include "base/checked.h"
#include "base/mapping.h"
#include "gfxstream/vulkan/generated/layouts.h"

namespace swede::gfxstream::vulkan {

/// A physical device, an instance's, and while it is needed a device made of it to try things.
struct Candidate {
    const InstanceFunctions* vk = nullptr;
    VkPhysicalDevice physical = nullptr;
    VkDevice device = nullptr;
    DeviceFunctions device_vk;

    DeviceDescription description;
    VkPhysicalDeviceProperties properties{};
    std::array<uint8_t, VK_UUID_SIZE> uuid{};
    std::vector<VkExtensionProperties> extensions;
    std::vector<VkQueueFamilyProperties> families;
    MemoryTypes memory;
    bool imports_buffers = false;

    Candidate() = default;
    Candidate(const Candidate&) = delete;
    Candidate& operator=(const Candidate&) = delete;
    ~Candidate() { close(); }
    void close() {
        if (device != nullptr) device_vk.vkDestroyDevice(device, nullptr);
        device = nullptr;
    }
};

namespace {

constexpr uint64_t kProbeSize = 1 << 20;  ///< bytes; whole pages of any size that Linux has
/// Queues that an application may use. The others would need commands that we do not know.
constexpr VkQueueFlags kQueueFlags =
    VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT;

/// Beside what the driver has: the guest's driver does these by itself (Mesa 25.0.7,
/// src/gfxstream/guest/vulkan_enc/ResourceTracker.cpp), or this folder does.
constexpr std::array<VkExtensionProperties, 5> kEmulated{{
    {VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME, VK_KHR_EXTERNAL_MEMORY_FD_SPEC_VERSION},
    {VK_EXT_EXTERNAL_MEMORY_DMA_BUF_EXTENSION_NAME, VK_EXT_EXTERNAL_MEMORY_DMA_BUF_SPEC_VERSION},
    {VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_EXTENSION_NAME,
     VK_EXT_IMAGE_DRM_FORMAT_MODIFIER_SPEC_VERSION},
    {VK_KHR_EXTERNAL_FENCE_FD_EXTENSION_NAME, VK_KHR_EXTERNAL_FENCE_FD_SPEC_VERSION},
    {VK_KHR_EXTERNAL_SEMAPHORE_FD_EXTENSION_NAME, VK_KHR_EXTERNAL_SEMAPHORE_FD_SPEC_VERSION},
}};
/// Never named to guests, and not passed on when one asks for them all the same.
constexpr std::array<std::string_view, 5> kGuestsOwn{
    VK_EXT_DEVICE_MEMORY_REPORT_EXTENSION_NAME, VK_EXT_TOOLING_INFO_EXTENSION_NAME,
    "VK_KHR_swapchain", "VK_KHR_incremental_present", "VK_GOOGLE_display_timing"};

bool has(std::span<const VkExtensionProperties> extensions, std::string_view name) {
    return std::ranges::any_of(extensions, [name](const VkExtensionProperties& extension) {
        return name == extension.extensionName;
    });
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
}

const char* type_name(VkPhysicalDeviceType type) {
    switch (type) {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
            return "discrete";
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
            return "integrated";
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
            return "virtual";
        case VK_PHYSICAL_DEVICE_TYPE_CPU:
            return "cpu";
        default:
            return "other";
    }
}

/// GPUs before what shares its work with the guest's processors.
int rank_of(VkPhysicalDeviceType type) {
    switch (type) {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
            return 0;
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
            return 1;
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
            return 2;
        case VK_PHYSICAL_DEVICE_TYPE_CPU:
            return 4;
        default:
            return 3;
    }
}

std::string uuid_text(const std::array<uint8_t, VK_UUID_SIZE>& uuid) {
    std::string text;
    for (size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", uuid[i]);
    }
    return text;
}

/// Fills what needs no device.
void describe(Candidate& candidate, uint32_t index) {
    const InstanceFunctions& vk = *candidate.vk;
    vk.vkGetPhysicalDeviceProperties(candidate.physical, &candidate.properties);
    uint32_t count = 0;
    vk.vkEnumerateDeviceExtensionProperties(candidate.physical, nullptr, &count, nullptr);
    candidate.extensions.resize(count);
    if (vk.vkEnumerateDeviceExtensionProperties(candidate.physical, nullptr, &count,
                                                candidate.extensions.data()) < VK_SUCCESS)
        count = 0;
    candidate.extensions.resize(count);
    vk.vkGetPhysicalDeviceQueueFamilyProperties(candidate.physical, &count, nullptr);
    candidate.families.resize(count);
    vk.vkGetPhysicalDeviceQueueFamilyProperties(candidate.physical, &count,
                                                candidate.families.data());
    candidate.families.resize(count);
    for (VkQueueFamilyProperties& family : candidate.families) family.queueFlags &= kQueueFlags;

    DeviceDescription& text = candidate.description;
    VkPhysicalDeviceProperties& properties = candidate.properties;
    properties.deviceName[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE - 1] = '\0';
    text.index = index;
    text.name = properties.deviceName;
    text.type = type_name(properties.deviceType);
    text.api_version = properties.apiVersion;
    if (properties.apiVersion < VK_API_VERSION_1_1) return;

    VkPhysicalDeviceIDProperties ids{};
    ids.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
    VkPhysicalDeviceDriverProperties driver{};
    driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    VkPhysicalDevicePCIBusInfoPropertiesEXT bus{};
    bus.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT;
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT host_memory{};
    host_memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
    VkPhysicalDeviceProperties2 all{};
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    all.pNext = &ids;
    void** tail = &ids.pNext;
    const auto append = [&tail](auto& structure) {
        *tail = &structure;
        tail = &structure.pNext;
    };
    if (properties.apiVersion >= VK_API_VERSION_1_2 ||
        has(candidate.extensions, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME))
        append(driver);
    const bool has_bus = has(candidate.extensions, VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
    if (has_bus) append(bus);
    if (has(candidate.extensions, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME)) append(host_memory);
    vk.vkGetPhysicalDeviceProperties2(candidate.physical, &all);

    std::memcpy(candidate.uuid.data(), ids.deviceUUID, VK_UUID_SIZE);
    text.uuid = uuid_text(candidate.uuid);
    driver.driverName[VK_MAX_DRIVER_NAME_SIZE - 1] = '\0';
    driver.driverInfo[VK_MAX_DRIVER_INFO_SIZE - 1] = '\0';
    text.driver = driver.driverName;
    if (driver.driverInfo[0] != '\0') text.driver += fmt::format(" ({})", driver.driverInfo);
    if (has_bus)
        text.pci = fmt::format("{:04x}:{:02x}:{:02x}.{}", bus.pciDomain, bus.pciBus, bus.pciDevice,
                               bus.pciFunction);
    candidate.memory.import_alignment =
        std::max<uint64_t>(host_memory.minImportedHostPointerAlignment, kPageSize);
}

/// A device with a queue, to ask what physical devices do not tell.
Result<void> make_device(Candidate& candidate) {
    const float priority = 0;
    VkDeviceQueueCreateInfo queue{};
    queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    const char* const extension = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    VkDeviceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = &extension;
    VkDevice device = nullptr;
    const BlockedSignals blocked;  // the driver's threads, on the thread of whoever calls
    const VkResult result =
        candidate.vk->vkCreateDevice(candidate.physical, &info, nullptr, &device);
    if (result != VK_SUCCESS)
        return fail(ErrorCode::kUnsupported, "Its driver makes no device ({}).", text_of(result));
    candidate.device = device;
    candidate.device_vk.load(candidate.vk->vkGetDeviceProcAddr, device);
    return {};
}

/// True when the driver takes the memory at `data` as `type`. Asking for the types is not enough:
/// amdgpu's driver names some and refuses files' pages only then.
bool imports(const Candidate& candidate, std::byte* data, uint32_t type) {
    VkImportMemoryHostPointerInfoEXT pointer{};
    pointer.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
    pointer.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    pointer.pHostPointer = data;
    VkMemoryAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    info.pNext = &pointer;
    info.allocationSize = kProbeSize;
    info.memoryTypeIndex = type;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    const DeviceFunctions& vk = candidate.device_vk;
    if (vk.vkAllocateMemory(candidate.device, &info, nullptr, &memory) != VK_SUCCESS) return false;
    vk.vkFreeMemory(candidate.device, memory, nullptr);
    return true;
}

Result<void> find_memory_types(Candidate& candidate) {
    MemoryTypes& memory = candidate.memory;
    const DeviceFunctions& vk = candidate.device_vk;
    candidate.vk->vkGetPhysicalDeviceMemoryProperties(candidate.physical, &memory.guest);
    const UniqueFd file = SWEDE_TRY(create_memfd("swede-probe", kProbeSize));
    const Mapping mapping =
        SWEDE_TRY(Mapping::own_file(file.get(), 0, kProbeSize, Access::kReadWrite));
    VkMemoryHostPointerPropertiesEXT pointer{};
    pointer.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT;
    if (kProbeSize % memory.import_alignment != 0 ||
        vk.vkGetMemoryHostPointerPropertiesEXT == nullptr ||
        vk.vkGetMemoryHostPointerPropertiesEXT(
            candidate.device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
            mapping.data(), &pointer) != VK_SUCCESS)
        pointer.memoryTypeBits = 0;

    // Coherent ones only: the host's view of imported memory is never mapped, so that there is
    // nothing to flush. Vulkan promises at least one type with both flags, the driver may not.
    constexpr VkMemoryPropertyFlags kMapped =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    constexpr VkMemoryPropertyFlags kHostFlags = kMapped | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    VkPhysicalDeviceMemoryProperties& guest = memory.guest;
    uint32_t cached = 0;
    uint32_t local = 0;
    for (uint32_t i = 0; i < guest.memoryTypeCount; ++i) {
        VkMemoryPropertyFlags& flags = guest.memoryTypes[i].propertyFlags;
        const uint32_t bit = 1U << i;
        if ((pointer.memoryTypeBits & bit) != 0 && (flags & kMapped) == kMapped &&
            imports(candidate, mapping.data(), i)) {
            memory.importable |= bit;
            if ((flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0) cached |= bit;
        } else {
            flags &= ~kHostFlags;
        }
        if ((flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0) local |= bit;
    }
    if (memory.importable == 0)
        return fail(ErrorCode::kUnsupported,
                    "Its driver imports no shared memory (of {} memory types).",
                    guest.memoryTypeCount);
    memory.color_buffer_import =
        static_cast<uint32_t>(std::countr_zero(cached != 0 ? cached : memory.importable));
    memory.color_buffer_index =
        local != 0 ? static_cast<uint32_t>(std::countr_zero(local)) : memory.color_buffer_import;
    return {};
}

/// An Error says why guests cannot have the device.
Result<void> try_out(Candidate& candidate) {
    const uint32_t version = candidate.properties.apiVersion;
    if (version < VK_API_VERSION_1_2)  // for its timeline semaphores
        return fail(ErrorCode::kUnsupported, "It has Vulkan {}.{}, and 1.2 is needed.",
                    VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
    if (!has(candidate.extensions, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME))
        return fail(ErrorCode::kUnsupported, "Its driver has no {}.",
                    VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    if (candidate.families.empty()) return fail(ErrorCode::kUnsupported, "It has no queues.");
    SWEDE_TRY(make_device(candidate));
    SWEDE_TRY(find_memory_types(candidate));
    VkPhysicalDeviceExternalBufferInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO;
    info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                 VK_BUFFER_USAGE_VERTEX_BUFFER_BIT;
    info.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    VkExternalBufferProperties answer{};
    answer.sType = VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES;
    candidate.vk->vkGetPhysicalDeviceExternalBufferProperties(candidate.physical, &info, &answer);
    candidate.imports_buffers = (answer.externalMemoryProperties.externalMemoryFeatures &
                                 VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) != 0;
    return {};
}

std::vector<std::unique_ptr<Candidate>> candidates_of(const Loader& loader) {
    std::vector<std::unique_ptr<Candidate>> candidates;
    for (const VkPhysicalDevice physical : loader.physical_devices()) {
        auto candidate = std::make_unique<Candidate>();
        candidate->vk = &loader.vk();
        candidate->physical = physical;
        describe(*candidate, static_cast<uint32_t>(candidates.size()));
        candidates.push_back(std::move(candidate));
    }
    return candidates;
}

bool is_named(const Candidate& candidate, std::string_view wanted) {
    const DeviceDescription& device = candidate.description;
    const std::string text = lower(wanted);
    if (text.starts_with("pci:")) {
        const std::string_view address = std::string_view(text).substr(4);
        return !device.pci.empty() && (device.pci == address || (device.pci.starts_with("0000:") &&
                                                                 device.pci.substr(5) == address));
    }
    uint32_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error == std::errc() && end == text.data() + text.size()) return index == device.index;
    return text == device.uuid || lower(device.name).find(text) != std::string::npos;
}

Result<std::unique_ptr<Candidate>> choose(std::vector<std::unique_ptr<Candidate>> candidates,
                                          std::string_view wanted) {
    if (candidates.empty())
        return fail(ErrorCode::kUnsupported, "The Vulkan drivers find no device.");
    if (!wanted.empty()) {
        std::erase_if(candidates,
                      [wanted](const auto& candidate) { return !is_named(*candidate, wanted); });
        if (candidates.empty())
            return fail(ErrorCode::kInvalidParameter, "No Vulkan device is called '{}'.", wanted);
        if (candidates.size() > 1)
            return fail(ErrorCode::kInvalidParameter,
                        "{} Vulkan devices are called '{}': choose by number or UUID.",
                        candidates.size(), wanted);
    }
    std::ranges::sort(candidates, {}, [](const auto& candidate) {
        return std::pair(rank_of(candidate->properties.deviceType), candidate->description.index);
    });
    std::string reasons;
    for (std::unique_ptr<Candidate>& candidate : candidates) {
        const Result<void> usable = try_out(*candidate);
        candidate->close();
        if (usable) return std::move(candidate);
        reasons += fmt::format(" '{}': {}", candidate->description.name, usable.error().message);
    }
    return fail(ErrorCode::kUnsupported, "No Vulkan device can serve guests.{}", reasons);
}

}  // namespace

Result<std::unique_ptr<Host>> Host::open(std::string_view device) {
    return open(SWEDE_TRY(Loader::open()), device);
}

Result<std::unique_ptr<Host>> Host::open(std::unique_ptr<Loader> loader, std::string_view device) {
    std::unique_ptr<Host> host(new Host);
    host->loader_ = std::move(loader);
    host->chosen_ = SWEDE_TRY(choose(candidates_of(*host->loader_), device));
    for (const VkExtensionProperties& extension : host->chosen_->extensions) {
        const std::string_view name = extension.extensionName;
        if (std::ranges::binary_search(kKnownDeviceExtensions, name, std::ranges::less{},
                                       [](std::string_view known) { return known; }) &&
            !is_emulated_extension(name))
            host->extensions_.push_back(extension);
    }
    host->extensions_.insert(host->extensions_.end(), kEmulated.begin(), kEmulated.end());
    return host;
}

Host::~Host() = default;

void Host::share_process() {
    shares_process_ = true;
    // Loaders unload a driver with its last instance, and not every driver can be loaded again and
    // again: NVIDIA's 580.159 runs out of room for its thread-local memory. One that is never
    // destroyed keeps it.
    static const Loader* const kept = [] {
        auto loader = Loader::open();
        return loader ? loader->release() : nullptr;
    }();
    static_cast<void>(kept);
}

const DeviceDescription& Host::description() const {
    return chosen_->description;
}
const MemoryTypes& Host::memory() const {
    return chosen_->memory;
}
bool Host::imports_buffers() const {
    return chosen_->imports_buffers;
}

bool Host::driver_has(std::string_view extension) const {
    return has(chosen_->extensions, extension);
}

bool Host::follows_mappings() const {
    return chosen_->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
}

std::span<const VkQueueFamilyProperties> Host::queue_families() const {
    return chosen_->families;
}

const VkPhysicalDeviceLimits& Host::limits() const {
    return chosen_->properties.limits;
}

uint32_t Host::device_version() const {
    return std::min(chosen_->properties.apiVersion, kHighestVersion);
}

VkPhysicalDevice Host::find(const InstanceFunctions& vk, VkInstance instance) const {
    const std::vector<VkPhysicalDevice> devices = physical_devices_of(vk, instance);
    const auto is_chosen = [&](VkPhysicalDevice device) {
        VkPhysicalDeviceIDProperties ids{};
        ids.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
        VkPhysicalDeviceProperties2 all{};
        all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
        all.pNext = &ids;
        vk.vkGetPhysicalDeviceProperties(device, &all.properties);
        if (all.properties.apiVersion < VK_API_VERSION_1_1) return false;
        vk.vkGetPhysicalDeviceProperties2(device, &all);
        return std::memcmp(ids.deviceUUID, chosen_->uuid.data(), VK_UUID_SIZE) == 0 &&
               std::strcmp(all.properties.deviceName, chosen_->properties.deviceName) == 0;
    };
    // Drivers may give several devices one UUID, so the place in the list comes first.
    const uint32_t index = chosen_->description.index;
    if (index < devices.size() && is_chosen(devices[index])) return devices[index];
    const auto found = std::ranges::find_if(devices, is_chosen);
    return found != devices.end() ? *found : nullptr;
}

Result<ColorBufferLayout> Host::color_buffer_layout(uint32_t virgl_format, uint32_t width,
                                                    uint32_t height) const {
    constexpr uint32_t kMaxExtent = 32768;  // no device has more (gpuinfo.org)
    if (width == 0 || height == 0 || width > kMaxExtent || height > kMaxExtent)
        return fail(ErrorCode::kInvalidParameter, "A colour buffer is {}x{}.", width, height);
    // Rows of whole 256 bytes and some rows more hold what drivers make of LINEAR images.
    const uint64_t guessed_stride = (uint64_t{width} * 4 + 255) & ~uint64_t{255};
    ColorBufferLayout layout{.size = guessed_stride * ((uint64_t{height} + 63) & ~uint64_t{63}),
                             .stride = static_cast<uint32_t>(guessed_stride)};
    VkImageCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = format_of_virgl(virgl_format);
    info.extent = {width, height, 1};
    info.mipLevels = 1;
    info.arrayLayers = 1;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_LINEAR;
    info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT |
                 VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
    if (info.format == VK_FORMAT_UNDEFINED) return layout;
    VkImageFormatProperties limits{};
    const auto supported = [&] {
        return chosen_->vk->vkGetPhysicalDeviceImageFormatProperties(
                   chosen_->physical, info.format, info.imageType, info.tiling, info.usage, 0,
                   &limits) == VK_SUCCESS &&
               width <= limits.maxExtent.width && height <= limits.maxExtent.height;
    };
    if (!supported()) {
        info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
        if (!supported()) return layout;
    }
    const std::lock_guard lock(device_mutex_);
    if (chosen_->device == nullptr && !make_device(*chosen_)) return layout;
    VkExternalMemoryImageCreateInfo external{};
    external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO;
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    info.pNext = &external;
    const DeviceFunctions& vk = chosen_->device_vk;
    VkImage image = VK_NULL_HANDLE;
    if (vk.vkCreateImage(chosen_->device, &info, nullptr, &image) != VK_SUCCESS) return layout;
    VkMemoryRequirements requirements{};
    vk.vkGetImageMemoryRequirements(chosen_->device, image, &requirements);
    const VkImageSubresource subresource{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0};
    VkSubresourceLayout rows{};
    vk.vkGetImageSubresourceLayout(chosen_->device, image, &subresource, &rows);
    vk.vkDestroyImage(chosen_->device, image, nullptr);
    // The guest's image may have another usage, which may want a little more.
    if (rows.offset == 0 && rows.rowPitch <= std::numeric_limits<uint32_t>::max()) {
        layout.size = std::max<uint64_t>(layout.size, requirements.size);
        layout.stride = static_cast<uint32_t>(rows.rowPitch);
    }
    return layout;
}

Result<std::vector<DeviceDescription>> list_devices() {
    const std::unique_ptr<Loader> loader = SWEDE_TRY(Loader::open());
    std::vector<DeviceDescription> devices;
    for (const std::unique_ptr<Candidate>& candidate : candidates_of(*loader)) {
        const Result<void> usable = try_out(*candidate);
        if (!usable) candidate->description.unusable = usable.error().message;
        devices.push_back(candidate->description);
    }
    return devices;
}

bool is_emulated_extension(std::string_view name) {
    return has(kEmulated, name) || std::ranges::find(kGuestsOwn, name) != kGuestsOwn.end();
}

VkFormat format_of_virgl(uint32_t virgl_format) {
    // Numbers of virgl_hw.h; what Mesa's gfxstream and 2D drivers of guests use.
    switch (virgl_format) {
        case 1:    // B8G8R8A8
        case 2:    // B8G8R8X8
        case 100:  // B8G8R8A8_SRGB
            return VK_FORMAT_B8G8R8A8_UNORM;
        case 8:  // B10G10R10A2
            return VK_FORMAT_A2R10G10B10_UNORM_PACK32;
        case 67:   // R8G8B8A8
        case 104:  // R8G8B8A8_SRGB
        case 134:  // R8G8B8X8
            return VK_FORMAT_R8G8B8A8_UNORM;
        default:
            return VK_FORMAT_UNDEFINED;
    }
}

}  // namespace swede::gfxstream::vulkan
