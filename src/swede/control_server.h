// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "swede/device_state.h"

namespace swede {

/// Serves `swede control`: requests and replies are lines of JSON, one reply to each request in
/// turn.
///
///     {"command": "info"}                                            {"return": {...}}
///     {"command": "resize", "output": 0, "width": 800, "height": 600}  {"return": {}}
///     {"command": "plug", "output": 1}, and "unplug"                  {"return": {}}
///     {"command": "screenshot", "output": 0}                          {"return": {}}, PNG as an fd
///     what cannot be done                                             {"error": "A sentence."}
///
/// A peer names no path: a screenshot comes as an fd that it may copy where it likes. A line is at
/// most 64 KiB, clients are at most 8, one that does not take its replies is dropped. On the device
/// thread and never blocks it; owned by the program, dies before the loop and the state.
class ControlServer {
  public:
    static constexpr size_t kMaxClients = 8;
    static constexpr size_t kMaxLine = size_t{64} * 1024;  ///< bytes

    [[nodiscard]] static Result<std::unique_ptr<ControlServer>> create(EventLoop& loop,
                                                                       UniqueFd listener,
                                                                       DeviceState& state);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

  private:
    struct Client;
    struct Reply {
        std::string line;
        UniqueFd file;
    };

    ControlServer(EventLoop& loop, UniqueFd listener, DeviceState& state);
    void accept();
    void on_event(Client& client, uint32_t events);
    /// Reads what has come; false when the client is gone.
    [[nodiscard]] bool read(Client& client);
    /// Answers the lines that are there, as far as the client takes replies, and drops the client
    /// when it is done with.
    void serve(Client& client);
    void answer_line(Client& client, std::string_view line);
    void take_screenshot(Client& client, uint32_t output);
    void send(Client& client, const Reply& reply);

    EventLoop& loop_;
    UniqueFd listener_;
    DeviceState& state_;
    EventLoop::Watch watch_;
    EventLoop::Timer retry_;  ///< after accept() failed for want of fds
    uint64_t next_id_ = 1;
    std::map<uint64_t, std::unique_ptr<Client>> clients_;
    /// Expires with the server: a screenshot that comes later finds it gone.
    std::shared_ptr<ControlServer*> self_;
};

}  // namespace swede
