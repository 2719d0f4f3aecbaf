// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/report_sink.h"

#include <utility>

namespace swede::renderer_process {

void ReportSink::post(std::move_only_function<void()> task) {
    const std::scoped_lock lock(mutex_);
    if (loop_ == nullptr) return;
    loop_->post([self = shared_from_this(), task = std::move(task)]() mutable {
        if (self->receiver_ != nullptr) task();
    });
}

void ReportSink::fence_done(uint64_t ticket) {
    const std::scoped_lock lock(mutex_);
    if (loop_ == nullptr) return;
    fences_.push_back(ticket);
    if (woken_ || handler_.load() == std::this_thread::get_id()) return;
    woken_ = true;
    loop_->post([self = shared_from_this()] {
        {
            const std::scoped_lock running(self->mutex_);
            self->woken_ = false;
        }
        if (self->receiver_ != nullptr) self->receiver_->fences_wait();
    });
}

void ReportSink::context_lost(rutabaga::ContextId context, Error why) {
    post([this, context, why = std::move(why)] { receiver_->context_is_lost(context, why); });
}

void ReportSink::set_handling(bool handling) {
    handler_.store(handling ? std::this_thread::get_id() : std::thread::id());
}

void ReportSink::take_fences(std::vector<uint64_t>& tickets) {
    const std::scoped_lock lock(mutex_);
    tickets.swap(fences_);
}

void ReportSink::close() {
    receiver_ = nullptr;
    const std::scoped_lock lock(mutex_);
    loop_ = nullptr;
    fences_.clear();
}

}  // namespace swede::renderer_process
