// SPDX-License-Identifier: Apache-2.0
// Channel: pipes and events that passed over the connection.
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "cross_domain/channel.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

using namespace wire::cross_domain;

/// Kept for one pipe: a paste into a program that reads slowly.
constexpr size_t kMaxUnwrittenBytes = size_t{64} << 20;
constexpr size_t kEventSize = sizeof(uint64_t);

/// As ::write() to a pipe that does not wait. O_NONBLOCK is no promise in a description that the
/// peer has too; RWF_NOWAIT asks for it in this one call, and kernels that cannot refuse.
ssize_t write_now(const HostPipe& pipe, std::span<const std::byte> bytes) {
    if (pipe.own_description) return ::write(pipe.fd->fd(), bytes.data(), bytes.size());
    const iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    return ::pwritev2(pipe.fd->fd(), &vector, 1, -1, RWF_NOWAIT);
}

ssize_t read_now(const HostPipe& pipe, std::span<std::byte> to) {
    if (pipe.own_description) return ::read(pipe.fd->fd(), to.data(), to.size());
    const iovec vector{to.data(), to.size()};
    return ::preadv2(pipe.fd->fd(), &vector, 1, -1, RWF_NOWAIT);
}

}  // namespace

void Channel::watch_pipe(uint32_t id, const std::shared_ptr<HostPipe>& pipe, UniqueFd fd) {
    pipe->fd = std::make_shared<WatchedFd>(reactor_, std::move(fd),
                                           [weak = weak_from_this(), id](uint32_t events) {
                                               if (const auto self = weak.lock())
                                                   self->on_pipe(id, events);
                                           });
}

void Channel::drop_pipe(uint32_t id) {
    if (const auto pipe = items_.pipe(id); pipe && pipe->fd) pipe->fd->stop();
    items_.erase(id);
    std::erase(reading_, id);
}

void Channel::update_pipe_interest(HostPipe& pipe) {
    if (!pipe.fd) return;
    uint32_t events = 0;
    if (pipe.reading && !pipe.readable) events |= EPOLLIN;
    if (!pipe.unwritten.empty() || pipe.hang_up) events |= EPOLLOUT;
    pipe.fd->want(events);
}

void Channel::on_pipe(uint32_t id, uint32_t events) {
    {
        const std::scoped_lock lock(mutex_);
        const auto pipe = items_.pipe(id);
        if (closed_ || !pipe) return;
        // Only here, on the thread where no signal comes, is a pipe written to.
        if ((events & ~uint32_t{EPOLLIN}) != 0) flush_pipe(id, *pipe);
        if ((events & ~uint32_t{EPOLLOUT}) != 0 && pipe->reading) pipe->readable = true;
    }
    const bool served = serve();
    const std::scoped_lock lock(mutex_);
    const auto pipe = items_.pipe(id);
    if (!pipe) return;
    if (served) pipe->readable = false;
    update_pipe_interest(*pipe);
}

// --- guest to host ---

Result<void> Channel::write(uint32_t id, std::span<const std::byte> bytes, bool hang_up) {
    const std::scoped_lock lock(mutex_);
    const auto pipe = items_.pipe(id);
    if (!pipe) return fail(ErrorCode::kInvalidParameter, "There is no pipe {:#x}.", id);
    if (pipe->is_event && !bytes.empty() && bytes.size() != kEventSize)
        return fail(ErrorCode::kInvalidParameter, "An event takes {} bytes, not {}.", kEventSize,
                    bytes.size());
    if (pipe->hang_up) return fail(ErrorCode::kInvalidParameter, "Pipe {:#x} was hung up.", id);
    if (pipe->fd && !bytes.empty()) {
        if (pipe->unwritten.size() + bytes.size() > kMaxUnwrittenBytes) {
            drop_pipe(id);
            return fail(ErrorCode::kOutOfMemory, "Nobody reads from pipe {:#x}.", id);
        }
        if (auto added = pipe->unwritten.add(bytes, *budget_); !added) {
            drop_pipe(id);
            return added;
        }
    }
    pipe->hang_up = hang_up;
    if (!pipe->fd || (hang_up && pipe->unwritten.empty())) {
        if (hang_up) drop_pipe(id);
        return {};
    }
    update_pipe_interest(*pipe);
    return {};
}

ssize_t Channel::signal(const HostPipe& pipe, std::span<const std::byte> bytes) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(value)));
    if (const auto added = reactor_.signaller().add(pipe.fd->fd(), value); !added) {
        log_.warn("{}", added.error().message);
        errno = EIO;
        return -1;
    }
    return kEventSize;
}

void Channel::flush_pipe(uint32_t id, HostPipe& pipe) {
    while (!pipe.unwritten.empty()) {
        const auto bytes = pipe.unwritten.front();
        const ssize_t written = pipe.is_event ? signal(pipe, bytes) : write_now(pipe, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (written <= 0) {  // nobody reads any more: what the guest still writes goes nowhere
            pipe.unwritten.clear();
            pipe.fd->stop();
            pipe.fd.reset();
            break;
        }
        pipe.unwritten.take(static_cast<size_t>(written));
    }
    if (pipe.hang_up) drop_pipe(id);
}

// --- host to guest ---

Result<void> Channel::add_read_pipe(uint32_t id, UniqueFd read_end) {
    const std::scoped_lock lock(mutex_);
    auto pipe = std::make_shared<HostPipe>();
    pipe->charge = SWEDE_TRY(budget_->charge(BudgetKind::kFiles, 1));
    pipe->reading = true;
    pipe->own_description = true;
    SWEDE_TRY(items_.add_at(id, pipe));
    reading_.push_back(id);
    watch_pipe(id, pipe, std::move(read_end));
    update_pipe_interest(*pipe);
    return {};
}

Result<void> Channel::read_event(uint32_t id) {
    const std::scoped_lock lock(mutex_);
    const auto pipe = items_.pipe(id);
    if (!pipe || !pipe->is_event)
        return fail(ErrorCode::kInvalidParameter, "There is no event {:#x}.", id);
    if (pipe->reading || !pipe->fd) return {};
    pipe->reading = true;
    reading_.push_back(id);
    update_pipe_interest(*pipe);
    return {};
}

/// In turn, so that one that is always full does not starve the others. Also those of which nothing
/// was told: the reactor may be late.
bool Channel::read_pipes() {
    for (size_t i = 0; i < reading_.size(); ++i) {
        next_reading_ = (next_reading_ + 1) % reading_.size();
        const uint32_t id = reading_[next_reading_];
        const auto pipe = items_.pipe(id);
        if (pipe && read_pipe(id, *pipe)) return true;
    }
    return false;
}

bool Channel::read_pipe(uint32_t id, HostPipe& pipe) {
    std::array<std::byte, kMaxMessage> message;
    ssize_t count = 0;
    if (pipe.fd) {
        const size_t room = pipe.is_event ? kEventSize : message.size() - sizeof(ReadWrite);
        do {
            count = read_now(pipe, std::span(message).subspan(sizeof(ReadWrite), room));
        } while (count < 0 && errno == EINTR);
        if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            pipe.readable = false;
            update_pipe_interest(pipe);
            return false;
        }
    }
    const size_t size = count > 0 ? static_cast<size_t>(count) : 0;
    ReadWrite head{};
    head.header.command = static_cast<uint8_t>(Command::kRead);
    head.identifier = id;
    head.hang_up = size == 0 ? 1 : 0;
    head.opaque_size = static_cast<uint32_t>(size);
    std::memcpy(message.data(), &head, sizeof(head));
    write_ring(std::span(message).first(sizeof(head) + size));
    if (size == 0) drop_pipe(id);
    return true;
}

}  // namespace swede::cross_domain
