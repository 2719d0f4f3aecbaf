// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "base/budget.h"
#include "gfxstream/color_buffer.h"
#include "gfxstream/host_memory.h"
#include "gfxstream/vulkan/handle_table.h"
#include "gfxstream/vulkan/held_objects.h"
#include "gfxstream/vulkan/object.h"
#include "gfxstream/vulkan/published_blobs.h"

namespace swede::gfxstream::vulkan {

struct MemoryData : ObjectData {
    uint64_t size = 0;                 ///< bytes, as the driver was told
    uint32_t type = 0;                 ///< index of the memory type, as the driver was told
    uint64_t blob_id = 0;              ///< the guest's name for `host`, where `blobs` is set
    std::shared_ptr<HostMemory> host;  ///< what was imported; null: the driver's own memory
    std::shared_ptr<ColorBuffer> color_buffer;  ///< whose memory `host` is
    Budget::Charge charge;                      ///< of the driver's own memory
    PublishedBlobs* blobs = nullptr;  ///< the Session's, which outlives this; null: no name

    MemoryData() = default;
    ~MemoryData() override {
        if (blobs != nullptr) blobs->withdraw(blob_id, host.get());
    }
};

/// Keeps memory while something is bound to it: Vulkan allows to free it first, and a driver of the
/// CPU would then follow a pointer to nothing.
class MemoryHold {
  public:
    MemoryHold() = default;
    MemoryHold(const MemoryHold&) = delete;
    MemoryHold& operator=(const MemoryHold&) = delete;
    ~MemoryHold() {
        if (memory_ != nullptr) table_->unpin(memory_);
    }
    /// False: something was bound before. `memory` is pinned by the caller.
    [[nodiscard]] bool hold(HandleTable& table, Object& memory) {
        const std::lock_guard lock(mutex_);
        if (memory_ != nullptr) return false;
        memory_ = table.pin(memory.type, memory.id);
        table_ = &table;
        return memory_ != nullptr;
    }
    /// Binding failed.
    void let_go() {
        const std::lock_guard lock(mutex_);
        if (memory_ != nullptr) table_->unpin(std::exchange(memory_, nullptr));
    }

  private:
    std::mutex mutex_;
    HandleTable* table_ = nullptr;
    Object* memory_ = nullptr;
};

struct BufferData : ObjectData {
    MemoryHold memory;
    uint64_t size = 0;  ///< bytes
};

struct ImageData : ObjectData {
    std::array<MemoryHold, 3> planes;  ///< of disjoint images; all others use the first
    bool disjoint = false;
    bool importable = false;  ///< may lie in imported memory
    bool shared = false;      ///< others see its memory: ImagePlan::shared
    bool linear = false;      ///< on the host
    uint32_t row_pitch = 0;   ///< bytes, of shared LINEAR images
    VkExtent3D extent{};      ///< of level 0, in texels
    uint32_t levels = 0;
    uint32_t layers = 0;
    VkFormat format = VK_FORMAT_UNDEFINED;
    VkImageType type = VK_IMAGE_TYPE_2D;
};

/// Of a VkImageView: what may be drawn to it.
struct ViewData : MadeOfOthers {
    using MadeOfOthers::MadeOfOthers;
    VkExtent2D extent{};  ///< in texels of the view
    uint32_t layers = 0;
};

}  // namespace swede::gfxstream::vulkan
