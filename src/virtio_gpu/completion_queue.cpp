// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/completion_queue.h"

#include <utility>

namespace swede::virtio_gpu {

std::shared_ptr<CompletionQueue> CompletionQueue::create(EventLoop& loop, Receiver& receiver) {
    return std::shared_ptr<CompletionQueue>(new CompletionQueue(loop, receiver));
}

void CompletionQueue::post(Task task) {
    add(Item{std::move(task), 0});
}

void CompletionQueue::fence_done(uint64_t ticket) {
    add(Item{Task(), ticket});
}

void CompletionQueue::context_lost(rutabaga::ContextId context, Error why) {
    post([this, context, why = std::move(why)] { receiver_->on_context_lost(context, why); });
}

void CompletionQueue::add(Item item) {
    const std::scoped_lock lock(mutex_);
    if (loop_ == nullptr) return;
    waiting_.push_back(std::move(item));
    if (waiting_.size() == 1) loop_->post([self = shared_from_this()] { self->drain(); });
}

void CompletionQueue::drain() {
    {
        const std::scoped_lock lock(mutex_);
        running_.swap(waiting_);
    }
    for (Item& item : running_) {
        if (receiver_ == nullptr) break;  // the one before ended the device
        if (item.task) {
            item.task();
        } else {
            receiver_->on_fence_done(item.ticket);
        }
    }
    running_.clear();
    if (receiver_ != nullptr) receiver_->on_drained();
}

void CompletionQueue::close() {
    receiver_ = nullptr;
    std::vector<Item> dropped;  // outside the lock: what dies here may report again
    const std::scoped_lock lock(mutex_);
    loop_ = nullptr;
    dropped.swap(waiting_);
}

}  // namespace swede::virtio_gpu
