// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace swede::gfxstream {

/// The order of packets over all rings of a context: the guest numbers them, 1 first, and each runs
/// when the one before it has (Mesa 25.0.7, ResourceTracker.cpp, nextSeqno). Owned by the context,
/// used by its rings' threads.
class Sequence {
  public:
    /// Waits until it is the turn of `number`. False: abandoned, nothing more runs.
    [[nodiscard]] bool wait_for_turn(uint32_t number);
    /// The turn of the number after `number`, which is the one whose turn it is.
    void pass_on(uint32_t number);
    /// From any thread: nobody waits any more.
    void abandon();

  private:
    struct Waiter {
        uint32_t number;
        std::condition_variable turn;
        Waiter* next;
    };

    std::mutex mutex_;
    uint32_t last_ = 0;          ///< wraps
    Waiter* waiters_ = nullptr;  ///< on the stacks of those who wait
    bool abandoned_ = false;
};

}  // namespace swede::gfxstream
