// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace swede {

/// The one event loop of the project: epoll over fds, timers and posted functions. A loop belongs
/// to the thread that runs it ("the device thread"); post() and stop() may be called from any
/// thread, all else from the owner. It sleeps without a timeout, so an idle device never wakes.
class EventLoop {
  public:
    using Callback = std::move_only_function<void(uint32_t events)>;
    using Task = std::move_only_function<void()>;

    [[nodiscard]] static Result<std::unique_ptr<EventLoop>> create();
    ~EventLoop();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;

    /// Ends the watching of an fd when it dies. Must die before the loop. Dying inside its own
    /// callback is allowed.
    class Watch {
      public:
        Watch() = default;
        Watch(Watch&& other) noexcept { *this = std::move(other); }
        Watch& operator=(Watch&& other) noexcept;
        ~Watch() { reset(); }
        void reset();
        /// EPOLLIN, EPOLLOUT or both; 0 pauses (hang-ups are still told).
        void set_events(uint32_t events);
        [[nodiscard]] explicit operator bool() const { return loop_ != nullptr; }

      private:
        friend class EventLoop;
        EventLoop* loop_ = nullptr;
        uint64_t id_ = 0;
    };

    /// `fd` is borrowed and must outlive the watch. Level-triggered.
    [[nodiscard]] Result<Watch> watch(int fd, uint32_t events, Callback callback);

    /// A one-shot timer; disarmed when it dies. No fd is used before the first arm(). Dying inside
    /// its own task is allowed.
    class Timer {
      public:
        Timer(EventLoop& loop, Task task);
        Timer(const Timer&) = delete;
        Timer& operator=(const Timer&) = delete;
        /// Runs the task once, `delay` from now; takes the place of an earlier arm().
        [[nodiscard]] Result<void> arm(std::chrono::nanoseconds delay);
        void disarm();

      private:
        EventLoop& loop_;
        std::shared_ptr<Task> task_;  ///< shared with a run of it
        UniqueFd fd_;
        Watch watch_;
    };

    /// Runs `task` on the owner's thread, after what was posted before it. Any thread.
    void post(Task task);

    /// Serves events until stop().
    void run();
    /// Serves what is ready, waiting at most `timeout` (negative: for ever) for the first. False
    /// when stop() was called.
    bool run_once(std::chrono::milliseconds timeout);
    /// Any thread.
    void stop();

  private:
    EventLoop(UniqueFd epoll, UniqueFd wake);
    void run_posted();

    struct Entry {
        int fd;
        Callback callback;
    };

    UniqueFd epoll_;
    UniqueFd wake_;  ///< eventfd: posted_ or stop_ changed
    uint64_t next_id_ = 1;
    std::unordered_map<uint64_t, std::shared_ptr<Entry>> entries_;
    std::mutex mutex_;  ///< guards posted_ and stop_
    std::vector<Task> posted_;
    std::vector<Task> running_;  ///< posted_ of the turn; kept to reuse its memory
    bool stop_ = false;
};

}  // namespace swede
