// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "rutabaga/completion.h"

namespace swede::rutabaga {

/// The order in which fences complete: one of a (context, ring), or the global one (decision 6,
/// virtio 1.3 section 5.7.6.8 on VIRTIO_GPU_FLAG_FENCE and INFO_RING_IDX).
struct Timeline {
    /// With a ring: a part of the timeline's name. Without: the fence is on the global timeline
    /// whatever stands here, and complete_context() of this context completes it too.
    ContextId context = 0;
    std::optional<uint8_t> ring;
    friend bool operator==(const Timeline&, const Timeline&) = default;
};

/// Orders completions. Each accepted fence is retired exactly once, in order of acceptance on its
/// timeline: Linux takes any fenced response as the completion of all fences before it. Pure logic
/// on the device thread: no fd, no thread, no clock; nothing allocated in steady state.
class FenceTimelines {
  public:
    /// Called for each fence that retires, with its ticket. May call every function of this class:
    /// what becomes ready meanwhile retires after it returns, so the order holds and the stack does
    /// not grow.
    using Retire = std::function<void(uint64_t ticket)>;
    explicit FenceTimelines(Retire retire) : retire_(std::move(retire)) {}

    /// A new fence at the end of its timeline; tickets rise and are never used again.
    [[nodiscard]] uint64_t accept(const Timeline& timeline);
    /// The work before the fence is done: it retires now, or once those before it are. An unknown
    /// or retired ticket is ignored (a renderer may report late).
    void complete(uint64_t ticket);
    /// Completes all fences of all rings of the context, and those of the global timeline that were
    /// accepted for it, in order.
    void complete_context(ContextId context);
    /// Completes every fence of every timeline.
    void complete_all();
    /// Forgets every fence without retiring it (device reset: their commands are gone).
    void clear();
    /// Accepted and not retired.
    [[nodiscard]] size_t pending() const { return fences_.size(); }

  private:
    /// A timeline's name in one word: the global one is 0, which no ring of a context has.
    using Key = uint64_t;
    struct Entry {
        Key timeline = 0;
        ContextId context = 0;
        uint64_t next = 0;  ///< ticket of the next one of the timeline; 0: the last
        bool done = false;
    };
    struct Ends {
        uint64_t first = 0;  ///< ticket
        uint64_t last = 0;   ///< ticket
    };
    using Fences = std::unordered_map<uint64_t, Entry>;
    using Timelines = std::unordered_map<Key, Ends>;

    [[nodiscard]] static Key key_of(const Timeline& timeline);
    template <typename Map>
    static typename Map::mapped_type& insert(Map& map, std::vector<typename Map::node_type>& spare,
                                             uint64_t key);
    template <typename Predicate>
    void complete_if(Predicate predicate);
    void retire_ready(Key key);
    void forget_ready();

    Retire retire_;
    Fences fences_;                                      ///< by ticket
    Timelines timelines_;                                ///< those with a fence
    std::vector<Fences::node_type> spare_fences_;        ///< map nodes kept for their memory
    std::vector<Timelines::node_type> spare_timelines_;  ///< likewise
    std::vector<Key> ready_;  ///< timelines whose first fence may be done
    size_t next_ready_ = 0;   ///< the first of them that has not been looked at
    bool retiring_ = false;
    uint64_t next_ticket_ = 1;
};

}  // namespace swede::rutabaga
