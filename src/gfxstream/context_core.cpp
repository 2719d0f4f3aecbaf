// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/context_core.h"

#include <pthread.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "base/blocked_signals.h"
#include "base/log.h"

namespace swede::gfxstream {
namespace {

log::Module log_("gfxstream");

constexpr auto kAttachLimit = std::chrono::seconds(1);

}  // namespace

Result<void> ContextCore::open(const ExecutorFactory& executors) {
    executor_ = SWEDE_TRY(executors(*this));
    return {};
}

void ContextCore::end() {
    over_ = true;
    if (executor_) executor_->abandon();
    sequence_.abandon();
    const std::scoped_lock lock(mutex_);
    for (const auto& doorbell : doorbells_) doorbell->ring();
    color_buffers_changed_.notify_all();
}

void ContextCore::lose(Error why) {
    if (over_.exchange(true)) return;
    log_.warn("Context {} is lost: {}", id_, why.message);
    end();
    sink_->context_lost(id_, std::move(why));
}

void ContextCore::close() {
    closing_ = true;
    end();
}

Result<void> ContextCore::start_thread(const std::shared_ptr<ContextCore>& core, const char* name,
                                       std::move_only_function<void()> body) {
    {
        const std::scoped_lock lock(core->mutex_);
        ++core->threads_;
    }
    const auto left = [](ContextCore& of) {
        const std::scoped_lock lock(of.mutex_);
        if (--of.threads_ == 0) of.threads_changed_.notify_all();
    };
    const BlockedSignals blocked;
    try {
        std::thread([core, name, left, body = std::move(body)]() mutable {
            ::pthread_setname_np(::pthread_self(), name);
            body();
            body = nullptr;  // what it holds goes before the thread is no longer counted
            left(*core);
        }).detach();
    } catch (const std::system_error& error) {
        left(*core);
        return fail(ErrorCode::kOutOfMemory, "Cannot start a thread: {}", error.what());
    }
    return {};
}

bool ContextCore::wait_for_threads(Clock::time_point limit) {
    std::unique_lock lock(mutex_);
    return threads_changed_.wait_until(lock, limit, [this] { return threads_ == 0; });
}

void ContextCore::wait_for_threads() {
    std::unique_lock lock(mutex_);
    threads_changed_.wait(lock, [this] { return threads_ == 0; });
}

void ContextCore::add_doorbell(std::shared_ptr<Doorbell> doorbell) {
    const std::scoped_lock lock(mutex_);
    doorbells_.push_back(std::move(doorbell));
}

void ContextCore::remove_doorbell(const Doorbell* doorbell) {
    const std::scoped_lock lock(mutex_);
    std::erase_if(doorbells_, [&](const auto& other) { return other.get() == doorbell; });
}

void ContextCore::attach(uint32_t resource, std::shared_ptr<ColorBuffer> buffer) {
    const std::scoped_lock lock(mutex_);
    color_buffers_[resource] = std::move(buffer);
    color_buffers_changed_.notify_all();
}

void ContextCore::detach(uint32_t resource) {
    std::shared_ptr<ColorBuffer> dropped;  // after the lock
    const std::scoped_lock lock(mutex_);
    if (const auto found = color_buffers_.find(resource); found != color_buffers_.end()) {
        dropped = std::move(found->second);
        color_buffers_.erase(found);
    }
}

std::shared_ptr<ColorBuffer> ContextCore::color_buffer(uint32_t resource) {
    std::unique_lock lock(mutex_);
    color_buffers_changed_.wait_for(lock, kAttachLimit, [this, resource] {
        return over_ || color_buffers_.contains(resource);
    });
    const auto found = color_buffers_.find(resource);
    return found == color_buffers_.end() ? nullptr : found->second;
}

}  // namespace swede::gfxstream
