// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/event_loop.h"
#include "base/fd.h"
#include "transports/server.h"
#include "transports/vfio_user/session.h"
#include "transports/vfio_user/vfio_user.h"

namespace swede::vfio_user {

/// Listens and holds the one client of the moment. While it has one, the next waits unaccepted and
/// is served when the first is gone, so a VMM that restarts at once finds its place. Owned by the
/// program, on the device thread.
class Server final : public TransportServer {
  public:
    Server(UniqueFd listener, const Options& options, const virtio_gpu::DeviceParts& parts);

    [[nodiscard]] Result<void> start();

  private:
    void accept();
    void on_session_ended();

    Options options_;
    const virtio_gpu::DeviceParts& parts_;
    UniqueFd listener_;
    EventLoop::Watch watch_;
    EventLoop::Timer retry_;  ///< after a failed accept
    std::unique_ptr<Session> session_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< for what is posted
};

}  // namespace swede::vfio_user
