// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "base/result.h"

namespace swede::rutabaga {

using ContextId = uint32_t;   ///< 0 is "no context"
using ResourceId = uint32_t;  ///< 0 is "no resource"

/// Where renderers report from any thread. The device transports' sink posts to the device thread
/// (an EventLoop); the C interface's sink wakes the caller that waits. Shared: a renderer may hold
/// it longer than the device lives; after the device is gone, what is posted is dropped.
class CompletionSink {
  public:
    virtual ~CompletionSink() = default;
    /// Runs `task` on the device thread, in the order of posting.
    virtual void post(std::move_only_function<void()> task) = 0;
    /// A fence given to Renderer::create_fence() is reached. Allocates nothing in steady state.
    virtual void fence_done(uint64_t ticket) = 0;
    /// The context can go on no more: its renderer died, hung, or refuses its commands. Fences of
    /// the context that are still out are completed by the device.
    virtual void context_lost(ContextId context, Error why) = 0;
};

/// A one-shot answer to an asynchronous call. Call it once, from any thread; the function given at
/// construction then runs on the device thread, later, never inside the call. One that dies
/// uncalled answers kDeviceLost: nobody waits for ever (decision 6).
template <typename T = void>
class Completion {
  public:
    using Function = std::move_only_function<void(Result<T>)>;

    Completion(std::shared_ptr<CompletionSink> sink, Function function)
        : sink_(std::move(sink)), function_(std::move(function)) {}
    Completion(Completion&&) noexcept = default;
    Completion& operator=(Completion&&) = delete;
    ~Completion() {
        if (sink_) answer(fail(ErrorCode::kDeviceLost, "The renderer dropped the request."));
    }

    void operator()(Result<T> result) { answer(std::move(result)); }

  private:
    void answer(Result<T> result) {
        const std::shared_ptr<CompletionSink> sink = std::exchange(sink_, nullptr);
        if (!sink) return;
        sink->post([function = std::move(function_), result = std::move(result)]() mutable {
            function(std::move(result));
        });
    }

    std::shared_ptr<CompletionSink> sink_;
    Function function_;
};

}  // namespace swede::rutabaga
