// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "rutabaga/completion.h"
#include "transports/c_abi/callback_queue.h"
#include "transports/c_abi/fence_book.h"

namespace swede::c_abi {

/// The CompletionSink of the C interface, whose functions are synchronous: a call runs what
/// renderers post until its own answer has come. The thread that is in a call is the device thread
/// for that time. Fences and lost contexts go to the FenceBook at once, from whichever thread. It
/// may outlive the instance; after close() it drops everything.
class WaitingSink final : public rutabaga::CompletionSink {
  public:
    using Task = std::move_only_function<void()>;

    WaitingSink(std::shared_ptr<FenceBook> fences, std::shared_ptr<CallbackQueue> callbacks)
        : fences_(std::move(fences)), callbacks_(std::move(callbacks)) {}

    void post(Task task) override;
    void fence_done(uint64_t ticket) override;
    void context_lost(rutabaga::ContextId context, Error why) override;

    /// What runs for a context that is lost, on the device thread.
    void on_context_lost(std::function<void(rutabaga::ContextId, const Error&)> function);

    /// This thread is the device thread until leave(): it delivers callbacks itself when it has
    /// left. The instance's lock makes it one at a time.
    void enter();
    void leave();
    /// Runs what is posted until `done` says so; false when that takes longer than `limit`. Device
    /// thread.
    [[nodiscard]] bool run_until(const std::function<bool()>& done,
                                 std::chrono::milliseconds limit);
    /// Runs what is posted by now. Device thread.
    void run_posted();
    /// Drops what waits and all that comes.
    void close();

  private:
    [[nodiscard]] bool in_call() const;
    using Clock = std::chrono::steady_clock;
    /// The oldest task, waiting for one until then; false: there is none.
    [[nodiscard]] bool take(Task& task, Clock::time_point until);

    const std::shared_ptr<FenceBook> fences_;
    const std::shared_ptr<CallbackQueue> callbacks_;
    std::function<void(rutabaga::ContextId, const Error&)> context_lost_;  ///< device thread
    std::atomic<std::thread::id> caller_{};  ///< the device thread; none between calls
    std::mutex mutex_;                       ///< guards what follows
    std::condition_variable posted_;
    std::deque<Task> tasks_;
    bool closed_ = false;
};

}  // namespace swede::c_abi
