// SPDX-License-Identifier: Apache-2.0
#include "swede/device.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <utility>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "display/png_sink.h"
#include "swede/control_server.h"
#include "swede/device_socket.h"
#include "swede/device_state.h"
#include "swede/file_limit.h"
#include "swede/service_manager.h"
#include "transports/local_socket/local_socket.h"
#include "transports/vfio_user/vfio_user.h"
#include "transports/vhost_user/vhost_user.h"

namespace swede {
namespace {

log::Module log_("device");

/// SIGTERM and SIGINT as an fd, for as long as it lives; afterwards they end the process again, so
/// that a second one ends a device that does not end.
class EndSignals {
  public:
    [[nodiscard]] static Result<std::unique_ptr<EndSignals>> take() {
        std::unique_ptr<EndSignals> signals(new EndSignals);
        ::sigemptyset(&signals->set_);
        ::sigaddset(&signals->set_, SIGTERM);
        ::sigaddset(&signals->set_, SIGINT);
        ::pthread_sigmask(SIG_BLOCK, &signals->set_, nullptr);
        signals->fd_ = UniqueFd(::signalfd(-1, &signals->set_, SFD_CLOEXEC | SFD_NONBLOCK));
        if (!signals->fd_) return fail_errno("Cannot wait for signals", errno);
        return signals;
    }
    ~EndSignals() { ::pthread_sigmask(SIG_UNBLOCK, &set_, nullptr); }
    EndSignals(const EndSignals&) = delete;
    EndSignals& operator=(const EndSignals&) = delete;

    [[nodiscard]] int fd() const { return fd_.get(); }
    void log_arrived() const {
        signalfd_siginfo info{};
        if (::read(fd_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info)))
            log_.info("Ending on signal {} of process {}.", info.ssi_signo, info.ssi_pid);
    }

  private:
    EndSignals() = default;
    sigset_t set_{};
    UniqueFd fd_;
};

Result<std::unique_ptr<TransportServer>> serve(DeviceSocket& socket, const DeviceOptions& options,
                                               const virtio_gpu::DeviceParts& parts) {
    if (options.transport == Transport::kVfioUser)
        return vfio_user::serve(std::move(socket.fd), {options.hostmem}, parts);
    if (options.transport == Transport::kLocal)
        return local_socket::serve(
            parts.loop, std::move(socket.fd),
            {parts.options.limits, parts.options.renderers, options.max_clients});
    const bool full = options.transport == Transport::kVhostUser;
    const vhost_user::Options vhost_options{
        full ? vhost_user::Personality::kGeneric : vhost_user::Personality::kGpu,
        full ? options.hostmem : 0};
    if (socket.listening) return vhost_user::serve(std::move(socket.fd), vhost_options, parts);
    return vhost_user::serve_connected(std::move(socket.fd), vhost_options, parts,
                                       [&loop = parts.loop] {
                                           log_.info("The VMM has gone; ending.");
                                           loop.stop();
                                       });
}

Result<std::unique_ptr<display::PngSink>> open_display(const DeviceOptions& options) {
    if (options.picture_directory.empty()) return display::PngSink::on_demand();
    return display::PngSink::create(options.picture_directory);
}

}  // namespace

Result<void> run_device(const DeviceOptions& options, UniqueFd passed,
                        const virtio_gpu::RendererFactory& renderers) {
    ::signal(SIGPIPE, SIG_IGN);  // peers close when they like
    raise_file_limit();
    auto signals = SWEDE_TRY(EndSignals::take());  // before the first thread
    const auto loop = SWEDE_TRY(EventLoop::create());
    DeviceSocket socket = SWEDE_TRY(open_device_socket(options, std::move(passed)));
    const auto pictures = SWEDE_TRY(open_display(options));
    DeviceState state(options, socket.where, renderers, *pictures);
    const virtio_gpu::DeviceParts parts{
        *loop, state.device_options(), *pictures,
        [&state](virtio_gpu::GpuDevice* device) { state.set_device(device); }};
    const bool listening = socket.listening;
    const auto server = SWEDE_TRY(serve(socket, options, parts));

    std::unique_ptr<ControlServer> control;
    SocketFile control_file;
    if (!options.control_path.empty()) {
        UniqueFd listener = SWEDE_TRY(listen_unix(options.control_path));
        control_file = SocketFile(options.control_path);
        control = SWEDE_TRY(ControlServer::create(*loop, std::move(listener), state));
    }
    auto end = SWEDE_TRY(loop->watch(signals->fd(), EPOLLIN, [&](uint32_t) {
        signals->log_arrived();
        loop->stop();
    }));
    log_.info("{} {} ({})", listening ? "Listening at" : "Serving the connection of", socket.where,
              name_of(options.transport));
    service_manager::notify_ready();
    loop->run();
    end.reset();
    signals.reset();
    return {};
}

}  // namespace swede
