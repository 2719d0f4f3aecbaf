// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

#include "gfxstream/vulkan/generated/dispatch.h"

namespace swede::gfxstream::vulkan {

/// What a device compiled already, for guests that bring no cache: a driver's own cache on disk is
/// out of reach for the renderer process. Owned by a device; its threads may use it side by side.
class DevicePipelineCache {
  public:
    /// Pipelines after which it begins anew, so that a guest cannot fill it for ever.
    static constexpr uint32_t kPipelines = 1024;

    /// Holds the cache while pipelines are made with it.
    class Use {
      public:
        Use(DevicePipelineCache& cache, const DeviceFunctions& vk, VkDevice device, uint32_t count)
            : lock_(cache.mutex_) {
            // 64 bits: no guest counts so far that it wraps.
            if (cache.made_.fetch_add(count, std::memory_order_relaxed) >= kPipelines ||
                cache.handle_ == VK_NULL_HANDLE) {
                lock_.unlock();
                cache.begin_anew(vk, device, count);
                lock_.lock();
            }
            handle_ = cache.handle_;
        }
        /// Null when the driver could make none.
        [[nodiscard]] VkPipelineCache handle() const { return handle_; }

      private:
        std::shared_lock<std::shared_mutex> lock_;
        VkPipelineCache handle_;
    };

    /// Before the device goes.
    void destroy(const DeviceFunctions& vk, VkDevice device) {
        if (handle_ != VK_NULL_HANDLE) vk.vkDestroyPipelineCache(device, handle_, nullptr);
        handle_ = VK_NULL_HANDLE;
    }

  private:
    void begin_anew(const DeviceFunctions& vk, VkDevice device, uint32_t count) {
        const std::unique_lock lock(mutex_);
        if (handle_ != VK_NULL_HANDLE && made_ < kPipelines) return;  // another thread was first
        destroy(vk, device);
        made_ = count;
        VkPipelineCacheCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
        if (vk.vkCreatePipelineCache(device, &info, nullptr, &handle_) != VK_SUCCESS)
            handle_ = VK_NULL_HANDLE;
    }

    std::shared_mutex mutex_;  ///< shared: the cache is in use
    std::atomic<uint64_t> made_ = 0;
    VkPipelineCache handle_ = VK_NULL_HANDLE;
};

}  // namespace swede::gfxstream::vulkan
