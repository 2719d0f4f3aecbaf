// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/export_timeline.h"

#include <chrono>

namespace swede::gfxstream {
namespace {

/// After which a wait looks whether the context is over.
constexpr auto kSlice = std::chrono::milliseconds(100);

}  // namespace

Result<void> ExportTimeline::add_export(const std::shared_ptr<ExportTimeline>& self,
                                        const ExportedFence& fence) {
    if (fence.fence == 0) return {};
    const std::scoped_lock lock(self->mutex_);
    if (self->waits_ == kMaxWaits)
        return fail(ErrorCode::kOutOfMemory, "{} exported fences are not signalled.", kMaxWaits);
    if (!self->has_thread_) {
        SWEDE_TRY(
            ContextCore::start_thread(self->context_, "gfxstream fence", [self] { self->run(); }));
        self->has_thread_ = true;
    }
    self->entries_.push_back({fence, 0});
    ++self->waits_;
    self->changed_.notify_one();
    return {};
}

void ExportTimeline::add_fence(uint64_t ticket) {
    const std::scoped_lock lock(mutex_);
    if (entries_.empty() || context_->is_over())
        context_->sink().fence_done(ticket);
    else
        entries_.push_back({{}, ticket});
}

void ExportTimeline::end() {
    const std::scoped_lock lock(mutex_);
    changed_.notify_one();
}

void ExportTimeline::run() {
    std::unique_lock lock(mutex_);
    while (!context_->is_over()) {
        if (entries_.empty()) {
            changed_.wait(lock);
            continue;
        }
        const ExportedFence fence = entries_.front().fence;
        lock.unlock();
        const bool reached = context_->executor().wait_for_fence(fence, kSlice);
        lock.lock();
        if (!reached) continue;
        entries_.pop_front();
        --waits_;
        report_reached();
    }
    for (const Entry& entry : entries_)
        if (entry.ticket != 0) context_->sink().fence_done(entry.ticket);
    entries_.clear();
    waits_ = 0;
}

void ExportTimeline::report_reached() {
    while (!entries_.empty() && entries_.front().ticket != 0) {
        context_->sink().fence_done(entries_.front().ticket);
        entries_.pop_front();
    }
}

}  // namespace swede::gfxstream
