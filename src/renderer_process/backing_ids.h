// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/backing.h"

namespace swede::renderer_process {

/// Names for the backings that a renderer process knows, so that a long list of pages is sent once
/// however many contexts attach it. Pure; owned by the stub, on the device thread. Holds the
/// Backing, not guest memory: its owner revokes it as always.
class BackingIds {
  public:
    struct Use {
        uint64_t id;
        bool first;  ///< the process does not know it yet
    };
    /// One more use of the backing.
    [[nodiscard]] Use use(const std::shared_ptr<Backing>& backing);
    /// One use less; true when it was the last: the process may drop it.
    [[nodiscard]] bool unuse(uint64_t id);
    void clear();
    [[nodiscard]] size_t size() const { return by_id_.size(); }

  private:
    struct Entry {
        std::shared_ptr<Backing> backing;  ///< keeps the address from being used again
        uint64_t uses;
    };
    std::unordered_map<uint64_t, Entry> by_id_;
    std::unordered_map<const Backing*, uint64_t> ids_;
    uint64_t next_ = 1;  ///< never used again, in any process
};

}  // namespace swede::renderer_process
