// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/file_closer.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "transports/local_socket/local_socket.h"
#include "transports/local_socket/minted_files.h"
#include "transports/local_socket/session.h"

namespace swede::local_socket {
namespace {

log::Module log_("local_socket");

constexpr std::chrono::milliseconds kRetryDelay{100};
constexpr int kBacklog = 128;

/// Hears nothing: the renderers of the probe are asked for their capsets only.
class Deaf final : public virtio_gpu::CompletionQueue::Receiver {
    void on_fence_done(uint64_t) override {}
    void on_context_lost(rutabaga::ContextId, const Error&) override {}
    void on_drained() override {}
};

Result<std::vector<rutabaga::Capset>> probe(EventLoop& loop, const Options& options) {
    std::vector<rutabaga::Capset> capsets;
    if (!options.renderers) return capsets;
    Deaf deaf;
    virtio::GuestMemory memory;
    const auto sink = virtio_gpu::CompletionQueue::create(loop, deaf);
    const auto renderers = options.renderers({loop, memory, sink, Budget::create(options.limits)});
    sink->close();
    if (!renderers) return std::unexpected(renderers.error());
    size_t bytes = 0;
    std::set<uint32_t> ids;
    for (const auto& renderer : *renderers)
        for (const rutabaga::Capset& capset : renderer->capsets()) {
            if (!ids.insert(capset.id).second)
                return fail(ErrorCode::kInvalidParameter, "Two renderers offer capset {}.",
                            capset.id);
            bytes += sizeof(wire::local::CapsetHeader) + capset.data.size();
            capsets.push_back(capset);
        }
    if (bytes > wire::local::kMaxReportPayload / 2)
        return fail(ErrorCode::kInvalidParameter, "Capsets of {} bytes are too long.", bytes);
    return capsets;
}

/// The limits of a connection that is made now.
Budget::Limits limits_now(const Options& options) {
    Budget::Limits limits = options.limits;
    rlimit process{};
    uint64_t& files = limits[static_cast<size_t>(BudgetKind::kFiles)];
    if (::getrlimit(RLIMIT_NOFILE, &process) == 0)
        files = std::min(files, files_for_each(process.rlim_cur, options.max_clients));
    return limits;
}

/// Serves connections side by side. Owned by the program; loop's thread.
class Server final : public TransportServer {
  public:
    Server(EventLoop& loop, const Options& options, std::vector<rutabaga::Capset> capsets)
        : loop_(loop), options_(options), capsets_(std::move(capsets)) {}

    [[nodiscard]] Result<void> listen(UniqueFd listener) {
        SWEDE_TRY(set_nonblocking(listener.get()));
        listener_ = std::move(listener);
        // Longer than for one VMM: programs are started side by side. That it listens is known.
        static_cast<void>(::listen(listener_.get(), kBacklog));
        watch_ =
            SWEDE_TRY(loop_.watch(listener_.get(), EPOLLIN, [this](uint32_t) { on_connection(); }));
        return {};
    }

  private:
    /// Whoever waits in the backlog would wake us at once.
    void pause() {
        retry_ = std::make_unique<EventLoop::Timer>(loop_, [this] {
            watch_.set_events(EPOLLIN);
            retry_.reset();  // and its file
        });
        if (retry_->arm(kRetryDelay)) watch_.set_events(0);
    }

    void on_connection() {
        if (files_to_close() > kMostFilesToClose) {
            log_.warn("Nobody new is served: {} files of programs do not close.", files_to_close());
            return pause();
        }
        auto socket = accept_unix(listener_.get());
        if (!socket) {
            // Out of file descriptors, most likely.
            log_.error("{}", socket.error().message);
            return pause();
        }
        if (!*socket) return;
        if (sessions_.size() >= options_.max_clients) return turn_away(*std::move(socket));
        const uint64_t id = next_id_++;
        const Budget::Limits limits = limits_now(options_);
        auto session = Session::create({loop_, options_, limits, capsets_, minted_}, id,
                                       *std::move(socket), [this, id] {
                                           // The session is on the stack: it dies from the loop.
                                           loop_.post([this, id, alive = std::weak_ptr(alive_)] {
                                               if (!alive.expired()) sessions_.erase(id);
                                           });
                                       });
        if (!session) {
            if (session.error().code == ErrorCode::kClosed)
                log_.debug("A program has gone: {}", session.error().message);
            else
                log_.error("A program cannot be served: {}", session.error().message);
            return;
        }
        sessions_.emplace(id, *std::move(session));
    }

    /// Tells why, as far as the socket takes it at once.
    void turn_away(UniqueFd socket) {
        using namespace wire::local;  // NOLINT: one message of it
        const std::string text =
            fmt::format("The device serves {} connections, which is its limit.", sessions_.size());
        log_.warn("{}", text);
        const Header header{static_cast<uint32_t>(Report::kLost),
                            static_cast<uint32_t>(text.size()), 0};
        std::vector<char> message(sizeof(header) + text.size());
        std::memcpy(message.data(), &header, sizeof(header));
        std::memcpy(message.data() + sizeof(header), text.data(), text.size());
        static_cast<void>(
            ::send(socket.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
        hang_up(std::move(socket));
    }

    EventLoop& loop_;
    const Options options_;
    const std::vector<rutabaga::Capset> capsets_;
    MintedFiles minted_{options_.max_clients};
    UniqueFd listener_;
    EventLoop::Watch watch_;
    std::unique_ptr<EventLoop::Timer> retry_;  ///< while nobody new is served
    std::unordered_map<uint64_t, std::unique_ptr<Session>> sessions_;
    uint64_t next_id_ = 1;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Result<std::unique_ptr<TransportServer>> serve(EventLoop& loop, UniqueFd listener,
                                               const Options& options) {
    auto server = std::make_unique<Server>(loop, options, SWEDE_TRY(probe(loop, options)));
    SWEDE_TRY(server->listen(std::move(listener)));
    return server;
}

}  // namespace swede::local_socket
