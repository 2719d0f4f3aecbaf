// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/event_file.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/unix_socket.h"
#include "wire/local_socket.h"

namespace swede::local_socket {
namespace {

log::Module log_("local_socket");

}  // namespace

Result<std::unique_ptr<EventFile>> EventFile::create(EventLoop& loop, UniqueFd fd, int connection,
                                                     const std::shared_ptr<Budget>& budget) {
    PeerFile file(std::move(fd));  // also when it is refused, its end must not wait
    auto checked = check_unix_stream(file.get());
    if (checked) checked = check_same_peer(file.get(), connection);
    if (!checked)
        return fail(ErrorCode::kProtocol, "The file for events: {}", checked.error().message);
    file.hold(SWEDE_TRY(budget->charge(BudgetKind::kFiles, 1)));
    return std::unique_ptr<EventFile>(new EventFile(loop, std::move(file)));
}

void EventFile::tell(Budget::Charge fence) {
    if (!file_) return;
    if (untold_.empty() && write_one()) return;
    if (!file_) return;
    untold_.push_back(std::move(fence));
    if (room_) return;
    auto watch = loop_.watch(file_.get(), EPOLLOUT, [this](uint32_t) { flush(); });
    if (watch) {
        room_ = *std::move(watch);
    } else {
        log_.warn("The program gets no events any more: {}", watch.error().message);
        close();
    }
}

bool EventFile::write_one() {
    constexpr wire::local::Event kEvent{wire::local::kFenceEvent, sizeof(wire::local::Event)};
    ssize_t sent;
    do {
        sent = ::send(file_.get(), &kEvent, sizeof(kEvent), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent == static_cast<ssize_t>(sizeof(kEvent))) return true;
    if (sent >= 0 || errno != EAGAIN) close();
    return false;
}

void EventFile::flush() {
    while (!untold_.empty() && write_one()) untold_.pop_front();
    if (untold_.empty()) room_.reset();
}

/// The program has closed its end, or cut ours off; or the session ends.
void EventFile::close() {
    untold_.clear();
    room_.reset();
    file_.hang_up();
}

}  // namespace swede::local_socket
