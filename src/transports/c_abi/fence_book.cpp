// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/fence_book.h"

#include <utility>

namespace swede::c_abi {

FenceBook::FenceBook(std::shared_ptr<CallbackQueue> queue)
    : queue_(std::move(queue)), timelines_([this](uint64_t ticket) { retire(ticket); }) {}

uint64_t FenceBook::accept(const rutabaga_fence& fence, std::optional<uint8_t> ring,
                           Budget::Charge charge) {
    const std::scoped_lock lock(mutex_);
    const uint64_t ticket = timelines_.accept({fence.ctx_id, ring});
    entries_.emplace(ticket, Entry{fence, std::move(charge)});
    return ticket;
}

/// Under mutex_, so that the queue has fences in the order of their timelines.
void FenceBook::retire(uint64_t ticket) {
    const auto found = entries_.find(ticket);
    queue_->push_fence(found->second.fence);
    entries_.erase(found);
}

void FenceBook::complete(uint64_t ticket) {
    const std::scoped_lock lock(mutex_);
    timelines_.complete(ticket);
}

bool FenceBook::lose_context(rutabaga::ContextId context) {
    const std::scoped_lock lock(mutex_);
    const auto found = contexts_.find(context);
    if (found == contexts_.end() || found->second) return false;
    found->second = true;
    timelines_.complete_context(context);
    return true;
}

bool FenceBook::is_lost(rutabaga::ContextId context) const {
    const std::scoped_lock lock(mutex_);
    const auto found = contexts_.find(context);
    return found != contexts_.end() && found->second;
}

void FenceBook::add_context(rutabaga::ContextId context) {
    const std::scoped_lock lock(mutex_);
    contexts_.insert_or_assign(context, false);
}

void FenceBook::remove_context(rutabaga::ContextId context) {
    const std::scoped_lock lock(mutex_);
    contexts_.erase(context);
    timelines_.complete_context(context);
}

void FenceBook::complete_all() {
    const std::scoped_lock lock(mutex_);
    contexts_.clear();
    timelines_.complete_all();
}

size_t FenceBook::pending() const {
    const std::scoped_lock lock(mutex_);
    return timelines_.pending();
}

}  // namespace swede::c_abi
