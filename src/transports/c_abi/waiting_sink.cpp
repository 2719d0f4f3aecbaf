// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/waiting_sink.h"

#include <fmt/format.h>

#include <utility>

namespace swede::c_abi {

void WaitingSink::post(Task task) {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    tasks_.push_back(std::move(task));
    posted_.notify_one();
}

bool WaitingSink::in_call() const {
    return caller_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void WaitingSink::fence_done(uint64_t ticket) {
    fences_->complete(ticket);
    if (!in_call()) callbacks_->wake();
}

void WaitingSink::context_lost(rutabaga::ContextId context, Error why) {
    // Its fences must not wait for the VMM's next call; the core hears of it with that.
    if (!fences_->lose_context(context)) return;
    callbacks_->push_message(RUTABAGA_DEBUG_ERROR,
                             fmt::format("Context {} is lost: {}", context, why.message));
    post([this, context, why = std::move(why)] {
        if (context_lost_) context_lost_(context, why);
    });
    if (!in_call()) callbacks_->wake();
}

void WaitingSink::on_context_lost(std::function<void(rutabaga::ContextId, const Error&)> function) {
    context_lost_ = std::move(function);
}

void WaitingSink::enter() {
    caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
}

void WaitingSink::leave() {
    caller_.store(std::thread::id(), std::memory_order_relaxed);
}

bool WaitingSink::take(Task& task, Clock::time_point until) {
    std::unique_lock lock(mutex_);
    const auto any = [&] { return !tasks_.empty(); };
    if (!any() && !posted_.wait_until(lock, until, any)) return false;
    task = std::move(tasks_.front());
    tasks_.pop_front();
    return true;
}

bool WaitingSink::run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) {
    const auto until = Clock::now() + limit;
    for (Task task; !done();) {
        if (!take(task, until)) return false;
        task();
    }
    return true;
}

void WaitingSink::run_posted() {
    for (Task task; take(task, Clock::time_point::min());) task();
}

void WaitingSink::close() {
    std::deque<Task> dropped;  // outside the lock: what dies here may post again
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    dropped.swap(tasks_);
}

}  // namespace swede::c_abi
