// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"

namespace swede::c_abi {

/// What the VMM gave for its callbacks.
struct Callbacks {
    uint64_t user_data = 0;
    rutabaga_fence_callback fence = nullptr;
    rutabaga_debug_callback debug = nullptr;  ///< may be null
};

/// Calls the VMM back, in the order of what was put in, one at a time, never under a lock of ours:
/// a callback may call every function of the C interface. Whoever calls deliver() does it, unless
/// somebody is at it: that one goes on with the rest. Shared by an instance and its renderers,
/// which may hold it longer than the instance lives; after close() it drops everything.
class CallbackQueue : public std::enable_shared_from_this<CallbackQueue> {
  public:
    [[nodiscard]] static std::shared_ptr<CallbackQueue> create(const Callbacks& callbacks);
    ~CallbackQueue() = default;
    CallbackQueue(const CallbackQueue&) = delete;
    CallbackQueue& operator=(const CallbackQueue&) = delete;

    /// A thread that delivers what renderers report while nobody calls us: they may report under
    /// locks of theirs, which a callback that calls us must not meet.
    [[nodiscard]] Result<void> start_thread();

    void push_fence(const rutabaga_fence& fence);
    /// A sentence for people. Guests can cause them: so many in a second pass, the rest is counted.
    void push_message(uint32_t debug_type, std::string message);

    /// Has the thread deliver. Any thread, under any lock.
    void wake();
    /// Delivers what waits, on this thread, unless a delivery is under way. Not under a lock.
    void deliver();
    /// Delivers all that waits; when it returns no callback runs, but for one that this is called
    /// from, and none will. Ends the thread. Not under a lock that a callback needs.
    void close();

  private:
    using Lock = std::unique_lock<std::mutex>;
    struct Item {
        rutabaga_fence fence{};
        uint32_t debug_type = 0;  ///< 0: a fence
        std::string message;
    };

    explicit CallbackQueue(const Callbacks& callbacks) : callbacks_(callbacks) {}

    void run();
    void deliver_all(Lock& lock);
    [[nodiscard]] bool has_items() const { return next_ < waiting_.size(); }
    [[nodiscard]] Item take();
    [[nodiscard]] bool passes_limit();

    const Callbacks callbacks_;
    std::thread thread_;  ///< of the instance's calls

    std::mutex mutex_;              ///< guards what follows
    std::condition_variable work_;  ///< for the thread: woken_ or closed_ has changed
    std::condition_variable idle_;  ///< deliverer_ has changed
    std::vector<Item> waiting_;
    size_t next_ = 0;            ///< the first of waiting_ that has not been delivered
    std::thread::id deliverer_;  ///< who delivers; none: nobody does
    bool woken_ = false;
    bool closed_ = false;
    uint64_t second_ = 0;    ///< that messages are counted in
    uint32_t messages_ = 0;  ///< in that second
    uint64_t left_out_ = 0;  ///< since the last message that passed
};

}  // namespace swede::c_abi
