// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/budget.h"
#include "rutabaga/fence_timelines.h"
#include "transports/c_abi/callback_queue.h"

namespace swede::c_abi {

/// The fences of an instance that are out: which callback each ticket stands for, in the order of
/// its timeline. Renderers report to it from any thread; its own lock is held for moments only, and
/// no callback runs under it. Shared with the sink, which may outlive the instance.
class FenceBook {
  public:
    explicit FenceBook(std::shared_ptr<CallbackQueue> queue);
    FenceBook(const FenceBook&) = delete;
    FenceBook& operator=(const FenceBook&) = delete;

    /// A fence at the end of its timeline; `charge` is given back when it is reached.
    [[nodiscard]] uint64_t accept(const rutabaga_fence& fence, std::optional<uint8_t> ring,
                                  Budget::Charge charge);
    /// The work of the ticket's fence is done; an unknown ticket is ignored.
    void complete(uint64_t ticket);
    /// As complete(), if the context is one that add_context() named and that is not lost: then it
    /// is now, and all fences of it are complete. True if it was such a one.
    bool lose_context(rutabaga::ContextId context);
    /// A context that is lost can hold no fence: accept it, and complete it at once.
    [[nodiscard]] bool is_lost(rutabaga::ContextId context) const;

    void add_context(rutabaga::ContextId context);
    /// The context is gone; its fences are complete.
    void remove_context(rutabaga::ContextId context);
    /// Everything is gone; all fences are complete, and no context is known.
    void complete_all();

    [[nodiscard]] size_t pending() const;

  private:
    struct Entry {
        rutabaga_fence fence{};
        Budget::Charge charge;
    };

    void retire(uint64_t ticket);

    std::shared_ptr<CallbackQueue> queue_;
    mutable std::mutex mutex_;  ///< guards what follows; taken before the queue's
    rutabaga::FenceTimelines timelines_;
    std::unordered_map<uint64_t, Entry> entries_;             ///< by ticket
    std::unordered_map<rutabaga::ContextId, bool> contexts_;  ///< those that live; true: lost
};

}  // namespace swede::c_abi
