// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace swede::test {

/// Runs functions later, in order of their times, on a thread of its own, which lives from the
/// first schedule() to clear(). clear() belongs to the owner's thread; schedule() may be called
/// from any.
class DelayedTasks {
  public:
    using Clock = std::chrono::steady_clock;
    using Task = std::move_only_function<void()>;

    DelayedTasks() = default;
    DelayedTasks(const DelayedTasks&) = delete;
    DelayedTasks& operator=(const DelayedTasks&) = delete;
    ~DelayedTasks() { clear(); }

    /// Equal times keep the order of the calls.
    void schedule(Clock::time_point when, Task task) {
        const std::scoped_lock lock(mutex_);
        tasks_.emplace(when, std::move(task));
        if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
        changed_.notify_one();
    }

    /// Drops what has not run, and ends the thread.
    void clear() {
        std::multimap<Clock::time_point, Task> dropped;
        {
            const std::scoped_lock lock(mutex_);
            stop_ = true;
            dropped.swap(tasks_);
            changed_.notify_one();
        }
        if (thread_.joinable()) thread_.join();
        thread_ = {};
        stop_ = false;
    }

  private:
    void run() {
        std::unique_lock lock(mutex_);
        while (!stop_) {
            if (tasks_.empty()) {
                changed_.wait(lock);
            } else if (const auto next = tasks_.begin()->first; next > Clock::now()) {
                changed_.wait_until(lock, next);
            } else {
                auto node = tasks_.extract(tasks_.begin());
                lock.unlock();
                node.mapped()();
                node = {};
                lock.lock();
            }
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::multimap<Clock::time_point, Task> tasks_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace swede::test
