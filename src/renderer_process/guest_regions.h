// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/backing.h"
#include "base/fd.h"
#include "base/result.h"
#include "renderer_process/messages.h"

namespace swede::renderer_process {

/// The guest's RAM inside a renderer process: regions as the device sent them, mapped anew here,
/// and the backings made of them. Owned by the server, on its thread; renderers reach guest memory
/// from any thread through a Backing's lease.
class GuestRegions {
  public:
    static constexpr size_t kMaxRegions = 4096;
    static constexpr size_t kMaxBackings = 1 << 17;  ///< a guest's resources, twice

    [[nodiscard]] Result<void> add(const AddRegion& region, UniqueFd fd);
    /// Revokes every backing that uses the region, waiting for bounded copies, and unmaps it.
    /// Removing what is not there is no error: a region without a file is never sent.
    void remove(uint64_t id);

    [[nodiscard]] Result<void> add_backing(uint64_t id, std::span<const Segment> segments);
    /// Revokes it: who still holds it reaches nothing any more.
    void drop_backing(uint64_t id);
    void drop_backings();
    /// Null for id 0.
    [[nodiscard]] Result<std::shared_ptr<Backing>> backing(uint64_t id) const;

  private:
    std::unordered_map<uint64_t, std::shared_ptr<const MemoryRegion>> regions_;
    std::unordered_map<uint64_t, std::shared_ptr<Backing>> backings_;
};

}  // namespace swede::renderer_process
