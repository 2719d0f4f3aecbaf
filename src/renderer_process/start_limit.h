// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace swede::renderer_process {

/// How often something may start: `burst` times in a row, and once more for each `interval` that
/// passes. A value of who counts.
class StartLimit {
  public:
    using TimePoint = std::chrono::steady_clock::time_point;
    using Duration = std::chrono::steady_clock::duration;

    StartLimit(uint32_t burst, Duration interval) : burst_(burst), interval_(interval) {}

    /// Zero: it starts now, and counts. Else it may not: the time until it may.
    [[nodiscard]] Duration take(TimePoint now) {
        const TimePoint due = std::max(due_, now);  // when the whole burst is there again
        const Duration wait = due - now - interval_ * (int64_t{burst_} - 1);
        if (wait > Duration::zero()) return wait;
        due_ = due + interval_;
        return Duration::zero();
    }

  private:
    uint32_t burst_;
    Duration interval_;
    TimePoint due_{};
};

}  // namespace swede::renderer_process
