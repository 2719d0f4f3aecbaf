// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "rutabaga/completion.h"

namespace swede::rutabaga::testing {

/// Keeps what is posted until run_all(): the test's thread is the device thread. Any thread posts.
class QueuedSink final : public CompletionSink {
  public:
    void post(std::move_only_function<void()> task) override {
        const std::scoped_lock lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    void fence_done(uint64_t) override {}
    void context_lost(ContextId, Error) override {}

    /// Runs what is posted, and what that posts. How many ran.
    size_t run_all() {
        for (size_t count = 0;; ++count) {
            std::move_only_function<void()> task;
            {
                const std::scoped_lock lock(mutex_);
                if (tasks_.empty()) return count;
                task = std::move(tasks_.front());
                tasks_.pop_front();
            }
            task();
        }
    }
    [[nodiscard]] size_t waiting() {
        const std::scoped_lock lock(mutex_);
        return tasks_.size();
    }

  private:
    std::mutex mutex_;
    std::deque<std::move_only_function<void()>> tasks_;
};

/// Where one answer arrives, with how often it did.
template <typename T = void>
class Answer {
  public:
    [[nodiscard]] Completion<T> completion(const std::shared_ptr<QueuedSink>& sink) {
        return Completion<T>(sink, [state = state_](Result<T> result) {
            ++state->count;
            state->result.emplace(std::move(result));
        });
    }
    [[nodiscard]] int count() const { return state_->count; }
    /// Answered once, with success.
    [[nodiscard]] bool ok() const { return count() == 1 && state_->result->has_value(); }
    /// Answered once, with this error.
    [[nodiscard]] bool failed(ErrorCode code) const {
        return count() == 1 && !state_->result->has_value() && state_->result->error().code == code;
    }
    [[nodiscard]] Result<T>& result() { return *state_->result; }

  private:
    struct State {
        int count = 0;
        std::optional<Result<T>> result;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace swede::rutabaga::testing
