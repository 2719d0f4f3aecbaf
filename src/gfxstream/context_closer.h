// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "gfxstream/context_core.h"
#include "rutabaga/completion.h"

namespace swede::gfxstream {

/// Ends contexts without waiting on the renderer's thread: a thread each waits for the context's
/// threads, frees what the driver made, and answers. A context that does not end in time is left
/// behind, with all that its threads use, and answered nevertheless; too many of those are the end
/// of the process, or of new contexts. Owned by the renderer, on its thread.
class ContextCloser {
  public:
    using Clock = std::chrono::steady_clock;
    /// Contexts that may be stuck in a driver before we stop to believe in it.
    static constexpr size_t kMaxLeftBehind = 8;

    /// `give_up` ends the process, if that is ours.
    explicit ContextCloser(std::move_only_function<void()> give_up);
    /// Waits for contexts that are ending, a second at most.
    ~ContextCloser();
    ContextCloser(const ContextCloser&) = delete;
    ContextCloser& operator=(const ContextCloser&) = delete;

    /// `context` is closed. Answers by `deadline`.
    void close(std::shared_ptr<ContextCore> context, Clock::time_point deadline,
               rutabaga::Completion<> done);

    /// More than kMaxLeftBehind are stuck now.
    [[nodiscard]] bool has_too_many() const;
    /// Contexts whose threads or driver objects are still there, in time or left behind.
    [[nodiscard]] size_t closing() const;

  private:
    /// Outlives the closer if it must.
    struct Shared;
    std::shared_ptr<Shared> shared_;
};

}  // namespace swede::gfxstream
