// SPDX-License-Identifier: Apache-2.0
// Threads that record and submit at the same time, each with objects of its own, and check every
// word of every round: vk_threads [--threads N] [--rounds N]
#include <atomic>
#include <barrier>
#include <mutex>
#include <thread>

#include "checked_compute.h"
#include "mix_comp.h"

using namespace swede::lab;

namespace {

constexpr uint32_t kWords = 4099;

class Worker {
  public:
    Worker(const Gpu& gpu, std::mutex& queue, uint32_t number)
        : gpu_(gpu), queue_(queue), number_(number) {}

    void round(uint32_t round, std::barrier<>& all) {
        const uint32_t seed = number_ * 1'000'003 + round;
        const Buffer source(gpu_, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
        const Buffer target(gpu_, 4ULL * kWords, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT);
        for (uint32_t i = 0; i < kWords; ++i) source.as<uint32_t>()[i] = seed ^ i;
        const std::array<const Buffer*, 2> buffers{&source, &target};
        const StorageSet set(gpu_, buffers, sizeof(MixPush));
        const ComputePipeline pipeline = compute_pipeline(gpu_, mix_comp, set.layout);
        const CommandPool pool(
            gpu_.device(),
            VkCommandPoolCreateInfo{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = gpu_.family()});
        const Fence fence(gpu_.device(),
                          VkFenceCreateInfo{.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO});
        VkCommandBuffer commands = gpu_.allocate(pool);
        begin(commands);
        record_compute(commands, set, pipeline, {seed, kWords});
        check(vkEndCommandBuffer(commands));
        all.arrive_and_wait();  // all have recorded: now the submits meet each other
        {
            const std::scoped_lock lock(queue_);
            submit(gpu_, commands, fence);
        }
        wait(gpu_, fence);
        for (uint32_t i = 0; i < kWords; ++i)
            if (target.as<uint32_t>()[i] != mixed(seed ^ i, seed, i))
                give_up("thread " + std::to_string(number_) + ", round " + std::to_string(round) +
                        ": word " + std::to_string(i) + " is wrong");
    }

  private:
    const Gpu& gpu_;
    std::mutex& queue_;
    uint32_t number_;
};

}  // namespace

int main(int argc, char** argv) {
    const Options options(argc, argv);
    const auto threads = static_cast<uint32_t>(options.number("threads", 8));
    const auto rounds = static_cast<uint32_t>(options.number("rounds", 10));
    const Gpu gpu;
    std::mutex queue;
    std::barrier<> all(threads);
    {
        std::vector<std::jthread> running;
        for (uint32_t number = 0; number < threads; ++number)
            running.emplace_back([&, number] {
                Worker worker(gpu, queue, number);
                for (uint32_t round = 0; round < rounds; ++round) worker.round(round, all);
            });
    }
    say({{"program", "vk_threads"}, {"threads", threads}, {"rounds", rounds}});
}
