// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/server.h"

#include <sys/epoll.h>

#include <bit>
#include <chrono>

#include "base/checked.h"
#include "base/log.h"
#include "base/unix_socket.h"

namespace swede::vfio_user {
namespace {

using std::chrono_literals::operator""s;

log::Module log_("vfio_user");

/// A listener with a client that we cannot accept (out of fds) stays readable: look again later.
constexpr auto kRetryTime = 1s;

}  // namespace

Server::Server(UniqueFd listener, const Options& options, const virtio_gpu::DeviceParts& parts)
    : options_(options), parts_(parts), listener_(std::move(listener)), retry_(parts.loop, [this] {
          if (!session_) watch_.set_events(EPOLLIN);
      }) {}

Result<void> Server::start() {
    if (options_.hostmem != 0 &&
        (!std::has_single_bit(options_.hostmem) || options_.hostmem < kPageSize))
        return fail(ErrorCode::kInvalidParameter,
                    "A window of {} bytes cannot be a PCI BAR: a power of two of {} or more is.",
                    options_.hostmem, kPageSize);
    SWEDE_TRY(set_nonblocking(listener_.get()));
    watch_ = SWEDE_TRY(parts_.loop.watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept(); }));
    return {};
}

void Server::accept() {
    auto client = accept_unix(listener_.get());
    Result<void> failed{};
    if (!client) {
        failed = std::unexpected(client.error());
    } else if (*client) {
        auto session =
            Session::create(*std::move(client), options_, parts_, [this] { on_session_ended(); });
        if (session) {
            session_ = *std::move(session);
            watch_.set_events(0);
            log_.info("A client is connected.");
            return;
        }
        failed = std::unexpected(session.error());
    }
    if (failed) return;
    log_.error("A client cannot be served: {}", failed.error().message);
    watch_.set_events(0);
    if (const auto armed = retry_.arm(kRetryTime); !armed) watch_.set_events(EPOLLIN);
}

void Server::on_session_ended() {
    // It calls us from inside itself.
    parts_.loop.post([this, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        session_.reset();
        watch_.set_events(EPOLLIN);
    });
}

Result<std::unique_ptr<TransportServer>> serve(UniqueFd listener, const Options& options,
                                               const virtio_gpu::DeviceParts& parts) {
    auto server = std::make_unique<Server>(std::move(listener), options, parts);
    SWEDE_TRY(server->start());
    return server;
}

}  // namespace swede::vfio_user
