// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "gfxstream/host_memory.h"

namespace swede::gfxstream::vulkan {

/// What vkGetBlobGOOGLE published and RESOURCE_CREATE_BLOB has not taken yet, by the guest's blob
/// ids. Filled from ring threads, emptied from the control queue. Owned by a Session.
class PublishedBlobs {
  public:
    void publish(uint64_t blob_id, std::shared_ptr<HostMemory> memory) {
        const std::lock_guard lock(mutex_);
        blobs_[blob_id] = std::move(memory);
    }
    /// Null: not published, or taken.
    [[nodiscard]] std::shared_ptr<HostMemory> take(uint64_t blob_id) {
        const std::lock_guard lock(mutex_);
        const auto found = blobs_.find(blob_id);
        if (found == blobs_.end()) return nullptr;
        std::shared_ptr<HostMemory> memory = std::move(found->second);
        blobs_.erase(found);
        return memory;
    }
    /// The guest freed its memory without having mapped it.
    void withdraw(uint64_t blob_id, const HostMemory* memory) {
        const std::lock_guard lock(mutex_);
        const auto found = blobs_.find(blob_id);
        if (found != blobs_.end() && found->second.get() == memory) blobs_.erase(found);
    }

  private:
    std::mutex mutex_;
    std::unordered_map<uint64_t, std::shared_ptr<HostMemory>> blobs_;
};

}  // namespace swede::gfxstream::vulkan
