// SPDX-License-Identifier: Apache-2.0
// Breaks the stream of Mesa's gfxstream driver to its renderer, in the driver's own ring, while the
// program works and waits: vk_malformed --how size|place|opcode|truncated|chain|handle|number
//
// Its line says what its Vulkan calls and its sync file gave afterwards, and after how long. With
// `number` the line says only that it is broken: the program waits for ever then, by its own fault.
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <future>
#include <sstream>
#include <thread>

#include "checked_compute.h"
#include "mix_comp.h"

using namespace swede::lab;

namespace {

using Clock = std::chrono::steady_clock;

// A thread's ring (Mesa 25.0.7, src/gfxstream/guest/GoldfishAddressSpace/include/
// address_space_graphics_types.h and src/gfxstream/aemu/include/ring_buffer.h).
constexpr size_t kBuffer = size_t{3} * 4096;  // what descriptors name parts of
constexpr uint32_t kBufferSize = 1 << 20;
constexpr size_t kRingSize = kBuffer + kBufferSize;
constexpr size_t kWritePosition = 8;
constexpr size_t kReadPosition = 64;
constexpr size_t kDescriptors = 128;
constexpr uint32_t kDescriptorsSize = 2048;
constexpr size_t kConfigBufferSize = 2180;

// The protocol's numbers of Vulkan's commands (Mesa 25.0.7,
// src/gfxstream/guest/vulkan_enc/goldfish_vk_marshaling_guest.h).
constexpr uint32_t kCreateFence = 20035;
constexpr uint32_t kDestroyFence = 20036;

struct Packet {
    uint32_t opcode;
    uint32_t size;    // bytes of all
    uint32_t number;  // counts through the program's packets
    std::array<uint32_t, 2> device;
};
constexpr uint32_t kPacketHead = 12;  // bytes that every packet has

class Ring {
  public:
    // Of the only thread that has called the driver so far. The shim has it mapped a second time.
    static Ring find() {
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            unsigned long begin = 0;
            unsigned long end = 0;
            std::array<char, 5> access{};
            if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, access.data()) != 3 ||
                end - begin != kRingSize || std::string_view(access.data()) != "rw-s")
                continue;
            const Ring ring(reinterpret_cast<std::byte*>(begin));
            if (ring.word(kConfigBufferSize) == kBufferSize) return ring;
        }
        give_up("the driver has no ring: is it Mesa's gfxstream?");
    }

    // The last packet that was written; nothing was answered since, or it is overwritten.
    Packet last() const {
        uint32_t place[2];
        const uint32_t at = (word(kWritePosition) - sizeof(place)) % kDescriptorsSize;
        std::memcpy(place, data_ + kDescriptors + at, sizeof(place));
        Packet packet{};
        for (uint32_t offset = 0; offset < place[1]; offset += packet.size) {
            std::memcpy(&packet, data_ + kBuffer + place[0] + offset, sizeof(packet));
            expect(packet.size >= kPacketHead && offset + packet.size <= place[1],
                   "the ring holds something else than packets");
        }
        return packet;
    }

    void write(std::span<const std::byte> bytes) {
        // What is not taken yet may lie where these go.
        while (word(kReadPosition) != word(kWritePosition)) std::this_thread::yield();
        std::memcpy(data_ + kBuffer, bytes.data(), bytes.size());
        describe(0, static_cast<uint32_t>(bytes.size()));
    }
    void describe(uint32_t offset, uint32_t size) {
        const uint32_t place[2] = {offset, size};
        const uint32_t written = word(kWritePosition);
        std::memcpy(data_ + kDescriptors + written % kDescriptorsSize, place, sizeof(place));
        __atomic_store_n(reinterpret_cast<uint32_t*>(data_ + kWritePosition),
                         written + uint32_t{sizeof(place)}, __ATOMIC_SEQ_CST);
    }

  private:
    explicit Ring(std::byte* data) : data_(data) {}
    uint32_t word(size_t offset) const {
        return __atomic_load_n(reinterpret_cast<const uint32_t*>(data_ + offset), __ATOMIC_SEQ_CST);
    }
    std::byte* data_;
};

void compute_a_little(const Gpu& gpu) {
    constexpr uint32_t kWords = 1000;
    const Buffer source(gpu, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const Buffer target(gpu, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const std::array<const Buffer*, 2> buffers{&source, &target};
    const StorageSet set(gpu, buffers, sizeof(MixPush));
    const ComputePipeline pipeline = compute_pipeline(gpu, mix_comp, set.layout);
    gpu.run(
        [&](VkCommandBuffer commands) { record_compute(commands, set, pipeline, {7, kWords}); });
    for (uint32_t i = 0; i < kWords; ++i)
        expect(target.as<uint32_t>()[i] == mixed(0, 7, i), "the work before went wrong");
}

// A submission that waits for what nobody signals, and its fence.
class Stuck {
  public:
    explicit Stuck(const Gpu& gpu) : gpu_(gpu) {
        const VkSemaphoreTypeCreateInfo type{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                             .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
        never_ = Semaphore(gpu.device(),
                           VkSemaphoreCreateInfo{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                                 .pNext = &type});
        const VkExportFenceCreateInfo exported{
            .sType = VK_STRUCTURE_TYPE_EXPORT_FENCE_CREATE_INFO,
            .handleTypes = VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT};
        fence_ = Fence(gpu.device(), VkFenceCreateInfo{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
                                                       .pNext = &exported});
        const uint64_t value = 1;
        const VkTimelineSemaphoreSubmitInfo values{
            .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
            .waitSemaphoreValueCount = 1,
            .pWaitSemaphoreValues = &value};
        const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
        const VkSubmitInfo info{.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                .pNext = &values,
                                .waitSemaphoreCount = 1,
                                .pWaitSemaphores = never_.pointer(),
                                .pWaitDstStageMask = &stage};
        check(vkQueueSubmit(gpu.queue(), 1, &info, fence_));
    }

    VkResult wait_for_semaphore() const {
        const uint64_t value = 1;
        const VkSemaphoreWaitInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                       .semaphoreCount = 1,
                                       .pSemaphores = never_.pointer(),
                                       .pValues = &value};
        return vkWaitSemaphores(gpu_.device(), &info, UINT64_MAX);
    }
    // Signalled when the submission's fence is.
    int sync_file() const {
        const auto get = reinterpret_cast<PFN_vkGetFenceFdKHR>(
            vkGetDeviceProcAddr(gpu_.device(), "vkGetFenceFdKHR"));
        expect(get != nullptr, "there are no sync files");
        const VkFenceGetFdInfoKHR info{.sType = VK_STRUCTURE_TYPE_FENCE_GET_FD_INFO_KHR,
                                       .fence = fence_,
                                       .handleType = VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT};
        int file = -1;
        check(get(gpu_.device(), &info, &file));
        expect(file >= 0, "the sync file is signalled");
        return file;
    }

  private:
    const Gpu& gpu_;
    Semaphore never_;
    Fence fence_;
};

bool is_signalled(int file, int milliseconds) {
    pollfd waited{file, POLLIN, 0};
    return ::poll(&waited, 1, milliseconds) == 1;
}

// `last`: the newest packet of the program, a vkDestroyFence().
void break_stream(Ring ring, const std::string& how, const Packet& last) {
    const uint32_t next = last.number + 1;
    const auto [low, high] = last.device;
    const auto write = [&ring](const auto&... words) {
        const std::array packet{static_cast<uint32_t>(words)...};
        ring.write(std::as_bytes(std::span(packet)));
    };
    if (how == "size")
        write(kCreateFence, 4, next);
    else if (how == "place")
        ring.describe(kBufferSize - 4, 8);
    else if (how == "opcode")
        write(0xffff'fff0, 12, next);
    else if (how == "truncated")  // the head of a structure, and no more
        write(kCreateFence, 24, next, low, high, VK_STRUCTURE_TYPE_FENCE_CREATE_INFO);
    else if (how == "chain")  // a structure of 16 bytes (this is big-endian) that nobody knows
        write(kCreateFence, 56, next, low, high, VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, 16U << 24,
              0x7fff'fff0, 0x7fff'fff0, 0, 0, 0, 0, 0);
    else if (how == "handle")  // a fence that is none
        write(kDestroyFence, 36, next, low, high, 0x5eed, 0x5eed, 0, 0);
    else if (how == "number")  // its turn never comes
        write(kDestroyFence, 36, next + 1000, low, high, 0, 0, 0, 0);
    else
        give_up("--how is not known: " + how);
}

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const std::string how = options.text("how");
    const VkPhysicalDeviceTimelineSemaphoreFeatures timeline{
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
        .timelineSemaphore = VK_TRUE};
    const Gpu gpu({.extensions = {VK_KHR_EXTERNAL_FENCE_FD_EXTENSION_NAME},
                   .next = const_cast<void*>(static_cast<const void*>(&timeline))});
    const Ring ring = Ring::find();
    compute_a_little(gpu);
    const Stuck stuck(gpu);
    const int file = stuck.sync_file();
    // Another thread has another ring, which is not broken.
    auto waiting = std::async(std::launch::async, [&] { return stuck.wait_for_semaphore(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    expect(waiting.wait_for(std::chrono::seconds(0)) == std::future_status::timeout &&
               !is_signalled(file, 0),
           "nothing is waited for");
    // Of these the second has no answer, so the packet stays in the ring.
    {
        const Fence fence(gpu.device(),
                          VkFenceCreateInfo{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO});
    }
    const Packet last = ring.last();
    expect(last.opcode == kDestroyFence, "the last packet is another one");

    const auto start = Clock::now();
    break_stream(ring, how, last);
    if (how == "number") say({{"program", "vk_malformed"}, {"how", how}, {"broken", true}});
    const VkResult here = vkDeviceWaitIdle(gpu.device());
    const VkResult there = waiting.get();
    const bool signalled = is_signalled(file, -1);
    const std::chrono::duration<double, std::milli> passed = Clock::now() - start;
    ::close(file);
    say({{"program", "vk_malformed"},
         {"how", how},
         {"here", int64_t{here}},
         {"there", int64_t{there}},
         {"sync_file", signalled},
         {"milliseconds", passed.count()}});
}
