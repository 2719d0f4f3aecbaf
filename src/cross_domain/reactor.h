// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/file_closer.h"
#include "base/result.h"
#include "cross_domain/event_signaller.h"

namespace swede::cross_domain {

/// The thread that serves all host sockets and pipes of a device: an EventLoop with
/// every signal blocked, so that a write to a pipe nobody reads raises no SIGPIPE in a VMM.
class Reactor {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Reactor>> start();
    /// Runs what was posted, then joins. Whoever holds a WatchedFd has stopped it before.
    ~Reactor();
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;

    /// Any thread.
    void post(EventLoop::Task task) { loop_->post(std::move(task)); }
    [[nodiscard]] bool is_current() const { return std::this_thread::get_id() == thread_.get_id(); }
    /// The reactor's thread.
    [[nodiscard]] EventSignaller& signaller() { return signaller_; }

  private:
    friend class WatchedFd;
    explicit Reactor(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}

    std::unique_ptr<EventLoop> loop_;
    EventSignaller signaller_;
    std::thread thread_;
};

/// A host fd with what we want to hear of it. Shared by a context and the reactor's tasks; any
/// thread.
class WatchedFd : public std::enable_shared_from_this<WatchedFd> {
  public:
    /// On the reactor's thread. EPOLLHUP and EPOLLERR may come whatever was asked for.
    using Callback = std::function<void(uint32_t events)>;

    /// `fd` is used only by calls that do not wait. Not watched before the first want().
    WatchedFd(Reactor& reactor, UniqueFd fd, Callback callback)
        : reactor_(reactor), fd_(std::move(fd)), callback_(std::move(callback)) {}
    /// A connection to a peer. Closing it may wait, as files that lie unread in it are closed too:
    /// so stop() hangs it up, and it is closed elsewhere.
    WatchedFd(Reactor& reactor, PeerFile connection, Callback callback)
        : reactor_(reactor), connection_(std::move(connection)), callback_(std::move(callback)) {}

    [[nodiscard]] int fd() const { return fd_ ? fd_.get() : connection_.get(); }
    /// EPOLLIN, EPOLLOUT or both; 0 pauses. Cheap when nothing changes.
    void want(uint32_t events);
    [[nodiscard]] uint32_t wanted() const { return wanted_; }
    /// Nobody uses it any more. No callback begins, and the fd is closed or hung up, once the
    /// reactor has come to what is posted now.
    void stop();

  private:
    void apply();
    void tell_later(uint32_t events);
    void on_events(uint32_t events);

    Reactor& reactor_;
    UniqueFd fd_;
    PeerFile connection_;  ///< in place of fd_
    Callback callback_;    ///< reactor's thread
    std::atomic<uint32_t> wanted_ = 0;
    std::atomic<bool> stopped_ = false;
    bool hung_up_ = false;    ///< told while nobody wanted to know; reactor's thread
    EventLoop::Watch watch_;  ///< reactor's thread
};

}  // namespace swede::cross_domain
