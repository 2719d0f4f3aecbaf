// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/budget.h"
#include "base/result.h"
#include "gfxstream/doorbell.h"
#include "gfxstream/executor.h"
#include "gfxstream/sequence.h"
#include "rutabaga/completion.h"

namespace swede::gfxstream {

/// What a context and its threads share. Each thread holds it, so one that is stuck in a driver
/// keeps what it uses alive. Thread-safe.
///
/// A context is over when it is lost (its guest broke the protocol, or the driver failed: said once
/// to the sink, its rings go on answering that the device is lost) or closing (nobody is there to
/// be answered: threads end).
class ContextCore final : public ExecutorServices {
  public:
    using Clock = std::chrono::steady_clock;

    ContextCore(rutabaga::ContextId id, std::shared_ptr<rutabaga::CompletionSink> sink,
                std::shared_ptr<Budget> budget)
        : id_(id), sink_(std::move(sink)), budget_(std::move(budget)) {}

    /// First of all; once.
    [[nodiscard]] Result<void> open(const ExecutorFactory& executors);

    [[nodiscard]] rutabaga::ContextId id() const { return id_; }
    [[nodiscard]] rutabaga::CompletionSink& sink() { return *sink_; }
    [[nodiscard]] Sequence& sequence() { return sequence_; }
    [[nodiscard]] CommandExecutor& executor() { return *executor_; }

    [[nodiscard]] bool is_over() const { return over_; }
    [[nodiscard]] bool is_closing() const { return closing_; }
    void lose(Error why);
    void close();

    /// Starts a thread that may use everything here until its body returns.
    [[nodiscard]] static Result<void> start_thread(const std::shared_ptr<ContextCore>& core,
                                                   const char* name,
                                                   std::move_only_function<void()> body);
    /// False: some were still running at `limit`.
    [[nodiscard]] bool wait_for_threads(Clock::time_point limit);
    void wait_for_threads();
    /// When no thread is left. Waits for the driver.
    void destroy_executor() { executor_.reset(); }

    /// Rung when the context becomes over. A ring's, until remove_doorbell().
    void add_doorbell(std::shared_ptr<Doorbell> doorbell);
    void remove_doorbell(const Doorbell* doorbell);

    // Attached colour buffers.
    void attach(uint32_t resource, std::shared_ptr<ColorBuffer> buffer);
    void detach(uint32_t resource);

    // ExecutorServices.
    /// Waits for it to be attached, for a second at most: a ring is often faster than the control
    /// queue, and Linux does not wait for CTX_ATTACH_RESOURCE.
    [[nodiscard]] std::shared_ptr<ColorBuffer> color_buffer(uint32_t resource) override;
    [[nodiscard]] const std::shared_ptr<Budget>& budget() override { return budget_; }

  private:
    void end();

    const rutabaga::ContextId id_;
    const std::shared_ptr<rutabaga::CompletionSink> sink_;
    const std::shared_ptr<Budget> budget_;
    Sequence sequence_;
    std::atomic<bool> over_ = false;
    std::atomic<bool> closing_ = false;

    std::mutex mutex_;  ///< guards what follows
    std::condition_variable threads_changed_;
    size_t threads_ = 0;
    std::vector<std::shared_ptr<Doorbell>> doorbells_;
    std::condition_variable color_buffers_changed_;  ///< also rung when the context becomes over
    std::unordered_map<uint32_t, std::shared_ptr<ColorBuffer>> color_buffers_;

    std::unique_ptr<CommandExecutor> executor_;  ///< uses the rest, so it dies first
};

}  // namespace swede::gfxstream
