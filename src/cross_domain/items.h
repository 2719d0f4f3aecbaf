// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <variant>

#include "base/budget.h"
#include "base/result.h"
#include "cross_domain/byte_queue.h"
#include "cross_domain/reactor.h"
#include "cross_domain/received_file.h"
#include "wire/cross_domain.h"

namespace swede::cross_domain {

/// An image that the guest asked about.
struct Image {
    wire::cross_domain::GetImageRequirements request{};
    wire::cross_domain::ImageRequirements requirements{};
};

/// A blob of the image can be made again and again.
struct ImageTemplate {
    Image image;
    Budget::Charge charge;
};

/// Memory that the host's peer sent, until the guest makes a blob of it.
struct ReceivedMemory {
    ReceivedFile file;
    Budget::Charge charge;
};

/// An end of a pipe, or an eventfd: the guest writes to it, reads it, or both.
struct HostPipe {
    std::shared_ptr<WatchedFd> fd;  ///< null: what is written goes nowhere
    Budget::Charge charge;          ///< until the guest hangs up, so that ids are counted too
    ByteQueue unwritten;
    bool hang_up = false;          ///< closed once all is written
    bool is_event = false;         ///< 8 bytes at a time
    bool own_description = false;  ///< no peer can make the file wait
    bool reading = false;          ///< what comes is the guest's
    bool readable = false;         ///< there is something to read, or was
};

/// What a context's identifiers stand for, other than resources. Ids of ours are not used again
/// before all others were (guests keep them), those of read pipes come from the guest. Guarded by
/// its owner.
class Items {
  public:
    using Item = std::variant<ImageTemplate, ReceivedMemory, std::shared_ptr<HostPipe>>;

    /// The id of a new item.
    [[nodiscard]] Result<uint32_t> add(Item item);
    /// With the guest's id, which must be free: 0x80000001 and on, or any number (older guests).
    [[nodiscard]] Result<void> add_at(uint32_t id, Item item);
    [[nodiscard]] Item* find(uint32_t id);
    /// Null if the id is none of a pipe.
    [[nodiscard]] std::shared_ptr<HostPipe> pipe(uint32_t id);
    template <typename Function>
    void for_each_pipe(Function function) {
        for (auto& [id, item] : items_)
            if (auto* const pipe = std::get_if<std::shared_ptr<HostPipe>>(&item)) function(**pipe);
    }
    void erase(uint32_t id) { items_.erase(id); }
    void clear() { items_.clear(); }
    [[nodiscard]] size_t size() const { return items_.size(); }

  private:
    std::unordered_map<uint32_t, Item> items_;
    uint32_t last_ = 1;  ///< the first is 2, as in rutabaga_gfx
};

}  // namespace swede::cross_domain
