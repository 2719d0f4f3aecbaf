// SPDX-License-Identifier: Apache-2.0
// Looks into fresh memory, then takes memory until none is left, gives all back, and works on:
// vk_memory [--fresh-megabytes N] [--chunk-megabytes N] [--most-megabytes N] [--map 0|1]
// Its line says how much of the fresh memory was not zero; it is the reader's to judge.
#include "checked_compute.h"
#include "mix_comp.h"

using namespace swede::lab;

namespace {

uint64_t nonzero_words(std::span<const uint32_t> words) {
    uint64_t count = 0;
    for (const uint32_t word : words) count += word != 0 ? 1 : 0;
    return count;
}

// Of memory that nobody wrote: seen directly where the host can, else through a copy.
uint64_t nonzero_when_fresh(const Gpu& gpu, uint64_t bytes, VkMemoryPropertyFlags flags) {
    const Buffer fresh(gpu, bytes, kAnyTransfer, flags);
    uint64_t count = fresh.data != nullptr ? nonzero_words(fresh.as<uint32_t>()) : 0;
    const Buffer copy(gpu, bytes, kAnyTransfer);
    gpu.run([&](VkCommandBuffer commands) {
        const VkBufferCopy region{0, 0, bytes};
        vkCmdCopyBuffer(commands, fresh.handle, copy.handle, 1, &region);
        full_barrier(commands);
    });
    count += nonzero_words(copy.as<uint32_t>());
    return count;
}

void compute_a_little(const Gpu& gpu) {
    constexpr uint32_t kWords = 1000;
    const Buffer source(gpu, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const Buffer target(gpu, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    for (uint32_t i = 0; i < kWords; ++i) source.as<uint32_t>()[i] = i;
    const std::array<const Buffer*, 2> buffers{&source, &target};
    const StorageSet set(gpu, buffers, sizeof(MixPush));
    const ComputePipeline pipeline = compute_pipeline(gpu, mix_comp, set.layout);
    gpu.run(
        [&](VkCommandBuffer commands) { record_compute(commands, set, pipeline, {7, kWords}); });
    for (uint32_t i = 0; i < kWords; ++i)
        expect(target.as<uint32_t>()[i] == mixed(i, 7, i), "computing afterwards went wrong");
}

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const uint64_t fresh = options.number("fresh-megabytes", 64) << 20;
    const uint64_t chunk = options.number("chunk-megabytes", 64) << 20;
    const uint64_t most = options.number("most-megabytes", 1024) << 20;
    const Gpu gpu;
    uint64_t nonzero = 0;
    if (fresh != 0) {
        nonzero += nonzero_when_fresh(gpu, fresh, kHostMemory);
        nonzero += nonzero_when_fresh(gpu, fresh, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    }
    const bool is_mapped = options.number("map", 0) != 0;
    VkResult mapping = VK_SUCCESS;
    std::string ending = "not reached";
    uint64_t taken = 0;
    {
        std::vector<Memory> all;
        const uint32_t type = gpu.need_memory_type(UINT32_MAX, kHostMemory);
        while (taken < most) {
            const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                            .allocationSize = chunk,
                                            .memoryTypeIndex = type};
            VkDeviceMemory memory = VK_NULL_HANDLE;
            const VkResult result = vkAllocateMemory(gpu.device(), &info, nullptr, &memory);
            if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY) {
                ending = "VK_ERROR_OUT_OF_DEVICE_MEMORY";
                break;
            }
            check(result);
            all.push_back(Memory::adopt(gpu.device(), memory));
            void* place = nullptr;
            if (is_mapped) mapping = vkMapMemory(gpu.device(), memory, 0, VK_WHOLE_SIZE, 0, &place);
            if (mapping != VK_SUCCESS) {
                ending = "it cannot be mapped";
                break;
            }
            taken += chunk;
        }
    }
    compute_a_little(gpu);
    say({{"program", "vk_memory"},
         {"fresh_nonzero_words", static_cast<int64_t>(nonzero)},
         {"taken_megabytes", static_cast<int64_t>(taken >> 20)},
         {"map", int64_t{mapping}},
         {"end", ending}});
}
