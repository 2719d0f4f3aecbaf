// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "rutabaga/completion.h"

namespace swede::renderer_process {

/// The fences that a renderer process has been given and has not reported. Pure; owned by the stub,
/// on the device thread. Tickets rise, so the list is sorted as it is filled, and nothing is
/// allocated in steady state.
class PendingFences {
  public:
    using TimePoint = std::chrono::steady_clock::time_point;

    /// `ticket` is greater than all before it.
    void add(uint64_t ticket, rutabaga::ContextId context, TimePoint now);
    /// False when it is not out.
    bool take(uint64_t ticket);
    /// Forgets the fences of the context.
    void forget_context(rutabaga::ContextId context);
    /// Takes all, telling each ticket in order.
    void take_all(const std::function<void(uint64_t ticket)>& each);
    void clear();

    [[nodiscard]] bool empty() const { return out_ == 0; }
    [[nodiscard]] size_t size() const { return out_; }
    /// When the oldest that is out was added. Not for an empty list.
    [[nodiscard]] TimePoint oldest() const { return fences_[first_].since; }

  private:
    struct Entry {
        uint64_t ticket;
        rutabaga::ContextId context;
        bool out;
        TimePoint since;
    };
    void trim();

    std::vector<Entry> fences_;
    size_t first_ = 0;  ///< entries before it are history; the one here is out, if any is
    size_t out_ = 0;
};

}  // namespace swede::renderer_process
