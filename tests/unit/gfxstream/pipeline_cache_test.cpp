// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/pipeline_cache.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace swede::gfxstream::vulkan {
namespace {

/// A driver's caches: which there are, and what the last one was.
struct Caches {
    std::atomic<uint64_t> made = 0;
    std::atomic<int> living = 0;
    bool fails = false;
} caches;

VkResult create(VkDevice, const VkPipelineCacheCreateInfo* info, const VkAllocationCallbacks*,
                VkPipelineCache* cache) {
    EXPECT_EQ(info->initialDataSize, 0U);
    if (caches.fails) return VK_ERROR_OUT_OF_HOST_MEMORY;
    ++caches.living;
    *cache = reinterpret_cast<VkPipelineCache>(++caches.made);
    return VK_SUCCESS;
}

void destroy(VkDevice, VkPipelineCache, const VkAllocationCallbacks*) {
    --caches.living;
}

struct DevicePipelineCacheTest : testing::Test {
    DevicePipelineCacheTest() {
        caches.made = 0;
        caches.living = 0;
        caches.fails = false;
        vk.vkCreatePipelineCache = create;
        vk.vkDestroyPipelineCache = destroy;
    }
    uint64_t use(uint64_t bytes) {
        auto charge = budget->charge(BudgetKind::kHostBytes, bytes).value();
        return reinterpret_cast<uint64_t>(
            DevicePipelineCache::Use(cache, vk, nullptr, bytes, std::move(charge)).handle());
    }
    uint64_t used() { return budget->used(BudgetKind::kHostBytes); }

    std::shared_ptr<Budget> budget = Budget::create();
    DeviceFunctions vk{};
    DevicePipelineCache cache;
};

TEST_F(DevicePipelineCacheTest, IsMadeOnceAndGoesWithTheDevice) {
    EXPECT_EQ(use(1), 1U);
    EXPECT_EQ(use(1), 1U);
    EXPECT_EQ(caches.living, 1);
    cache.destroy(vk, nullptr);
    EXPECT_EQ(caches.living, 0);
}

TEST_F(DevicePipelineCacheTest, BeginsAnewBeforeAGuestHasFilledIt) {
    constexpr uint64_t kEach = DevicePipelineCache::kMost / 8;
    for (uint64_t i = 1; i <= 8; ++i) {
        EXPECT_EQ(use(kEach), 1U);
        EXPECT_EQ(used(), i * kEach);
    }
    EXPECT_EQ(use(1), 2U);
    EXPECT_EQ(used(), 1U) << "What it held has gone.";
    EXPECT_EQ(caches.living, 1);
    EXPECT_EQ(use(DevicePipelineCache::kMost), 3U);
    EXPECT_EQ(use(DevicePipelineCache::kMost + 1), 0U) << "That is for no cache.";
    EXPECT_EQ(used(), DevicePipelineCache::kMost);
    cache.destroy(vk, nullptr);
    EXPECT_EQ(caches.living, 0);
}

TEST_F(DevicePipelineCacheTest, IsTriedAgainWhenTheDriverHasNoMemory) {
    caches.fails = true;
    EXPECT_EQ(use(1), 0U);
    caches.fails = false;
    EXPECT_NE(use(1), 0U);
    cache.destroy(vk, nullptr);
}

TEST_F(DevicePipelineCacheTest, IsNeverDestroyedInUse) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([this] {
            for (int j = 0; j < 1000; ++j) {
                const DevicePipelineCache::Use used(cache, vk, nullptr, 1 << 20, {});
                EXPECT_EQ(caches.living, 1);
            }
        });
    threads.clear();
    cache.destroy(vk, nullptr);
    EXPECT_EQ(caches.living, 0);
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
