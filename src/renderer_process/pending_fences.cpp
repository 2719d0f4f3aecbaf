// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/pending_fences.h"

#include <algorithm>
#include <utility>

namespace swede::renderer_process {
namespace {
constexpr size_t kSlack = 64;  ///< entries that may be done before the list is compacted
}

void PendingFences::add(uint64_t ticket, rutabaga::ContextId context, TimePoint now) {
    fences_.push_back({ticket, context, true, now});
    ++out_;
}

bool PendingFences::take(uint64_t ticket) {
    const auto found =
        std::ranges::lower_bound(fences_.begin() + static_cast<std::ptrdiff_t>(first_),
                                 fences_.end(), ticket, {}, &Entry::ticket);
    if (found == fences_.end() || found->ticket != ticket || !found->out) return false;
    found->out = false;
    --out_;
    trim();
    return true;
}

void PendingFences::forget_context(rutabaga::ContextId context) {
    for (size_t i = first_; i < fences_.size(); ++i)
        if (fences_[i].out && fences_[i].context == context) {
            fences_[i].out = false;
            --out_;
        }
    trim();
}

void PendingFences::take_all(const std::function<void(uint64_t ticket)>& each) {
    const std::vector<Entry> all = std::exchange(fences_, {});
    const size_t start = std::exchange(first_, 0);
    out_ = 0;
    for (size_t i = start; i < all.size(); ++i)
        if (all[i].out) each(all[i].ticket);
}

void PendingFences::clear() {
    fences_.clear();
    first_ = 0;
    out_ = 0;
}

void PendingFences::trim() {
    while (first_ < fences_.size() && !fences_[first_].out) ++first_;
    // One ring may hold its fence for ever while another one's come and go: what is done must not
    // pile up behind it. Moving what is out costs less than what was taken since the last time.
    if (fences_.size() <= 2 * out_ + kSlack) return;
    std::erase_if(fences_, [](const Entry& entry) { return !entry.out; });
    first_ = 0;
}

}  // namespace swede::renderer_process
