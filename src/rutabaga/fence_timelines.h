// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "rutabaga/completion.h"

namespace swede::rutabaga {

/// The order in which fences complete: one of a (context, ring), or the global one (decision 6,
/// virtio 1.3 section 5.7.6.8 on VIRTIO_GPU_FLAG_FENCE and INFO_RING_IDX).
struct Timeline {
    ContextId context = 0;        ///< 0 and no ring: global, whatever the command's context
    std::optional<uint8_t> ring;
    friend bool operator==(const Timeline&, const Timeline&) = default;
};

/// Orders completions. Each accepted fence is retired exactly once, in order of acceptance on its
/// timeline: Linux takes any fenced response as the completion of all fences before it. Pure logic
/// on the device thread: no fd, no thread, no clock; nothing allocated in steady state.
class FenceTimelines {
  public:
    /// Called for each fence that retires, with its ticket. May accept() and complete().
    using Retire = std::function<void(uint64_t ticket)>;
    explicit FenceTimelines(Retire retire) : retire_(std::move(retire)) {}

    /// A new fence at the end of its timeline; tickets rise and are never used again.
    [[nodiscard]] uint64_t accept(const Timeline& timeline);
    /// The work before the fence is done: it retires now, or once those before it are. An unknown
    /// or retired ticket is ignored (a renderer may report late).
    void complete(uint64_t ticket);
    /// Completes all fences of all rings of the context, in order.
    void complete_context(ContextId context);
    /// Completes every fence of every timeline.
    void complete_all();
    /// Forgets every fence without retiring it (device reset: their commands are gone).
    void clear();
    /// Accepted and not retired.
    [[nodiscard]] size_t pending() const;

  private:
    Retire retire_;
    struct Entry {
        uint64_t ticket;
        bool done;
    };
    std::unordered_map<uint64_t, std::deque<Entry>> timelines_;  ///< by packed Timeline
    std::unordered_map<uint64_t, uint64_t> timeline_of_;         ///< ticket -> packed Timeline
    uint64_t next_ticket_ = 1;
};

}  // namespace swede::rutabaga
