// SPDX-License-Identifier: Apache-2.0
// Vulkan through the library as a VMM has it, on Mesa's software driver: the test is the guest.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "gfxstream/ring_layout.h"
#include "unit/base/process_state.h"
#include "unit/gfxstream/guest.h"
#include "unit/gfxstream/guest_recording.h"
#include "unit/gfxstream/ring_guest.h"

namespace swede {
namespace {

using gfxstream::testing::RingGuest;
namespace guest = gfxstream::vulkan::guest;

constexpr uint32_t kContext = 7;
constexpr uint32_t kRing = 1;      ///< the resource
constexpr uint32_t kMemory = 2;    ///< likewise
constexpr uint32_t kMappable = 1;  ///< VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE
constexpr uint64_t kBlobId = 77;   ///< the guest's name for its memory
constexpr uint64_t kMemorySize = 1 << 16;
constexpr uint64_t kVulkan = uint64_t{1} << RUTABAGA_CAPSET_GFXSTREAM_VULKAN;
constexpr uint64_t kWayland = uint64_t{1} << RUTABAGA_CAPSET_CROSS_DOMAIN;

/// What an instance has said.
class Vmm {
  public:
    [[nodiscard]] rutabaga_builder builder(uint64_t capset_mask) {
        rutabaga_builder made{};
        made.user_data = reinterpret_cast<uint64_t>(this);
        made.capset_mask = capset_mask;
        made.wsi = RUTABAGA_WSI_SURFACELESS;
        made.fence_cb = [](uint64_t self, const rutabaga_fence* fence) {
            auto& vmm = *reinterpret_cast<Vmm*>(self);
            const std::scoped_lock lock(vmm.mutex_);
            vmm.fences_.push_back(fence->fence_id);
            vmm.changed_.notify_all();
        };
        made.debug_cb = [](uint64_t self, const rutabaga_debug* debug) {
            auto& vmm = *reinterpret_cast<Vmm*>(self);
            const std::scoped_lock lock(vmm.mutex_);
            vmm.said_ += debug->message;
            vmm.said_ += '\n';
        };
        return made;
    }
    [[nodiscard]] rutabaga* start(uint64_t capset_mask) {
        const rutabaga_builder asked = builder(capset_mask);
        rutabaga* instance = nullptr;
        EXPECT_EQ(rutabaga_init(&asked, &instance), 0) << said();
        return instance;
    }
    void wait_for_fence(uint64_t id) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return std::ranges::find(fences_, id) != fences_.end(); });
    }
    [[nodiscard]] std::string said() {
        const std::scoped_lock lock(mutex_);
        return said_;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<uint64_t> fences_;
    std::string said_;
};

/// A context of the guest with a ring, whose calls are Vulkan's.
class Program {
  public:
    explicit Program(rutabaga* instance) : instance_(instance) {
        EXPECT_EQ(rutabaga_context_create(instance_, kContext, RUTABAGA_CAPSET_GFXSTREAM_VULKAN,
                                          "test", 4),
                  0);
        const rutabaga_create_blob ring{RUTABAGA_BLOB_MEM_HOST3D, kMappable, 0,
                                        gfxstream::ring_layout::kSize};
        EXPECT_EQ(
            rutabaga_resource_create_blob(instance_, kContext, kRing, &ring, nullptr, nullptr), 0);
        rutabaga_mapping mapping{};
        EXPECT_EQ(rutabaga_resource_map(instance_, kRing, &mapping), 0);
        EXPECT_GE(mapping.size, gfxstream::ring_layout::kSize);
        submit({0x1001, kRing});
        ring_ = std::make_unique<RingGuest>(static_cast<std::byte*>(mapping.ptr),
                                            [this] { submit({0x1002, kRing}); });
        ring_->set_up();
    }
    /// As a guest's kernel does it for a program that has ended.
    ~Program() {
        for (const uint32_t resource : {kRing, kMemory}) {
            if (resource == kMemory && !has_memory_) continue;
            EXPECT_EQ(rutabaga_resource_unmap(instance_, resource), 0);
            EXPECT_EQ(rutabaga_resource_unref(instance_, resource), 0);
        }
        EXPECT_EQ(rutabaga_context_destroy(instance_, kContext), 0);
    }
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    void submit(std::vector<uint32_t> words) {
        rutabaga_command command{};
        command.ctx_id = kContext;
        command.cmd_size = static_cast<uint32_t>(words.size() * sizeof(uint32_t));
        command.cmd = reinterpret_cast<uint8_t*>(words.data());
        EXPECT_EQ(rutabaga_submit_command(instance_, &command), 0);
    }
    template <typename T>
    void send(const T& command) {
        const std::vector<std::byte> parameters = guest::parameters_of(command);
        std::vector<std::byte> packet =
            gfxstream::testing::packet(T::kOpcode, {++number_}, 12 + parameters.size());
        std::ranges::copy(parameters, packet.begin() + 12);
        ring_->write(packet);
    }
    /// The next bytes of the answer.
    template <typename T>
    T read() {
        T value{};
        std::memcpy(&value, ring_->read(sizeof(T)).data(), sizeof(T));
        return value;
    }
    /// A handle, and the result of what made it.
    template <typename Handle, typename T>
    Handle create(const T& command) {
        send(command);
        const auto handle = guest::handle_of_id<Handle>(read<uint64_t>());
        EXPECT_EQ(read<VkResult>(), VK_SUCCESS);
        return handle;
    }
    void start() {
        VkInstanceCreateInfo instance_info{};
        instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
        vulkan = create<VkInstance>(
            guest::vkCreateInstance{.pCreateInfo = &instance_info, .pInstance = &vulkan});
        uint32_t count = 1;
        send(guest::vkEnumeratePhysicalDevices{
            .self = vulkan, .pPhysicalDeviceCount = &count, .pPhysicalDevices = &physical});
        EXPECT_NE(read<uint64_t>(), 0U);
        EXPECT_EQ(read<uint32_t>(), 1U);
        EXPECT_NE(read<uint64_t>(), 0U);
        physical = guest::handle_of_id<VkPhysicalDevice>(read<uint64_t>());
        EXPECT_EQ(read<VkResult>(), VK_SUCCESS);
        const gfxstream::vulkan::OneQueueDevice wanted;
        device = create<VkDevice>(guest::vkCreateDevice{
            .self = physical, .pCreateInfo = &wanted.info, .pDevice = &device});
    }
    /// The first memory type that guests map.
    uint32_t mapped_type() {
        VkPhysicalDeviceMemoryProperties types{};
        send(guest::vkGetPhysicalDeviceMemoryProperties{.self = physical,
                                                        .pMemoryProperties = &types});
        types.memoryTypeCount = read<uint32_t>();
        for (VkMemoryType& type : types.memoryTypes) type = read<VkMemoryType>();
        read<uint32_t>();
        constexpr size_t kHeap = sizeof(VkDeviceSize) + sizeof(VkMemoryHeapFlags);  // packed
        ring_->read(kHeap * std::size(types.memoryHeaps));
        const auto mapped = std::ranges::find_if(types.memoryTypes, [](const VkMemoryType& type) {
            return (type.propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0;
        });
        EXPECT_NE(mapped, std::end(types.memoryTypes));
        return static_cast<uint32_t>(mapped - std::begin(types.memoryTypes));
    }
    /// Memory of the driver as a blob that the VMM has mapped.
    std::span<std::byte> map_memory() {
        const uint32_t type = mapped_type();
        gfxstream::vulkan::VkCreateBlobGOOGLE blob{};
        blob.sType = gfxstream::vulkan::VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE;
        blob.blobMem = RUTABAGA_BLOB_MEM_HOST3D;
        blob.blobId = kBlobId;
        VkMemoryAllocateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
        info.pNext = &blob;
        info.allocationSize = kMemorySize;
        info.memoryTypeIndex = type;
        memory = create<VkDeviceMemory>(
            guest::vkAllocateMemory{.self = device, .pAllocateInfo = &info, .pMemory = &memory});
        send(guest::vkGetBlobGOOGLE{.self = device, .memory = memory});
        EXPECT_EQ(read<VkResult>(), VK_SUCCESS);
        const rutabaga_create_blob asked{RUTABAGA_BLOB_MEM_HOST3D, kMappable, kBlobId, kMemorySize};
        EXPECT_EQ(
            rutabaga_resource_create_blob(instance_, kContext, kMemory, &asked, nullptr, nullptr),
            0);
        has_memory_ = true;
        uint32_t info_bits = 0;
        EXPECT_EQ(rutabaga_resource_map_info(instance_, kMemory, &info_bits), 0);
        EXPECT_EQ(info_bits, uint32_t{RUTABAGA_MAP_CACHE_CACHED | RUTABAGA_MAP_ACCESS_RW});
        rutabaga_mapping mapping{};
        EXPECT_EQ(rutabaga_resource_map(instance_, kMemory, &mapping), 0);
        return {static_cast<std::byte*>(mapping.ptr), mapping.size};
    }
    void fence(uint64_t id, uint32_t ring) {
        const rutabaga_fence fence{RUTABAGA_FLAG_FENCE | RUTABAGA_FLAG_INFO_RING_IDX, id, kContext,
                                   ring};
        EXPECT_EQ(rutabaga_create_fence(instance_, &fence), 0);
    }

    VkInstance vulkan = VK_NULL_HANDLE;
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;

  private:
    rutabaga* instance_;
    std::unique_ptr<RingGuest> ring_;
    uint32_t number_ = 0;
    bool has_memory_ = false;
};

TEST(Gfxstream, TheCapsetIsTheOneThatGuestsOfVulkanRead) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan | kWayland);
    uint32_t count = 0;
    EXPECT_EQ(rutabaga_get_num_capsets(instance, &count), 0);
    ASSERT_GE(count, 1U) << vmm.said();
    uint32_t id = 0;
    uint32_t version = 9;
    uint32_t size = 0;
    EXPECT_EQ(rutabaga_get_capset_info(instance, 0, &id, &version, &size), 0);
    EXPECT_EQ(id, uint32_t{RUTABAGA_CAPSET_GFXSTREAM_VULKAN});
    EXPECT_EQ(version, 0U);
    ASSERT_EQ(size, 112U);
    std::vector<uint32_t> words(size / sizeof(uint32_t), 0xffffffff);
    EXPECT_EQ(rutabaga_get_capset(instance, id, 0, reinterpret_cast<uint8_t*>(words.data()), size),
              0);
    EXPECT_EQ(words[0], 1U) << "the version of the protocol";
    EXPECT_EQ(words[2], gfxstream::ring_layout::kBufferSize);
    EXPECT_LT(words[3], uint32_t{VK_MAX_MEMORY_TYPES});
    EXPECT_EQ(words[4], 1U) << "deferred mapping";
    EXPECT_EQ(words[6], 1U) << "without this one the guest finds no device";
    EXPECT_EQ(words.back(), 0U);
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

TEST(Gfxstream, AGuestReachesTheDriverAndItsMemory) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan);
    {
        Program program(instance);
        program.start();
        const std::span<std::byte> bytes = program.map_memory();
        ASSERT_EQ(bytes.size(), kMemorySize);
        EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; }));
        std::ranges::fill(bytes, std::byte{0x5a});
        program.fence(5, 0);
        program.fence(6, 1);
        vmm.wait_for_fence(5);
        vmm.wait_for_fence(6);
    }
    EXPECT_EQ(rutabaga_finish(&instance), 0);
    EXPECT_EQ(vmm.said(), "");
}

TEST(Gfxstream, APacketThatIsWrongCostsItsContext) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan);
    {
        Program program(instance);
        program.start();
        program.send(guest::vkGetBlobGOOGLE{.self = program.device,
                                            .memory = guest::handle_of_id<VkDeviceMemory>(4711)});
        program.fence(9, 0);
        vmm.wait_for_fence(9);
        while (vmm.said().find("is lost") == std::string::npos) std::this_thread::yield();
    }
    {
        Program another(instance);
        another.start();
        EXPECT_NE(another.device, VkDevice{});
    }
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

/// A picture of the VMM's own: a memory file with `stride` bytes from row to row, and no byte more.
class OwnPicture {
  public:
    OwnPicture(uint32_t width, uint32_t height, uint32_t stride)
        : width_(width),
          height_(height),
          stride_(stride),
          file_(*create_memfd("a VMM's", uint64_t{stride} * (height - 1) + uint64_t{width} * 4)),
          view_(*Mapping::own_file(file_.get(), 0, uint64_t{stride} * height, Access::kReadWrite)) {
    }
    [[nodiscard]] rutabaga_import_data info() const {
        rutabaga_import_data data{};
        data.flags = RUTABAGA_IMPORT_FLAG_3D_INFO;
        data.info_3d.width = width_;
        data.info_3d.height = height_;
        data.info_3d.drm_fourcc = 'X' | 'R' << 8 | '2' << 16 | '4' << 24;
        data.info_3d.strides[0] = stride_;
        return data;
    }
    [[nodiscard]] static int32_t import(rutabaga* instance, UniqueFd file,
                                        const rutabaga_import_data& data) {
        const rutabaga_handle handle{file.release(), RUTABAGA_HANDLE_TYPE_MEM_SHM};
        return rutabaga_resource_import(instance, kPicture, &handle, &data);
    }
    [[nodiscard]] int32_t import(rutabaga* instance) const {
        return import(instance, file_.duplicate(), info());
    }
    [[nodiscard]] std::span<std::byte> row(uint32_t y) const {
        return view_.bytes().subspan(size_t{y} * stride_, size_t{width_} * 4);
    }
    [[nodiscard]] const UniqueFd& file() const { return file_; }

    static constexpr uint32_t kPicture = 60;

  private:
    uint32_t width_;
    uint32_t height_;
    uint32_t stride_;
    UniqueFd file_;
    Mapping view_;
};

TEST(Gfxstream, APictureOfTheVmmIsReadAndWrittenInItsRows) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan);
    for (const auto& [width, height, stride] :
         {std::tuple{1920u, 1080u, 7680u}, {100u, 64u, 512u}, {100u, 63u, 404u}}) {
        const OwnPicture picture(width, height, stride);
        for (uint32_t y = 0; y < height; ++y)
            for (size_t i = 0; i < picture.row(y).size(); ++i)
                picture.row(y)[i] = static_cast<std::byte>(i * 7 + y);
        ASSERT_EQ(picture.import(instance), 0) << width << ' ' << vmm.said();
        std::vector<std::byte> pixels(size_t{width} * height * 4);
        iovec list{pixels.data(), pixels.size()};
        rutabaga_transfer whole{};
        whole.w = width;
        whole.h = height;
        whole.d = 1;
        EXPECT_EQ(rutabaga_resource_transfer_read(instance, 0, OwnPicture::kPicture, &whole, &list),
                  0);
        const auto shown = [&](uint32_t y) {
            return std::span(pixels).subspan(size_t{y} * width * 4, size_t{width} * 4);
        };
        for (uint32_t y = 0; y < height; ++y)
            ASSERT_TRUE(std::ranges::equal(shown(y), picture.row(y))) << y;

        std::ranges::fill(shown(1), std::byte{0x11});
        std::ranges::fill(shown(height - 1), std::byte{0x22});
        const rutabaga_iovecs backing{&list, 1};
        EXPECT_EQ(rutabaga_resource_attach_backing(instance, OwnPicture::kPicture, &backing), 0);
        EXPECT_EQ(rutabaga_resource_transfer_write(instance, 0, OwnPicture::kPicture, &whole), 0);
        for (uint32_t y = 0; y < height; ++y)
            ASSERT_TRUE(std::ranges::equal(shown(y), picture.row(y))) << y;
        EXPECT_EQ(rutabaga_resource_unref(instance, OwnPicture::kPicture), 0);
    }
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

TEST(Gfxstream, PicturesOfTheVmmThatADriverCannotUseAreRefused) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan);
    const OwnPicture picture(100, 64, 512);
    const auto refused = [&](auto change, int32_t error) {
        rutabaga_import_data data = picture.info();
        change(data.info_3d);
        EXPECT_EQ(OwnPicture::import(instance, picture.file().duplicate(), data), error);
    };
    refused([](auto& info) { info.strides[0] = 396; }, -EINVAL);
    refused([](auto& info) { info.strides[0] = 402; }, -EINVAL);
    refused([](auto& info) { info.strides[0] = UINT32_MAX - 3; }, -EINVAL);
    refused([](auto& info) { info.height = 65; }, -EINVAL);
    refused([](auto& info) { info.offsets[0] = 256; }, -EINVAL);
    refused([](auto& info) { info.width = 32769; }, -EINVAL);
    const std::string link = "/proc/self/fd/" + std::to_string(picture.file().get());
    EXPECT_EQ(OwnPicture::import(instance, UniqueFd(::open(link.c_str(), O_RDONLY | O_CLOEXEC)),
                                 picture.info()),
              -ENOTSUP);
    EXPECT_NE(vmm.said().find("which a driver may write to"), std::string::npos) << vmm.said();
    EXPECT_EQ(picture.import(instance), 0);
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

/// Signals that are blocked in each thread but the calling one.
std::vector<uint64_t> masks_of_other_threads() {
    std::vector<uint64_t> masks;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        if (task.path().filename() == std::to_string(::gettid())) continue;
        std::ifstream status(task.path() / "status");
        for (std::string line; std::getline(status, line);)
            if (line.starts_with("SigBlk:"))
                masks.push_back(std::strtoull(line.c_str() + 7, nullptr, 16));
    }
    return masks;
}

TEST(Gfxstream, NoThreadTakesSignalsOfTheVmm) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan | kWayland);
    {
        Program program(instance);
        program.start();
        constexpr rutabaga_create_3d kPicture{2, 1, 10, 64, 64, 1, 1, 0, 0, 0};
        EXPECT_EQ(rutabaga_resource_create_3d(instance, 50, &kPicture),
                  0);  // asks a driver's device
        const std::vector<uint64_t> masks = masks_of_other_threads();
        EXPECT_GE(masks.size(), 2U) << "a ring's and one for callbacks";
        for (const uint64_t mask : masks)
            for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGALRM, SIGUSR1, SIGIO})
                EXPECT_NE(mask & uint64_t{1} << (signal - 1), 0U) << strsignal(signal);
    }
    EXPECT_EQ(rutabaga_finish(&instance), 0);
}

/// Bytes of the heap that somebody holds. What glibc keeps for threads to come is none of it.
size_t held_bytes() {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

/// Mappings of memory files.
size_t memory_files() {
    std::ifstream maps("/proc/self/maps");
    size_t count = 0;
    for (std::string line; std::getline(maps, line);)
        count += line.find("/memfd:") != std::string::npos ? 1 : 0;
    return count;
}

TEST(Gfxstream, InstancesComeAndGo) {
    const auto one = [] {
        Vmm vmm;
        rutabaga* instance = vmm.start(kVulkan | kWayland);
        {
            Program program(instance);
            program.start();
            std::ranges::fill(program.map_memory(), std::byte{1});
        }
        EXPECT_EQ(rutabaga_finish(&instance), 0);
    };
    // What loader and driver keep for the process, and what glibc keeps for threads.
    for (int i = 0; i < 40; ++i) one();
    const size_t fds = testing::open_fds();
    const size_t threads = testing::threads();
    const size_t files = memory_files();
    const size_t bytes = held_bytes();
    for (int i = 0; i < 100; ++i) one();
    EXPECT_EQ(testing::open_fds(), fds);
    EXPECT_TRUE(testing::threads_come_down_to(threads));
    EXPECT_EQ(memory_files(), files);
    EXPECT_LT(held_bytes(), bytes + 64 * 1024);
}

/// Sets a variable of the environment for as long as it lives.
class Variable {
  public:
    Variable(const char* name, const char* value) : name_(name) {
        const char* const before = std::getenv(name);
        if (before != nullptr) before_ = before;
        ::setenv(name, value, 1);
    }
    ~Variable() {
        if (before_)
            ::setenv(name_, before_->c_str(), 1);
        else
            ::unsetenv(name_);
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;

  private:
    const char* name_;
    std::optional<std::string> before_;
};

/// An instance for both, and one for Vulkan alone, where there is none.
void expect_no_vulkan(std::string_view why) {
    Vmm vmm;
    rutabaga* instance = vmm.start(kVulkan | kWayland);
    uint32_t count = 0;
    EXPECT_EQ(rutabaga_get_num_capsets(instance, &count), 0);
    EXPECT_EQ(count, 1U);
    EXPECT_NE(vmm.said().find(why), std::string::npos) << vmm.said();
    EXPECT_EQ(rutabaga_finish(&instance), 0);
    const rutabaga_builder alone = vmm.builder(kVulkan);
    EXPECT_EQ(rutabaga_init(&alone, &instance), -ENOTSUP);
}

TEST(Gfxstream, AGpuThatIsNotThereIsNamed) {
    const Variable gpu("SWEDE_GPU", "a GPU of nobody");
    expect_no_vulkan("Guests get no Vulkan: No Vulkan device is called 'a GPU of nobody'.");
}

TEST(Gfxstream, WithoutADriverTheRestIsThere) {
    const Variable files("VK_DRIVER_FILES", "/nowhere.json");
    const Variable old_name("VK_ICD_FILENAMES", "/nowhere.json");
    expect_no_vulkan("Guests get no Vulkan: No Vulkan driver is installed");
}

}  // namespace
}  // namespace swede
