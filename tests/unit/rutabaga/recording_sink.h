// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "rutabaga/completion.h"

namespace swede::rutabaga::testing {

/// Keeps what renderers report. The test's thread is the device thread: it runs what was posted
/// while it waits.
class RecordingSink final : public rutabaga::CompletionSink {
  public:
    void post(std::move_only_function<void()> task) override {
        const std::scoped_lock lock(mutex_);
        tasks_.push_back(std::move(task));
        changed_.notify_all();
    }
    void fence_done(uint64_t ticket) override {
        const std::scoped_lock lock(mutex_);
        fences_.push_back(ticket);
        changed_.notify_all();
    }
    void context_lost(rutabaga::ContextId context, Error why) override {
        const std::scoped_lock lock(mutex_);
        lost_[context].push_back(std::move(why.message));
        changed_.notify_all();
    }

    /// False: it did not come true within a minute.
    [[nodiscard]] bool run_until(const std::function<bool()>& condition) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
        std::unique_lock lock(mutex_);
        for (;;) {
            while (!tasks_.empty()) {
                auto task = std::move(tasks_.front());
                tasks_.pop_front();
                lock.unlock();
                task();
                lock.lock();
            }
            lock.unlock();
            const bool holds = condition();
            lock.lock();
            if (holds) return true;
            if (!tasks_.empty()) continue;
            // What the condition looks at may be another's state, which does not wake us.
            changed_.wait_for(lock, std::chrono::milliseconds(5));
            if (std::chrono::steady_clock::now() > limit) return false;
        }
    }
    [[nodiscard]] std::vector<uint64_t> fences() {
        const std::scoped_lock lock(mutex_);
        return fences_;
    }
    /// The sentences of the context's losses.
    [[nodiscard]] std::vector<std::string> losses(rutabaga::ContextId context) {
        const std::scoped_lock lock(mutex_);
        const auto found = lost_.find(context);
        return found == lost_.end() ? std::vector<std::string>() : found->second;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::move_only_function<void()>> tasks_;
    std::vector<uint64_t> fences_;
    std::map<rutabaga::ContextId, std::vector<std::string>> lost_;
};

}  // namespace swede::rutabaga::testing
