// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gfxstream/vulkan/generated/dispatch.h"
#include "gfxstream/vulkan/loader.h"

namespace swede::gfxstream::vulkan {

/// A Vulkan device of this machine, for people.
struct DeviceDescription {
    uint32_t index = 0;  ///< in the loader's order
    std::string name;
    std::string driver;  ///< "llvmpipe 22.3.6 (LLVM 15)"; empty when the driver does not say
    std::string type;    ///< "discrete", "integrated", "virtual", "cpu", "other"
    uint32_t api_version = 0;
    std::string uuid;      ///< 8-4-4-4-12 hexadecimal digits
    std::string pci;       ///< "0000:01:00.0"; empty when the driver does not say
    std::string unusable;  ///< why guests cannot have it, a sentence; empty when they can
};

/// Memory types as guests see them: the host's numbers, with HOST_VISIBLE only where a range of a
/// memfd can be imported, since guests map nothing else.
struct MemoryTypes {
    VkPhysicalDeviceMemoryProperties guest{};
    uint32_t importable = 0;           ///< bits of the types that are HOST_VISIBLE for the guest
    uint32_t color_buffer_index = 0;   ///< for the capset: what exported images are said to need
    uint32_t color_buffer_import = 0;  ///< what their memory is imported as
    uint64_t import_alignment = 0;     ///< minImportedHostPointerAlignment, bytes
};

/// What an image of the guest's size and format needs when its rows lie in shared memory.
struct ColorBufferLayout {
    uint64_t size = 0;    ///< bytes
    uint32_t stride = 0;  ///< bytes from row to row
};

struct Candidate;  // host.cpp: a physical device and what was found out about it

/// The Vulkan loader and the physical device that guests get. One for each renderer; keeps
/// an instance of its own to ask things, and a device from when the first colour buffer is asked
/// for: one costs megabytes, and programs without a window do without. Thread-safe.
class Host {
  public:
    /// `device`: a part of the name, an index, a UUID, or "pci:" and an address; empty for the best
    /// one that guests can have (GPUs before CPUs).
    [[nodiscard]] static Result<std::unique_ptr<Host>> open(std::string_view device);
    /// The same behind a loader of the caller's: tests.
    [[nodiscard]] static Result<std::unique_ptr<Host>> open(std::unique_ptr<Loader> loader,
                                                            std::string_view device);
    ~Host();
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    [[nodiscard]] const DeviceDescription& description() const;
    [[nodiscard]] const MemoryTypes& memory() const;
    [[nodiscard]] uint32_t color_buffer_index() const { return memory().color_buffer_index; }
    /// What a guest may enable: what the device has and we know, and what we emulate.
    [[nodiscard]] std::span<const VkExtensionProperties> device_extensions() const {
        return extensions_;
    }
    /// True for what the driver itself has.
    [[nodiscard]] bool driver_has(std::string_view extension) const;
    /// The driver takes the addresses of imported memory anew with each access (it runs on the
    /// CPU), so that memory may move into a window after it was imported. GPUs pin pages.
    [[nodiscard]] bool follows_mappings() const;
    /// Buffers may lie in imported memory.
    [[nodiscard]] bool imports_buffers() const;
    /// Bits that guests may see of a queue family, and families there are.
    [[nodiscard]] std::span<const VkQueueFamilyProperties> queue_families() const;
    [[nodiscard]] uint32_t device_version() const;  ///< that guests see
    [[nodiscard]] const VkPhysicalDeviceLimits& limits() const;

    /// The process is a VMM's: a driver that does not end its work must not end that, and stays
    /// loaded when the last Host is gone. Said before there are sessions.
    void share_process();
    [[nodiscard]] bool shares_process() const { return shares_process_; }

    [[nodiscard]] const Loader& loader() const { return *loader_; }
    /// The chosen device in another instance; null when it went away.
    [[nodiscard]] VkPhysicalDevice find(const InstanceFunctions& vk, VkInstance instance) const;

    /// For RESOURCE_CREATE_3D with one of virgl's formats; what the driver does not know is
    /// guessed generously. Fails when a number is too big.
    [[nodiscard]] Result<ColorBufferLayout> color_buffer_layout(uint32_t virgl_format,
                                                                uint32_t width,
                                                                uint32_t height) const;

  private:
    Host() = default;

    std::unique_ptr<Loader> loader_;
    std::unique_ptr<Candidate> chosen_;
    mutable std::mutex device_mutex_;  ///< guards the device of chosen_
    std::vector<VkExtensionProperties> extensions_;
    bool shares_process_ = false;
};

/// All devices of this machine. Loads drivers, which may hang or crash: call it in a child.
[[nodiscard]] Result<std::vector<DeviceDescription>> list_devices();

/// Extensions that guests may enable and the driver does not hear of: we, or the guest's driver,
/// do what they say.
[[nodiscard]] bool is_emulated_extension(std::string_view name);

/// VK_FORMAT_UNDEFINED: not one that colour buffers have.
[[nodiscard]] VkFormat format_of_virgl(uint32_t virgl_format);

}  // namespace swede::gfxstream::vulkan
