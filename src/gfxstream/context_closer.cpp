// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/context_closer.h"

#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "base/blocked_signals.h"
#include "base/log.h"

namespace swede::gfxstream {
namespace {

log::Module log_("gfxstream");

constexpr auto kDestructorLimit = std::chrono::seconds(1);

}  // namespace

struct ContextCloser::Shared {
    struct Closing {
        Clock::time_point deadline;
        rutabaga::Completion<> done;
        bool left_behind = false;  ///< its time was over, and it was answered
    };

    /// Answers those whose time is over; runs while there is one to watch.
    void watch_deadlines();

    std::mutex mutex;  ///< guards all
    std::condition_variable changed;
    std::list<Closing> closing;
    size_t left_behind = 0;
    bool stopped = false;
    bool watching = false;
    std::move_only_function<void()> give_up;
};

void ContextCloser::Shared::watch_deadlines() {
    std::unique_lock lock(mutex);
    while (!stopped) {
        std::optional<Clock::time_point> next;
        for (Closing& one : closing) {
            if (one.left_behind) continue;
            if (one.deadline > Clock::now()) {
                next = next ? std::min(*next, one.deadline) : one.deadline;
                continue;
            }
            one.done({});
            one.left_behind = true;
            ++left_behind;
            log_.warn("A context does not end and is left behind; {} are.", left_behind);
            if (left_behind > kMaxLeftBehind && give_up) give_up();
        }
        if (!next) break;  // the next one to close starts a watch again
        changed.wait_until(lock, *next);
    }
    watching = false;
}

ContextCloser::ContextCloser(std::move_only_function<void()> give_up)
    : shared_(std::make_shared<Shared>()) {
    shared_->give_up = std::move(give_up);
}

ContextCloser::~ContextCloser() {
    std::unique_lock lock(shared_->mutex);
    shared_->changed.wait_for(lock, kDestructorLimit, [&] { return shared_->closing.empty(); });
    shared_->stopped = true;
    shared_->give_up = nullptr;
    for (auto& one : shared_->closing) one.done({});
    shared_->changed.notify_all();
}

void ContextCloser::close(std::shared_ptr<ContextCore> context, Clock::time_point deadline,
                          rutabaga::Completion<> done) {
    std::unique_lock lock(shared_->mutex);
    const auto place = shared_->closing.insert(shared_->closing.end(),
                                               Shared::Closing{deadline, std::move(done), false});
    const auto end = [shared = shared_, place, context = std::move(context)]() mutable {
        context->wait_for_threads();
        context->destroy_executor();
        context.reset();
        const std::scoped_lock locked(shared->mutex);
        if (place->left_behind) --shared->left_behind;
        place->done({});  // nothing, if it is answered
        shared->closing.erase(place);
        shared->changed.notify_all();
    };
    const BlockedSignals blocked;
    try {
        if (!shared_->watching) {
            std::thread([shared = shared_] { shared->watch_deadlines(); }).detach();
            shared_->watching = true;
        }
        std::thread(end).detach();
        shared_->changed.notify_all();
    } catch (const std::system_error&) {
        // No thread is to be had: we wait here, for a guest that has used them all up.
        lock.unlock();
        auto waiting = end;
        waiting();
    }
}

bool ContextCloser::has_too_many() const {
    const std::scoped_lock lock(shared_->mutex);
    return shared_->left_behind > kMaxLeftBehind;
}

size_t ContextCloser::closing() const {
    const std::scoped_lock lock(shared_->mutex);
    return shared_->closing.size();
}

}  // namespace swede::gfxstream
