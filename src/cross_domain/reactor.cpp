// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/reactor.h"

#include <pthread.h>

#include <system_error>
#include <utility>

#include "base/blocked_signals.h"
#include "base/log.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::start() {
    std::unique_ptr<Reactor> reactor(new Reactor(SWEDE_TRY(EventLoop::create())));
    const BlockedSignals blocked;  // the new thread inherits it
    try {
        reactor->thread_ = std::thread([loop = reactor->loop_.get()] {
            ::pthread_setname_np(::pthread_self(), "cross-domain");
            loop->run();
        });
    } catch (const std::system_error& error) {
        return fail_errno("Cannot start a thread for host sockets", error.code().value());
    }
    return reactor;
}

Reactor::~Reactor() {
    if (!thread_.joinable()) return;
    loop_->post([loop = loop_.get()] { loop->stop(); });  // after what was posted before
    thread_.join();
}

void WatchedFd::want(uint32_t events) {
    if (wanted_.exchange(events) == events) return;
    if (reactor_.is_current()) return apply();
    reactor_.post([self = shared_from_this()] { self->apply(); });
}

void WatchedFd::stop() {
    if (stopped_.exchange(true)) return;
    reactor_.post([self = shared_from_this()] {
        self->watch_.reset();
        self->callback_ = nullptr;
        self->fd_.reset();
        self->connection_.hang_up();
    });
}

void WatchedFd::apply() {
    if (stopped_) return;
    const uint32_t events = wanted_;
    if (hung_up_) {
        if (events != 0) tell_later(EPOLLHUP);
        return;
    }
    if (watch_) return watch_.set_events(events);
    if (events == 0) return;
    auto watch = reactor_.loop_->watch(fd(), events, [weak = weak_from_this()](uint32_t told) {
        if (const auto self = weak.lock()) self->on_events(told);
    });
    if (!watch) {  // out of memory: as if the peer had gone
        log_.error("{}", watch.error().message);
        hung_up_ = true;
        return tell_later(EPOLLHUP);
    }
    watch_ = *std::move(watch);
}

/// Who called want() may hold the lock that the callback takes.
void WatchedFd::tell_later(uint32_t events) {
    reactor_.post([self = shared_from_this(), events] {
        if (!self->stopped_) self->callback_(events);
    });
}

void WatchedFd::on_events(uint32_t events) {
    if (stopped_) return;
    // A hang-up is told again and again, also to those who pause: then we stop watching, and tell
    // it again to who comes back.
    if (wanted_ == 0 && (events & (EPOLLHUP | EPOLLERR)) != 0) {
        hung_up_ = true;
        watch_.reset();
    }
    callback_(events);
}

}  // namespace swede::cross_domain
