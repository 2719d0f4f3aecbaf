// SPDX-License-Identifier: Apache-2.0
// A hostile Vulkan program on a whole Session, with the null driver behind it, which knows handles
// that were freed or are of another type, and parents that go before their children. The input is a
// list of steps (kinds below): commands that a guest encodes for a seed, with objects that are
// there, were there, or are no objects; sound commands that make what those need; and bytes.
// make_gfxstream_session_seeds.py writes seeds in the same form. Parsers:
// src/gfxstream/vulkan/buffers.cpp src/gfxstream/vulkan/command_buffers.cpp
// src/gfxstream/vulkan/descriptors.cpp src/gfxstream/vulkan/formats.cpp
// src/gfxstream/vulkan/image_plan.cpp src/gfxstream/vulkan/images.cpp
// src/gfxstream/vulkan/instances.cpp src/gfxstream/vulkan/memory.cpp
// src/gfxstream/vulkan/physical_devices.cpp src/gfxstream/vulkan/pipelines.cpp
// src/gfxstream/vulkan/private_data.cpp src/gfxstream/vulkan/queries.cpp
// src/gfxstream/vulkan/queues.cpp src/gfxstream/vulkan/sync.cpp
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"
#include "gfxstream/vulkan/commands.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session.h"
#include "guest.h"
#include "require.h"
#include "small_limits.h"
#include "unit/gfxstream/guest_recording.h"
#include "vulkan_null/null_driver.h"

namespace {

using namespace swede;
using namespace swede::gfxstream;
using namespace swede::gfxstream::vulkan;
using fuzz::require;

constexpr int kMaxSteps = 100;
constexpr uint64_t kHostBytes = uint64_t{16} << 20;  ///< so that inputs meet the budget
constexpr uint32_t kColorBuffer = 7;                 ///< a resource

/// What outlives the inputs.
struct World {
    std::unique_ptr<Host> host;

    World() {
        ::setenv("SWEDE_LOG", "off", 1);
        log::start();
        host = Host::open(Loader::open(vulkan_null::get_proc_addr).value(), "").value();
    }
};

class Services final : public SessionServices {
  public:
    Services() {
        budget_ = Budget::create(fuzz::limits_with({{BudgetKind::kHostBytes, kHostBytes}}));
    }
    std::shared_ptr<ColorBuffer> color_buffer(uint32_t resource) override {
        if (resource % 8 != kColorBuffer) return nullptr;
        if (color_buffer_ == nullptr) {
            color_buffer_ = std::make_shared<ColorBuffer>();
            color_buffer_->memory = HostMemory::create(65536, budget_).value_or(nullptr);
        }
        return color_buffer_;
    }
    const std::shared_ptr<Budget>& budget() override { return budget_; }
    void forget() { color_buffer_.reset(); }

  private:
    std::shared_ptr<Budget> budget_;
    std::shared_ptr<ColorBuffer> color_buffer_;
};

class Run {
  public:
    Run(Host& host, std::span<const std::byte> input)
        : input_(input), session_(Session::create(host, services_).value()) {}

    void run() {
        start();
        for (int i = 0; i < kMaxSteps && input_.remaining() != 0; ++i) step();
        vulkan_null::fail_after(0, VK_SUCCESS);  // an instance that was lost has no end
        ring_.reset();
        session_.reset();
        services_.forget();
        require(services_.budget()->used(BudgetKind::kHostBytes) == 0);
    }

  private:
    // Kinds of steps, the first byte of each.
    static constexpr uint8_t kCommand = 'c';  ///< u16 which, u16 seed, u8 edits, edits
    static constexpr uint8_t kRecord = 'r';   ///< u8 how many, (u16 which, u16 seed) each
    static constexpr uint8_t kSound = 's';    ///< u8 which
    static constexpr uint8_t kBytes = 'b';    ///< u16 which, u16 size, bytes
    static constexpr uint8_t kBlob = 'm';     ///< u8 id, u16 pages
    static constexpr uint8_t kFence = 'f';    ///< u8 which of the fences
    static constexpr uint8_t kFail = 'x';     ///< u8 calls until the driver fails, u8 how
    static constexpr uint8_t kAbandon = 'a';  ///< the context is lost

    template <typename T>
    T take() {
        const auto value = input_.read<T>();
        return value ? *value : T{};
    }
    std::span<const std::byte> take_bytes() {
        const size_t size = std::min<size_t>(take<uint16_t>(), input_.remaining());
        return *input_.read_bytes(size);
    }

    void step() {
        switch (take<uint8_t>()) {
            case kCommand: {
                const auto& command = take_command(false);
                std::vector<std::byte> bytes = encode(command, take<uint16_t>());
                for (int left = take<uint8_t>() % 8; left > 0; --left) edit(bytes);
                execute(command.opcode, bytes);
                break;
            }
            case kRecord: {
                GuestRecording recording;
                recording.begin();
                for (int left = take<uint8_t>() % 16; left > 0; --left) {
                    const auto& command = take_command(true);
                    recording.add(command.opcode, encode(command, take<uint16_t>()));
                }
                flush(recording.end());
                break;
            }
            case kSound:
                sound(take<uint8_t>());
                break;
            case kBytes: {
                const uint32_t opcode =
                    guest::kGuestCommands[take<uint16_t>() % guest::kGuestCommandCount].opcode;
                execute(opcode, take_bytes());
                break;
            }
            case kBlob: {
                const auto id = take<uint8_t>();
                if (const auto memory = session_->take_blob(id, take<uint16_t>() * uint64_t{4096}))
                    (*memory)->data()[(*memory)->size() - 1] = std::byte{1};
                break;
            }
            case kFence:
                (void)session_->wait_for_fence(id_of(ObjectType::kFence, take<uint8_t>()),
                                               std::chrono::nanoseconds(0));
                break;
            case kFail: {
                constexpr VkResult kFailures[] = {VK_ERROR_OUT_OF_HOST_MEMORY,
                                                  VK_ERROR_OUT_OF_DEVICE_MEMORY,
                                                  VK_ERROR_DEVICE_LOST};
                const auto calls = take<uint8_t>();
                vulkan_null::fail_after(calls, kFailures[take<uint8_t>() % std::size(kFailures)]);
                break;
            }
            case kAbandon:
                session_->abandon();
                break;
            default:
                break;
        }
    }

    const guest::GuestCommand& take_command(bool recorded) {
        const size_t first = take<uint16_t>();
        for (size_t i = 0;; ++i) {
            const auto& command = guest::kGuestCommands[(first + i) % guest::kGuestCommandCount];
            const bool is_recorded = (find_command(command.opcode)->flags & kCommandBuffer) != 0;
            if (is_recorded == recorded) return command;
        }
    }
    [[nodiscard]] std::vector<std::byte> encode(const guest::GuestCommand& command, uint16_t seed) {
        guest::Random random(seed);
        if (seed % 4 != 0) random.keep_small();
        for (const auto& [type, ids] : ids_)
            for (const uint64_t id : ids) random.offer(type, id);
        guest::Writer to;
        command.random(random, to);
        return to.bytes();
    }
    /// One change to what a guest encoded: u16 where, u8 how, then as many as that needs.
    void edit(std::vector<std::byte>& bytes) {
        const size_t at = take<uint16_t>() % (bytes.size() + 1);
        const auto overwrite = [&](auto value) {
            if (at + sizeof(value) <= bytes.size())
                std::memcpy(bytes.data() + at, &value, sizeof(value));
        };
        switch (take<uint8_t>() % 5) {
            case 0:
                return overwrite(take<uint8_t>());
            case 1:
                return overwrite(take<uint32_t>());
            case 2:
                return overwrite(take<uint64_t>());
            case 3: {  // an object of any type
                const auto type = static_cast<ObjectType>(take<uint8_t>() % kObjectTypeCount);
                return overwrite(id_of(type, take<uint8_t>()));
            }
            default:
                return bytes.resize(at);
        }
    }

    void execute(uint32_t opcode, std::span<const std::byte> bytes) {
        // Memory of its own, so that a read past the end is seen.
        const std::vector<std::byte> copy(bytes.begin(), bytes.end());
        const auto done = session_->execute(opcode, copy, *ring_);
        require(ring_->pins.mark() == 0);
        require(done || (!done.error().message.empty() && ring_->reply.bytes().empty()));
        if (done) learn(ring_->reply.bytes());
    }
    template <typename T>
    void call(const T& command) {
        execute(T::kOpcode, guest::parameters_of(command));
    }
    /// Remembers the objects whose ids are in a reply; those that go stay known.
    void learn(std::span<const std::byte> reply) {
        for (size_t at = 0; at + sizeof(uint64_t) <= std::min<size_t>(reply.size(), 256); at += 4) {
            uint64_t id = 0;
            std::memcpy(&id, reply.data() + at, sizeof(id));
            const ObjectType type = HandleTable::type_of(id);
            if (static_cast<size_t>(type) >= kObjectTypeCount) continue;
            Object* const object = session_->table().pin(type, id);
            if (object == nullptr) continue;
            session_->table().unpin(object);
            auto& known = ids_[type];
            if (std::ranges::find(known, id) == known.end() && known.size() < 64)
                known.push_back(id);
        }
    }
    [[nodiscard]] uint64_t id_of(ObjectType type, uint8_t which) {
        const auto& known = ids_[type];
        return known.empty() ? 0 : known[which % known.size()];
    }
    template <typename T>
    [[nodiscard]] T newest() {
        const auto& known = ids_[kObjectTypeOf<T>];
        return known.empty() ? T{} : guest::handle_of_id<T>(known.back());
    }

    void flush(const GuestRecording& recording) {
        call(guest::vkQueueFlushCommandsGOOGLE{.self = newest<VkQueue>(),
                                               .commandBuffer = newest<VkCommandBuffer>(),
                                               .dataSize = recording.bytes().size(),
                                               .pData = recording.bytes().data()});
    }

    /// An instance, its device and a queue.
    void start() {
        VkInstanceCreateInfo instance_info{};
        instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
        VkInstance instance = VK_NULL_HANDLE;
        call(guest::vkCreateInstance{.pCreateInfo = &instance_info, .pInstance = &instance});
        uint32_t count = 1;
        VkPhysicalDevice physical = VK_NULL_HANDLE;
        call(guest::vkEnumeratePhysicalDevices{.self = newest<VkInstance>(),
                                               .pPhysicalDeviceCount = &count,
                                               .pPhysicalDevices = &physical});
        const OneQueueDevice wanted;
        VkDevice device = VK_NULL_HANDLE;
        call(guest::vkCreateDevice{
            .self = newest<VkPhysicalDevice>(), .pCreateInfo = &wanted.info, .pDevice = &device});
        VkQueue queue = VK_NULL_HANDLE;
        call(guest::vkGetDeviceQueue{.self = newest<VkDevice>(), .pQueue = &queue});
    }

    static constexpr uint8_t kSoundCommands = 19;
    /// A command that is right if what it names is there.
    void sound(uint8_t which) {
        const auto device = newest<VkDevice>();
        switch (which % kSoundCommands) {
            case 0:
                return start();
            case 1: {
                VkBufferCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
                info.size = 4096;
                info.usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT;
                VkBuffer buffer = VK_NULL_HANDLE;
                return call(guest::vkCreateBuffer{
                    .self = device, .pCreateInfo = &info, .pBuffer = &buffer});
            }
            case 2:
            case 3: {  // mapped or a colour buffer
                VkCreateBlobGOOGLE blob{};
                blob.sType = VK_STRUCTURE_TYPE_CREATE_BLOB_GOOGLE;
                blob.blobMem = 2;
                blob.blobId = which;
                VkImportColorBufferGOOGLE color{};
                color.sType = VK_STRUCTURE_TYPE_IMPORT_COLOR_BUFFER_GOOGLE;
                color.colorBuffer = kColorBuffer;
                VkMemoryAllocateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
                info.pNext = which % kSoundCommands == 2 ? static_cast<const void*>(&blob) : &color;
                info.allocationSize = 65536;
                VkDeviceMemory memory = VK_NULL_HANDLE;
                return call(guest::vkAllocateMemory{
                    .self = device, .pAllocateInfo = &info, .pMemory = &memory});
            }
            case 4:
                return call(guest::vkBindBufferMemory{.self = device,
                                                      .buffer = newest<VkBuffer>(),
                                                      .memory = newest<VkDeviceMemory>()});
            case 5: {
                VkCommandPoolCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
                VkCommandPool pool = VK_NULL_HANDLE;
                return call(guest::vkCreateCommandPool{
                    .self = device, .pCreateInfo = &info, .pCommandPool = &pool});
            }
            case 6:
            case 7: {
                VkCommandBufferAllocateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
                info.commandPool = newest<VkCommandPool>();
                info.level = which % kSoundCommands == 6 ? VK_COMMAND_BUFFER_LEVEL_PRIMARY
                                                         : VK_COMMAND_BUFFER_LEVEL_SECONDARY;
                info.commandBufferCount = 1;
                VkCommandBuffer made = VK_NULL_HANDLE;
                return call(guest::vkAllocateCommandBuffers{
                    .self = device, .pAllocateInfo = &info, .pCommandBuffers = &made});
            }
            case 8: {
                const auto commands = newest<VkCommandBuffer>();
                VkSubmitInfo info{};
                info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
                info.commandBufferCount = 1;
                info.pCommandBuffers = &commands;
                return call(guest::vkQueueSubmitAsyncGOOGLE{.self = newest<VkQueue>(),
                                                            .submitCount = 1,
                                                            .pSubmits = &info,
                                                            .fence = newest<VkFence>()});
            }
            case 9: {
                VkFenceCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
                VkFence fence = VK_NULL_HANDLE;
                return call(
                    guest::vkCreateFence{.self = device, .pCreateInfo = &info, .pFence = &fence});
            }
            default:
                return sound_descriptors_and_more(which % kSoundCommands);
        }
    }
    void sound_descriptors_and_more(int which) {
        const auto device = newest<VkDevice>();
        constexpr VkDescriptorType kTypes[] = {
            VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
            VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK};
        switch (which) {
            case 10: {
                const VkDescriptorPoolSize size{kTypes[0], 4};
                VkDescriptorPoolCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
                info.maxSets = 4;
                info.poolSizeCount = 1;
                info.pPoolSizes = &size;
                VkDescriptorPool pool = VK_NULL_HANDLE;
                return call(guest::vkCreateDescriptorPool{
                    .self = device, .pCreateInfo = &info, .pDescriptorPool = &pool});
            }
            case 11: {
                VkDescriptorSetLayoutCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
                VkDescriptorSetLayout layout = VK_NULL_HANDLE;
                return call(guest::vkCreateDescriptorSetLayout{
                    .self = device, .pCreateInfo = &info, .pSetLayout = &layout});
            }
            case 12: {
                const VkDescriptorSetLayout layouts[2] = {newest<VkDescriptorSetLayout>(),
                                                          newest<VkDescriptorSetLayout>()};
                VkDescriptorSetAllocateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
                info.descriptorPool = newest<VkDescriptorPool>();
                info.descriptorSetCount = 2;
                info.pSetLayouts = layouts;
                VkDescriptorSet sets[2] = {};
                return call(guest::vkAllocateDescriptorSets{
                    .self = device, .pAllocateInfo = &info, .pDescriptorSets = sets});
            }
            case 13: {
                VkDescriptorUpdateTemplateEntry entries[std::size(kTypes)] = {};
                for (uint32_t i = 0; i < std::size(kTypes); ++i) {
                    entries[i].dstBinding = i;
                    entries[i].descriptorCount = 2;
                    entries[i].descriptorType = kTypes[i];
                }
                VkDescriptorUpdateTemplateCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO;
                info.descriptorUpdateEntryCount = std::size(kTypes);
                info.pDescriptorUpdateEntries = entries;
                info.descriptorSetLayout = newest<VkDescriptorSetLayout>();
                VkDescriptorUpdateTemplate made = VK_NULL_HANDLE;
                return call(guest::vkCreateDescriptorUpdateTemplate{
                    .self = device, .pCreateInfo = &info, .pDescriptorUpdateTemplate = &made});
            }
            case 14: {
                const uint32_t image_entries[2] = {0, take<uint8_t>() % 5U};
                const uint32_t buffer_entry = 1;
                const uint32_t view_entry = 2;
                const VkDescriptorImageInfo images[2] = {
                    {newest<VkSampler>(), newest<VkImageView>(), VK_IMAGE_LAYOUT_GENERAL}, {}};
                const VkDescriptorBufferInfo buffer{newest<VkBuffer>(), 0, VK_WHOLE_SIZE};
                const auto view = newest<VkBufferView>();
                const uint8_t bytes[2] = {};
                return call(guest::vkUpdateDescriptorSetWithTemplateSized2GOOGLE{
                    .self = device,
                    .descriptorSet = newest<VkDescriptorSet>(),
                    .descriptorUpdateTemplate = newest<VkDescriptorUpdateTemplate>(),
                    .imageInfoCount = 2,
                    .bufferInfoCount = 1,
                    .bufferViewCount = 1,
                    .inlineUniformBlockCount = 2,
                    .pImageInfoEntryIndices = image_entries,
                    .pBufferInfoEntryIndices = &buffer_entry,
                    .pBufferViewEntryIndices = &view_entry,
                    .pImageInfos = images,
                    .pBufferInfos = &buffer,
                    .pBufferViews = &view,
                    .pInlineUniformBlockData = bytes});
            }
            case 15: {
                VkQueryPoolCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
                info.queryType = VK_QUERY_TYPE_TIMESTAMP;
                info.queryCount = 4;
                VkQueryPool pool = VK_NULL_HANDLE;
                return call(guest::vkCreateQueryPool{
                    .self = device, .pCreateInfo = &info, .pQueryPool = &pool});
            }
            case 16: {
                std::byte data[16] = {};
                return call(guest::vkGetQueryPoolResults{.self = device,
                                                         .queryPool = newest<VkQueryPool>(),
                                                         .queryCount = 2,
                                                         .dataSize = sizeof(data),
                                                         .pData = data,
                                                         .stride = 8,
                                                         .flags = take<uint8_t>()});
            }
            case 17: {  // one that others see, or one of planes that lie apart
                VkExternalMemoryImageCreateInfo external{};
                external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO;
                external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
                const bool disjoint = take<uint8_t>() % 2 != 0;
                VkImageCreateInfo info{};
                info.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO;
                info.pNext = disjoint ? nullptr : &external;
                info.flags = disjoint ? VK_IMAGE_CREATE_DISJOINT_BIT : 0;
                info.imageType = VK_IMAGE_TYPE_2D;
                info.format =
                    disjoint ? VK_FORMAT_G8_B8_R8_3PLANE_420_UNORM : VK_FORMAT_B8G8R8A8_UNORM;
                info.extent = {64, 64, 1};
                info.mipLevels = info.arrayLayers = 1;
                info.samples = VK_SAMPLE_COUNT_1_BIT;
                info.usage = VK_IMAGE_USAGE_SAMPLED_BIT;
                VkImage image = VK_NULL_HANDLE;
                return call(
                    guest::vkCreateImage{.self = device, .pCreateInfo = &info, .pImage = &image});
            }
            default: {
                VkBindImagePlaneMemoryInfo plane{};
                plane.sType = VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO;
                const auto number = take<uint8_t>() % 4U;
                plane.planeAspect =
                    static_cast<VkImageAspectFlagBits>(VK_IMAGE_ASPECT_PLANE_0_BIT << number);
                const VkBindImageMemoryInfo info{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO,
                                                 number == 3 ? nullptr : &plane, newest<VkImage>(),
                                                 newest<VkDeviceMemory>(), 0};
                return call(guest::vkBindImageMemory2{
                    .self = device, .bindInfoCount = 1, .pBindInfos = &info});
            }
        }
    }

    ByteReader input_;
    Services services_;
    std::shared_ptr<Session> session_;
    std::unique_ptr<RingState> ring_ = std::make_unique<RingState>();
    std::map<ObjectType, std::vector<uint64_t>> ids_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static World world;
    const uint64_t before = vulkan_null::live_objects();
    Run(*world.host, std::as_bytes(std::span(data, size))).run();
    require(vulkan_null::live_objects() == before);
    return 0;
}
