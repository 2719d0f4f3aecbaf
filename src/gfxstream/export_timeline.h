// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "gfxstream/context_core.h"

namespace swede::gfxstream {

/// The timeline of a context's ring 0: a fence on it is reached when the VkFences that the guest
/// exported before it are signalled (CREATE_EXPORT_SYNC_VK). A thread waits for them, from the
/// first export on; without exports fences are reached at once. Held by the Context and the thread.
class ExportTimeline {
  public:
    /// Exports that may wait at once; a guest has one for each frame in flight.
    static constexpr size_t kMaxWaits = 4096;

    explicit ExportTimeline(std::shared_ptr<ContextCore> context) : context_(std::move(context)) {}

    // On the thread of the control queue; neither waits. `self` is what the thread holds.
    [[nodiscard]] static Result<void> add_export(const std::shared_ptr<ExportTimeline>& self,
                                                 const ExportedFence& fence);
    void add_fence(uint64_t ticket);
    /// The context is over: what is out is reached, and the thread ends.
    void end();

  private:
    struct Entry {
        ExportedFence fence;
        uint64_t ticket = 0;  ///< 0: wait for `fence`
    };

    void run();
    void report_reached();

    const std::shared_ptr<ContextCore> context_;
    std::mutex mutex_;  ///< guards what follows
    std::condition_variable changed_;
    std::deque<Entry> entries_;  ///< the first is a wait
    size_t waits_ = 0;           ///< among them
    bool has_thread_ = false;
};

}  // namespace swede::gfxstream
