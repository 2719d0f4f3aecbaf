// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>

#include "base/budget.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/file_closer.h"
#include "base/result.h"

namespace swede::local_socket {

/// Where a program reads that fences of its polled rings are reached: our end of a socket pair that
/// it made. Owned by the session, on its thread. Nothing here waits: events that the program leaves
/// no room for are counted, each with its fence's charge, until there is room.
class EventFile {
  public:
    /// `fd` is hostile: kProtocol if it is no stream socket made by the process that made
    /// `connection`, for what we write would come from us elsewhere.
    [[nodiscard]] static Result<std::unique_ptr<EventFile>> create(
        EventLoop& loop, UniqueFd fd, int connection, const std::shared_ptr<Budget>& budget);

    ~EventFile() { close(); }
    EventFile(const EventFile&) = delete;
    EventFile& operator=(const EventFile&) = delete;

    /// Tells one fence. `fence` is what it is charged with, kept until it is told.
    void tell(Budget::Charge fence);

    [[nodiscard]] size_t untold() const { return untold_.size(); }

  private:
    EventFile(EventLoop& loop, PeerFile file) : loop_(loop), file_(std::move(file)) {}
    /// False: there is no room now.
    [[nodiscard]] bool write_one();
    void flush();
    void close();

    EventLoop& loop_;
    PeerFile file_;  ///< empty once nobody reads any more
    std::deque<Budget::Charge> untold_;
    EventLoop::Watch room_;  ///< while something is untold
};

}  // namespace swede::local_socket
