// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "base/budget.h"
#include "gfxstream/vulkan/generated/dispatch.h"

namespace swede::gfxstream::vulkan {

/// What a device compiled already, for guests that bring no cache: a driver's own cache on disk is
/// out of reach for the renderer process. Owned by a device; its threads may use it side by side.
class DevicePipelineCache {
  public:
    /// Bytes, by our estimate, after which it begins anew.
    static constexpr uint64_t kMost = 16 << 20;

    /// Holds the cache while pipelines are made with it.
    class Use {
      public:
        /// `bytes` of it are filled, for which `charge` has paid.
        Use(DevicePipelineCache& cache, const DeviceFunctions& vk, VkDevice device, uint64_t bytes,
            Budget::Charge charge) {
            if (bytes > kMost) return;
            lock_ = std::shared_lock(cache.mutex_);
            if (!cache.take(bytes, charge)) {
                lock_.unlock();
                cache.begin_anew(vk, device, bytes, charge);
                lock_.lock();
            }
            handle_ = cache.handle_;
        }
        /// Null when the driver could make none, or this is too much for it.
        [[nodiscard]] VkPipelineCache handle() const { return handle_; }

      private:
        std::shared_lock<std::shared_mutex> lock_;
        VkPipelineCache handle_ = VK_NULL_HANDLE;
    };

    /// Before the device goes.
    void destroy(const DeviceFunctions& vk, VkDevice device) {
        if (handle_ != VK_NULL_HANDLE) vk.vkDestroyPipelineCache(device, handle_, nullptr);
        handle_ = VK_NULL_HANDLE;
    }

  private:
    /// `mutex_` is held, to share or alone.
    bool take(uint64_t bytes, Budget::Charge& charge) {
        const std::lock_guard lock(kept_mutex_);
        if (handle_ == VK_NULL_HANDLE || kept_ + bytes > kMost) return false;
        kept_ += bytes;
        charge_.add(std::move(charge));
        return true;
    }
    void begin_anew(const DeviceFunctions& vk, VkDevice device, uint64_t bytes,
                    Budget::Charge& charge) {
        const std::unique_lock lock(mutex_);
        if (take(bytes, charge)) return;  // another thread was first
        destroy(vk, device);
        kept_ = bytes;
        charge_ = std::move(charge);
        VkPipelineCacheCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
        if (vk.vkCreatePipelineCache(device, &info, nullptr, &handle_) != VK_SUCCESS)
            handle_ = VK_NULL_HANDLE;
    }

    std::shared_mutex mutex_;  ///< shared: the cache is in use
    VkPipelineCache handle_ = VK_NULL_HANDLE;
    std::mutex kept_mutex_;
    uint64_t kept_ = 0;      ///< bytes since it began; guarded by kept_mutex_
    Budget::Charge charge_;  ///< for them; guarded by kept_mutex_
};

}  // namespace swede::gfxstream::vulkan
