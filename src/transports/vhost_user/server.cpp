// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <csignal>
#include <memory>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "transports/vhost_user/session.h"
#include "transports/vhost_user/vhost_user.h"

namespace swede::vhost_user {
namespace {

log::Module log_("vhost_user");

constexpr std::chrono::milliseconds kRetryDelay{100};

/// Serves front ends one after the other, or one and no more. Owned by the program; loop's thread.
class Server : public TransportServer {
  public:
    Server(const Options& options, const virtio_gpu::DeviceParts& parts)
        : options_(options), parts_(parts) {}

    [[nodiscard]] Result<void> listen(UniqueFd listener) {
        SWEDE_TRY(set_nonblocking(listener.get()));
        listener_ = std::move(listener);
        watch_ = SWEDE_TRY(
            parts_.loop.watch(listener_.get(), EPOLLIN, [this](uint32_t) { on_connection(); }));
        return {};
    }

    [[nodiscard]] Result<void> serve_one(UniqueFd socket, std::function<void()> ended) {
        ended_ = std::move(ended);
        return begin(std::move(socket));
    }

  private:
    [[nodiscard]] Result<void> begin(UniqueFd socket) {
        session_ = SWEDE_TRY(Session::create(std::move(socket), options_, parts_, [this] {
            // The session is on the stack: it dies from the loop.
            parts_.loop.post([this, alive = std::weak_ptr(alive_)] {
                if (!alive.expired()) finish();
            });
        }));
        return {};
    }

    void on_connection() {
        auto socket = accept_unix(listener_.get());
        if (!socket) {
            // Out of file descriptors, most likely. The connection stays in the backlog and would
            // wake us at once.
            log_.error("{}", socket.error().message);
            if (retry_.arm(kRetryDelay)) watch_.set_events(0);
            return;
        }
        if (!*socket) return;
        if (const auto begun = begin(*std::move(socket)); !begun) {
            log_.error("A front end cannot be served: {}", begun.error().message);
            return;
        }
        log_.info("A front end has connected.");
        watch_.set_events(0);  // the next one waits in the backlog
    }

    void retry() {
        if (!session_) watch_.set_events(EPOLLIN);
    }

    void finish() {
        session_.reset();
        if (watch_) watch_.set_events(EPOLLIN);
        if (ended_) ended_();
    }

    const Options options_;
    const virtio_gpu::DeviceParts& parts_;
    UniqueFd listener_;
    EventLoop::Watch watch_;
    EventLoop::Timer retry_{parts_.loop, [this] { retry(); }};
    std::function<void()> ended_;
    std::unique_ptr<Session> session_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Result<std::unique_ptr<Server>> make_server(const Options& options,
                                            const virtio_gpu::DeviceParts& parts) {
    if (!is_page_aligned(options.hostmem))
        return fail(ErrorCode::kInvalidParameter,
                    "A host-visible window of {} bytes is no whole number of pages.",
                    options.hostmem);
    // A front end may hand out pipes as call fds and close them; the write then fails, and no more.
    struct sigaction old{};
    if (::sigaction(SIGPIPE, nullptr, &old) == 0 && old.sa_handler == SIG_DFL)
        ::signal(SIGPIPE, SIG_IGN);
    return std::make_unique<Server>(options, parts);
}

}  // namespace

Result<std::unique_ptr<TransportServer>> serve(UniqueFd listener, const Options& options,
                                               const virtio_gpu::DeviceParts& parts) {
    auto server = SWEDE_TRY(make_server(options, parts));
    SWEDE_TRY(server->listen(std::move(listener)));
    return server;
}

Result<std::unique_ptr<TransportServer>> serve_connected(UniqueFd socket, const Options& options,
                                                         const virtio_gpu::DeviceParts& parts,
                                                         std::function<void()> ended) {
    auto server = SWEDE_TRY(make_server(options, parts));
    SWEDE_TRY(server->serve_one(std::move(socket), std::move(ended)));
    return server;
}

}  // namespace swede::vhost_user
