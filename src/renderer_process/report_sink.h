// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "rutabaga/completion.h"

namespace swede::renderer_process {

/// Where the renderers of a renderer process report, from any thread: brings it to the server's
/// loop. Fences are gathered, so that many cost one message. Shared with renderers; after close()
/// it drops what it is given.
class ReportSink final : public rutabaga::CompletionSink,
                         public std::enable_shared_from_this<ReportSink> {
  public:
    /// The server; its functions run on the loop's thread.
    class Receiver {
      public:
        virtual ~Receiver() = default;
        virtual void fences_wait() = 0;
        virtual void context_is_lost(rutabaga::ContextId context, const Error& why) = 0;
    };

    ReportSink(EventLoop& loop, Receiver& receiver) : loop_(&loop), receiver_(&receiver) {}

    void post(std::move_only_function<void()> task) override;
    void fence_done(uint64_t ticket) override;
    void context_lost(rutabaga::ContextId context, Error why) override;

    /// While the calling thread handles messages it takes the fences itself afterwards: those that
    /// are reported on it meanwhile wake nobody.
    void set_handling(bool handling);
    /// Moves the fences reported since the last call into `tickets`, which is empty.
    void take_fences(std::vector<uint64_t>& tickets);
    /// Loop's thread. What is posted and has not run never will.
    void close();

  private:
    std::mutex mutex_;    ///< guards loop_, fences_ and woken_
    EventLoop* loop_;     ///< null once closed
    Receiver* receiver_;  ///< loop's thread; null once closed
    std::vector<uint64_t> fences_;
    bool woken_ = false;                    ///< fences_wait() is posted and has not run
    std::atomic<std::thread::id> handler_;  ///< the thread that handles messages now
};

}  // namespace swede::renderer_process
