// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace swede::gfxstream {

/// Wakes one thread that sleeps, now or the next time it wants to: a ring that comes before the
/// sleep is not lost. ring() from any thread.
class Doorbell {
  public:
    void ring() {
        const std::scoped_lock lock(mutex_);
        rung_ = true;
        changed_.notify_one();
    }
    void wait() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return rung_; });
        rung_ = false;
    }
    /// False: it was not rung within `limit`.
    bool wait_for(std::chrono::milliseconds limit) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, limit, [this] { return rung_; });
        return std::exchange(rung_, false);
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool rung_ = false;
};

}  // namespace swede::gfxstream
