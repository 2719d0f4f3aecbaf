// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "base/budget.h"
#include "rutabaga/gpu.h"
#include "virtio_gpu/host_visible_window.h"
#include "virtio_gpu/scanouts.h"
#include "virtio_gpu/window_ranges.h"

namespace swede::virtio_gpu {

/// Maps host blobs into the host-visible window and takes them out again, whatever kind of window
/// the door has (decision 9). A range is free again only after the guest sees nothing of its
/// memory; one that could not be unmapped is never used again before a reset. Scanouts that show a
/// blob follow it when its memory moves. Owned by the device, on its thread. The caller serialises
/// calls on a resource.
class BlobMapper {
  public:
    /// Called on the device thread, later.
    using Done = std::move_only_function<void(Result<void>)>;

    BlobMapper(rutabaga::Gpu& gpu, Scanouts& scanouts, HostVisibleWindow& window);

    /// An Error: nothing was begun, and `done` is not called.
    [[nodiscard]] Result<void> map(rutabaga::ResourceId resource, uint64_t offset, Done done);
    /// As map(). Of what is not mapped: an Error.
    [[nodiscard]] Result<void> unmap(rutabaga::ResourceId resource, Done done);

    [[nodiscard]] bool is_mapped(rutabaga::ResourceId resource) const {
        return mappings_.contains(resource);
    }
    [[nodiscard]] size_t count() const { return mappings_.size(); }

    /// Forgets everything; answers that are out do nothing any more. The window is reset by the
    /// caller, once the renderers have let go.
    void clear();

  private:
    struct Mapping {
        uint64_t offset = 0;  ///< in the window, bytes
        uint64_t size = 0;    ///< whole pages, bytes
        bool placed = false;  ///< lives in a static window
        Budget::Charge charge;
    };

    /// What becomes of a range that is no longer mapped. Taken, until the device is reset, if what
    /// was mapped may live there still: the guest would get to see it through the next blob there.
    enum class After : uint8_t { kFree, kTaken };

    /// A completion that does nothing after clear().
    template <typename T, typename Function>
    [[nodiscard]] rutabaga::Completion<T> completion(Function function);

    void place(rutabaga::ResourceId resource, const rutabaga::WindowRange& range, Done done);
    void follow(rutabaga::ResourceId resource, uint32_t scanout,
                std::move_only_function<void()> done);
    void map_exported(rutabaga::ResourceId resource, Done done);
    void unmap_range(rutabaga::ResourceId resource, After after, Result<void> answer, Done done);
    void forget(rutabaga::ResourceId resource, After after = After::kFree);

    rutabaga::Gpu& gpu_;
    Scanouts& scanouts_;
    HostVisibleWindow& window_;
    WindowRanges ranges_;
    std::unordered_map<rutabaga::ResourceId, Mapping> mappings_;
    uint64_t epoch_ = 0;  ///< counts clear()
};

}  // namespace swede::virtio_gpu
