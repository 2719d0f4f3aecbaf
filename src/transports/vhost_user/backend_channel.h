// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>

#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "transports/vhost_user/protocol.h"

namespace swede::vhost_user {

/// Our own requests to the front end ("Back-end communication" of the specification), answered in
/// order. Owned by the session; device thread.
///
/// It never waits for an answer: QEMU sends us memory regions on the main channel while it serves a
/// request of this one, and who waited here would leave both sides waiting.
class BackendChannel {
  public:
    using Done = std::move_only_function<void(Result<void>)>;
    /// Told of an answer that breaks the protocol; the client should end. May destroy nothing.
    using Broken = std::function<void(const Error& why)>;

    BackendChannel(EventLoop& loop, Broken broken);
    /// Drops the requests that are out, unanswered.
    ~BackendChannel();

    /// SET_BACKEND_REQ_FD. Requests that are out on an earlier socket fail.
    [[nodiscard]] Result<void> attach(UniqueFd fd);
    [[nodiscard]] bool attached() const { return socket_.has_value(); }

    /// Sends a request that the front end answers (NEED_REPLY); `done` runs from the loop, or at
    /// once when it cannot be sent. `fd` is borrowed; -1: none.
    void request(BackendRequest request, std::span<const std::byte> payload, int fd, Done done);
    /// Sends a message that is not answered.
    void notify(BackendRequest request);

    [[nodiscard]] size_t outstanding() const { return outstanding_.size(); }

  private:
    struct Outstanding {
        BackendRequest request;
        Done done;
    };

    void on_events(uint32_t events);
    [[nodiscard]] Result<void> receive();
    [[nodiscard]] Result<void> send(BackendRequest request, uint32_t flags,
                                    std::span<const std::byte> payload, int fd);
    void close(const Error& why);

    EventLoop& loop_;
    Broken broken_;
    std::optional<MessageSocket> socket_;
    EventLoop::Watch watch_;
    Message message_;
    std::deque<Outstanding> outstanding_;
};

}  // namespace swede::vhost_user
