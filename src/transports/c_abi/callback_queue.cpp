// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/callback_queue.h"

#include <fmt/format.h>

#include <ctime>
#include <system_error>
#include <utility>

#include "base/blocked_signals.h"

namespace swede::c_abi {
namespace {

constexpr uint32_t kMessagesPerSecond = 50;
constexpr size_t kCompactAt = 1024;  ///< items that were delivered and still take room

uint64_t now_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<uint64_t>(now.tv_sec);
}

}  // namespace

std::shared_ptr<CallbackQueue> CallbackQueue::create(const Callbacks& callbacks) {
    return std::shared_ptr<CallbackQueue>(new CallbackQueue(callbacks));
}

Result<void> CallbackQueue::start_thread() {
    const BlockedSignals blocked;
    try {
        thread_ = std::thread([self = shared_from_this()] { self->run(); });
    } catch (const std::system_error& error) {
        return fail(ErrorCode::kOutOfMemory, "Cannot start a thread for callbacks: {}",
                    error.what());
    }
    return {};
}

bool CallbackQueue::passes_limit() {
    const uint64_t now = now_seconds();
    if (now != second_) {
        second_ = now;
        messages_ = 0;
    }
    return ++messages_ <= kMessagesPerSecond;
}

void CallbackQueue::push_fence(const rutabaga_fence& fence) {
    const std::scoped_lock lock(mutex_);
    if (closed_) return;
    waiting_.push_back({fence, 0, {}});
}

void CallbackQueue::push_message(uint32_t debug_type, std::string message) {
    const std::scoped_lock lock(mutex_);
    if (closed_ || callbacks_.debug == nullptr) return;
    if (!passes_limit()) {
        ++left_out_;
        return;
    }
    if (const uint64_t left_out = std::exchange(left_out_, 0); left_out != 0)
        waiting_.push_back(
            {{}, RUTABAGA_DEBUG_WARN, fmt::format("({} messages were left out)", left_out)});
    waiting_.push_back({{}, debug_type, std::move(message)});
}

void CallbackQueue::wake() {
    const std::scoped_lock lock(mutex_);
    woken_ = true;
    work_.notify_one();
}

CallbackQueue::Item CallbackQueue::take() {
    Item item = std::move(waiting_[next_++]);
    if (next_ == waiting_.size()) {
        waiting_.clear();
        next_ = 0;
    } else if (next_ == kCompactAt) {
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(next_));
        next_ = 0;
    }
    return item;
}

void CallbackQueue::deliver_all(Lock& lock) {
    while (!closed_ && has_items()) {
        const Item item = take();
        lock.unlock();
        if (item.debug_type == 0) {
            callbacks_.fence(callbacks_.user_data, &item.fence);
        } else {
            const rutabaga_debug debug{item.debug_type, item.message.c_str()};
            callbacks_.debug(callbacks_.user_data, &debug);
        }
        lock.lock();
    }
}

void CallbackQueue::deliver() {
    Lock lock(mutex_);
    if (deliverer_ != std::thread::id() || !has_items()) return;
    deliverer_ = std::this_thread::get_id();
    deliver_all(lock);
    deliverer_ = {};
    idle_.notify_all();
}

void CallbackQueue::run() {
    for (;;) {
        {
            Lock lock(mutex_);
            work_.wait(lock, [&] { return woken_ || closed_; });
            if (closed_) return;
            woken_ = false;
        }
        deliver();
    }
}

void CallbackQueue::close() {
    {
        Lock lock(mutex_);
        const auto self = std::this_thread::get_id();
        if (deliverer_ == self) {
            deliver_all(lock);  // inside a callback: what is left goes out from here
        } else {
            idle_.wait(lock, [&] { return deliverer_ == std::thread::id(); });
            deliverer_ = self;
            deliver_all(lock);
            deliverer_ = {};
        }
        closed_ = true;
        waiting_.clear();
        next_ = 0;
        work_.notify_all();
        idle_.notify_all();
    }
    if (!thread_.joinable()) return;
    if (thread_.get_id() == std::this_thread::get_id())
        thread_.detach();  // it ends when the callback returns
    else
        thread_.join();
}

}  // namespace swede::c_abi
