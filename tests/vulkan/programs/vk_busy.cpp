// SPDX-License-Identifier: Apache-2.0
// Submits without end, and fills memory with a word that others must never see:
// vk_busy [--megabytes N] [--word N]. Says a line when it runs. On SIGTERM it does one round more
// and says how many were right.
#include <csignal>

#include "checked_compute.h"
#include "fill_comp.h"

using namespace swede::lab;

namespace {

volatile std::sig_atomic_t must_end = 0;

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGTERM, [](int) { must_end = 1; });
    const Options options(argc, argv);
    const auto words = static_cast<uint32_t>(options.number("megabytes", 64) << 18);
    const auto word = static_cast<uint32_t>(options.number("word", 0x5ec2e75e));
    const Gpu gpu;
    // One that the host sees and one that it need not: their memory is got in different ways.
    const Buffer visible(gpu, 4ULL * words, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const Buffer local(gpu, 4ULL * words, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT,
                       VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    const std::array<const Buffer*, 1> first{&visible};
    const std::array<const Buffer*, 1> second{&local};
    const StorageSet visible_set(gpu, first, sizeof(MixPush));
    const StorageSet local_set(gpu, second, sizeof(MixPush));
    const ComputePipeline pipeline = compute_pipeline(gpu, fill_comp, visible_set.layout);
    bool is_last = false;
    for (int64_t round = 1; !is_last; ++round) {
        is_last = must_end != 0;
        for (const uint32_t place : {uint32_t{0}, words / 2, words - 1})
            visible.as<uint32_t>()[place] = ~word;
        gpu.run([&](VkCommandBuffer commands) {
            record_compute(commands, visible_set, pipeline, {word, words});
            record_compute(commands, local_set, pipeline, {word, words});
        });
        for (const uint32_t place : {uint32_t{0}, words / 2, words - 1})
            expect(visible.as<uint32_t>()[place] == word, "the memory was not filled");
        if (round == 1) say({{"program", "vk_busy"}, {"running", true}});
        if (is_last) say({{"program", "vk_busy"}, {"rounds", round}});
    }
}
