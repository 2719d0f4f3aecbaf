// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/budget.h"
#include "base/file_closer.h"
#include "rutabaga/fence_timelines.h"
#include "transports/local_socket/event_file.h"

namespace swede::local_socket {

/// The fences of one connection: which files and resources wait for them, and who waits for the
/// resources. Owned by the session, on its thread; dies with it, and then every file is closed, so
/// that whoever waits for one goes on.
class FenceBook {
  public:
    /// Answers the wait with that number.
    using WaitDone = std::function<void(uint64_t request)>;
    FenceBook(std::shared_ptr<Budget> budget, WaitDone done);
    ~FenceBook();
    FenceBook(const FenceBook&) = delete;
    FenceBook& operator=(const FenceBook&) = delete;

    /// What an accepted fence costs, taken before the work is given to the renderer.
    struct Reserved {
        Budget::Charge fence;
        Budget::Charge list;
        Budget::Charge file;  ///< until it is closed
    };
    [[nodiscard]] Result<Reserved> reserve(size_t resources, bool has_file);
    /// What happens when a fence is reached.
    struct Signal {
        PeerFile file;                ///< a Unix socket, is hung up
        EventFile* events = nullptr;  ///< is told; outlives the book
    };
    /// A fence at the end of its timeline; its ticket.
    [[nodiscard]] uint64_t accept(Reserved reserved, const rutabaga::Timeline& timeline,
                                  std::span<const uint32_t> resources, Signal signal);
    /// The work before the fence is done.
    void complete(uint64_t ticket) { timelines_.complete(ticket); }
    void complete_all() { timelines_.complete_all(); }

    [[nodiscard]] bool busy(uint32_t resource) const { return newest_of_.contains(resource); }
    /// Answers once all fences that the resource has now are reached. It is busy().
    [[nodiscard]] Result<void> wait(uint32_t resource, uint64_t request);

    [[nodiscard]] size_t pending() const { return fences_.size(); }
    [[nodiscard]] size_t waits() const { return waits_; }

  private:
    struct Waiter {
        uint64_t request;
        size_t fences;  ///< that are left
        Budget::Charge charge;
    };
    /// The newest fence that a resource has on one timeline: those before it are reached earlier.
    struct Newest {
        std::optional<uint8_t> ring;
        uint64_t ticket;
    };
    struct Fence {
        Reserved reserved;
        Signal signal;
        std::vector<uint32_t> resources;
        std::vector<std::shared_ptr<Waiter>> waiters;
    };
    void retired(uint64_t ticket);

    std::shared_ptr<Budget> budget_;
    WaitDone done_;
    rutabaga::FenceTimelines timelines_;
    std::unordered_map<uint64_t, Fence> fences_;                   ///< by ticket
    std::unordered_map<uint32_t, std::vector<Newest>> newest_of_;  ///< by resource, none empty
    size_t waits_ = 0;
};

}  // namespace swede::local_socket
