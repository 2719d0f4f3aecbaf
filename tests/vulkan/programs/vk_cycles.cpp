// SPDX-License-Identifier: Apache-2.0
// Makes and destroys an instance, a device and objects, again and again, then counts what is left:
// vk_cycles [--count N] [--warm N]. It fails if files or threads became more after the first ones.
#include "checked_compute.h"
#include "mix_comp.h"

using namespace swede::lab;

namespace {

void one_cycle(uint32_t number) {
    const Gpu gpu;
    constexpr uint32_t kWords = 1024;
    const Buffer source(gpu, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const Buffer target(gpu, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const Image image(gpu, VK_FORMAT_R8G8B8A8_UNORM, 64, 64,
                      VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT);
    const Sampler sampler(gpu.device(),
                          VkSamplerCreateInfo{.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO});
    const Semaphore semaphore(
        gpu.device(), VkSemaphoreCreateInfo{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO});
    for (uint32_t i = 0; i < kWords; ++i) source.as<uint32_t>()[i] = i;
    const std::array<const Buffer*, 2> buffers{&source, &target};
    const StorageSet set(gpu, buffers, sizeof(MixPush));
    const ComputePipeline pipeline = compute_pipeline(gpu, mix_comp, set.layout);
    gpu.run([&](VkCommandBuffer commands) {
        record_compute(commands, set, pipeline, {number, kWords});
    });
    for (uint32_t i = 0; i < kWords; ++i)
        expect(target.as<uint32_t>()[i] == mixed(i, number, i), "a word is wrong");
}

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const auto count = static_cast<uint32_t>(options.number("count", 20));
    const auto warm = static_cast<uint32_t>(options.number("warm", 5));
    for (uint32_t number = 0; number < warm; ++number) one_cycle(number);
    const Census before = census();
    for (uint32_t number = 0; number < count; ++number) one_cycle(number);
    const Census after = census();
    say({{"program", "vk_cycles"},
         {"count", count},
         {"files", after.files},
         {"more_files", after.files - before.files},
         {"more_threads", after.threads - before.threads},
         {"more_maps", after.maps - before.maps},
         {"more_resident_bytes", after.resident_bytes - before.resident_bytes}});
    expect(after.files == before.files, "files are left open");
    expect(after.threads == before.threads, "threads are left");
}
