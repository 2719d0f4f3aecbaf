// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/event_loop.h"
#include "rutabaga/completion.h"

namespace swede::virtio_gpu {

/// The device transports' CompletionSink: what renderers report from any thread is run on the
/// loop's thread, in order, many reports to one wake-up. Shared with renderers and completions, so
/// it may outlive the device and the loop; the device closes it when it dies, and from then on it
/// drops what it is given. Steady state allocates nothing.
class CompletionQueue final : public rutabaga::CompletionSink,
                              public std::enable_shared_from_this<CompletionQueue> {
  public:
    using Task = std::move_only_function<void()>;

    /// The device's side. Called on the loop's thread only, never after close().
    class Receiver {
      public:
        virtual ~Receiver() = default;
        virtual void on_fence_done(uint64_t ticket) = 0;
        virtual void on_context_lost(rutabaga::ContextId context, const Error& why) = 0;
        /// All that was reported up to now has run.
        virtual void on_drained() = 0;
    };

    [[nodiscard]] static std::shared_ptr<CompletionQueue> create(EventLoop& loop,
                                                                 Receiver& receiver);

    void post(Task task) override;
    void fence_done(uint64_t ticket) override;
    void context_lost(rutabaga::ContextId context, Error why) override;

    /// Drops what waits and all that comes. Device thread.
    void close();

  private:
    CompletionQueue(EventLoop& loop, Receiver& receiver) : loop_(&loop), receiver_(&receiver) {}

    /// One report. A task, or the ticket of a fence when there is none.
    struct Item {
        Task task;
        uint64_t ticket = 0;
    };
    void add(Item item);
    void drain();

    std::mutex mutex_;  ///< guards loop_ and waiting_
    EventLoop* loop_;   ///< null once closed
    std::vector<Item> waiting_;
    Receiver* receiver_;         ///< device thread; null once closed
    std::vector<Item> running_;  ///< device thread: waiting_ of the turn, kept to reuse its memory
};

}  // namespace swede::virtio_gpu
