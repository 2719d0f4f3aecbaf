// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/fence_timelines.h"

#include <algorithm>
#include <utility>

namespace swede::rutabaga {

FenceTimelines::Key FenceTimelines::key_of(const Timeline& timeline) {
    if (!timeline.ring) return 0;
    return uint64_t{timeline.context} << 9 | uint64_t{0x100} | *timeline.ring;
}

template <typename Map>
typename Map::mapped_type& FenceTimelines::insert(Map& map,
                                                  std::vector<typename Map::node_type>& spare,
                                                  uint64_t key) {
    if (spare.empty()) return map[key];
    typename Map::node_type node = std::move(spare.back());
    spare.pop_back();
    node.key() = key;
    node.mapped() = {};
    return map.insert(std::move(node)).position->second;
}

uint64_t FenceTimelines::accept(const Timeline& timeline) {
    const uint64_t ticket = next_ticket_++;
    const Key key = key_of(timeline);
    Entry& entry = insert(fences_, spare_fences_, ticket);
    entry.timeline = key;
    entry.context = timeline.context;
    const auto found = timelines_.find(key);
    if (found == timelines_.end()) {
        insert(timelines_, spare_timelines_, key) = {ticket, ticket};
    } else {
        fences_.find(found->second.last)->second.next = ticket;
        found->second.last = ticket;
    }
    return ticket;
}

void FenceTimelines::complete(uint64_t ticket) {
    const auto fence = fences_.find(ticket);
    if (fence == fences_.end() || fence->second.done) return;
    fence->second.done = true;
    const Key key = fence->second.timeline;
    if (timelines_.find(key)->second.first == ticket) retire_ready(key);
}

void FenceTimelines::retire_ready(Key key) {
    ready_.push_back(key);
    if (retiring_) return;  // called from retire_: the loop below goes on with it
    retiring_ = true;
    while (next_ready_ < ready_.size()) {
        const Key timeline_key = ready_[next_ready_++];
        if (next_ready_ == ready_.size()) forget_ready();
        for (;;) {  // looks everything up anew: retire_ may change or clear all of it
            const auto timeline = timelines_.find(timeline_key);
            if (timeline == timelines_.end()) break;
            const auto fence = fences_.find(timeline->second.first);
            if (!fence->second.done) break;
            const uint64_t ticket = fence->first;
            timeline->second.first = fence->second.next;
            if (fence->second.next == 0) spare_timelines_.push_back(timelines_.extract(timeline));
            spare_fences_.push_back(fences_.extract(fence));
            retire_(ticket);
        }
    }
    retiring_ = false;
}

void FenceTimelines::forget_ready() {
    ready_.clear();
    next_ready_ = 0;
}

template <typename Predicate>
void FenceTimelines::complete_if(Predicate predicate) {
    std::vector<uint64_t> tickets;
    for (const auto& [ticket, entry] : fences_)
        if (predicate(entry)) tickets.push_back(ticket);
    std::ranges::sort(tickets);
    for (const uint64_t ticket : tickets) complete(ticket);
}

void FenceTimelines::complete_context(ContextId context) {
    complete_if([&](const Entry& entry) { return entry.context == context; });
}

void FenceTimelines::complete_all() {
    complete_if([](const Entry&) { return true; });
}

void FenceTimelines::clear() {
    fences_.clear();
    timelines_.clear();
    forget_ready();
}

}  // namespace swede::rutabaga
