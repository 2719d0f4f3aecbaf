// SPDX-License-Identifier: Apache-2.0
// Computes on a buffer, and checks every word: vk_compute [--words N] [--seed N] [--out FILE]
#include "checked_compute.h"
#include "mix_comp.h"

using namespace swede::lab;

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const auto words = static_cast<uint32_t>(options.number("words", 100'003));
    const auto seed = static_cast<uint32_t>(options.number("seed", 1));
    const Gpu gpu;
    const Buffer source(gpu, 4ULL * words, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    const Buffer target(gpu, 4ULL * words, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
    for (uint32_t i = 0; i < words; ++i) source.as<uint32_t>()[i] = i * i;
    const std::array<const Buffer*, 2> buffers{&source, &target};
    const StorageSet set(gpu, buffers, sizeof(MixPush));
    const ComputePipeline pipeline = compute_pipeline(gpu, mix_comp, set.layout);
    gpu.run(
        [&](VkCommandBuffer commands) { record_compute(commands, set, pipeline, {seed, words}); });
    for (uint32_t i = 0; i < words; ++i)
        if (target.as<uint32_t>()[i] != mixed(i * i, seed, i))
            give_up("word " + std::to_string(i) + " is wrong");
    write_file(options.text("out"), target.bytes());
    say({{"program", "vk_compute"}, {"words", words}, {"hash", hash_of(target.bytes())}});
}
