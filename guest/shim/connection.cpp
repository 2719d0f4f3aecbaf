// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "libc.h"

namespace swede::shim {
namespace {

using namespace wire::local;  // NOLINT: this file is one end of that protocol

constexpr int kGreetingPatience = 10'000;  ///< ms: the device may be starting
constexpr size_t kMaxParts = 4;

/// A device that is not there is told of once, and not at each of a dozen probes.
bool is_first_word() {
    static std::atomic<bool> said{false};
    return !said.exchange(true);
}

bool would_wait(int error) {
    return error == EINTR || error == EAGAIN;
}

}  // namespace

Outcome<std::unique_ptr<Connection>> Connection::open() {
    const char* const path = std::getenv("SWEDE_SOCKET");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path == nullptr || path[0] == '\0' || std::strlen(path) >= sizeof(address.sun_path)) {
        if (is_first_word())
            say("SWEDE_SOCKET is \"%s\", which is no path of a socket: there is no GPU.",
                path == nullptr ? "" : path);
        return std::unexpected(ENXIO);
    }
    std::strcpy(address.sun_path, path);
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return std::unexpected(errno);
    int connected;
    do {
        connected =
            ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    } while (connected != 0 && errno == EINTR);
    if (connected != 0) {
        if (is_first_word())
            say("No device answers at \"%s\" (%s): there is no GPU.", path, std::strerror(errno));
        return std::unexpected(ENXIO);
    }
    std::unique_ptr<Connection> connection(new Connection(std::move(socket)));
    if (const auto greeted = connection->greet(); !greeted) return std::unexpected(greeted.error());
    return connection;
}

Outcome<> Connection::greet() {
    const Hello hello{kVersion, 0};
    const std::span<const std::byte> part = bytes_of(hello);
    if (const auto sent = send(Request::kHello, next_request_++, std::span(&part, 1), -1); !sent)
        return sent;
    pollfd readable{socket_.get(), POLLIN, 0};
    int ready;
    do {
        ready = ::poll(&readable, 1, kGreetingPatience);
    } while (ready < 0 && would_wait(errno));
    if (ready <= 0) {
        if (is_first_word()) say("The device does not answer: there is no GPU.");
        return std::unexpected(ETIMEDOUT);
    }
    auto incoming = receive();
    if (!incoming) {
        if (is_first_word()) say("The device closed the connection: its log tells why.");
        return std::unexpected(ENXIO);
    }
    if (incoming->header.type == static_cast<uint32_t>(Report::kLost)) {
        if (is_first_word())
            say("The device serves no more programs: %.*s",
                static_cast<int>(incoming->bytes.size()),
                reinterpret_cast<const char*>(incoming->bytes.data()));
        return std::unexpected(EBUSY);
    }
    if (incoming->header.type != static_cast<uint32_t>(Report::kWelcome)) {
        if (is_first_word())
            say("The device answers with message %u, which is no greeting.", incoming->header.type);
        return std::unexpected(EPROTO);
    }
    return take_welcome(incoming->bytes);
}

Outcome<> Connection::take_welcome(std::span<const std::byte> bytes) {
    const auto take = [&](void* to, size_t size) {
        if (bytes.size() < size) return false;
        std::memcpy(to, bytes.data(), size);
        bytes = bytes.subspan(size);
        return true;
    };
    Welcome welcome{};
    if (!take(&welcome, sizeof(welcome))) return std::unexpected(EPROTO);
    if (welcome.version != kVersion) {
        if (is_first_word())
            say("The device speaks version %u of the protocol, this shim version %u.",
                welcome.version, kVersion);
        return std::unexpected(EPROTO);
    }
    for (uint32_t i = 0; i < welcome.num_params; ++i) {
        Param param{};
        if (!take(&param, sizeof(param))) return std::unexpected(EPROTO);
        params_.push_back(param);
    }
    for (uint32_t i = 0; i < welcome.num_capsets; ++i) {
        CapsetHeader header{};
        if (!take(&header, sizeof(header)) || bytes.size() < header.size)
            return std::unexpected(EPROTO);
        capsets_.push_back({header.id,
                            header.version,
                            {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(header.size)}});
        bytes = bytes.subspan(header.size);
    }
    return {};
}

Outcome<uint32_t> Connection::param(uint64_t number) const {
    for (const Param& param : params_)
        if (param.param == number) return param.value;
    return std::unexpected(EINVAL);
}

// --- sending ---

Outcome<> Connection::send(Request type, uint64_t number,
                           std::span<const std::span<const std::byte>> parts, int fd) {
    std::array<iovec, kMaxParts + 1> pieces;
    size_t size = 0;
    for (size_t i = 0; i < parts.size(); ++i) {
        size += parts[i].size();
        pieces[i + 1] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
    }
    if (size > kMaxRequestPayload) return std::unexpected(EINVAL);
    Header header{static_cast<uint32_t>(type), static_cast<uint32_t>(size), number};
    pieces[0] = {&header, sizeof(header)};

    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    if (fd >= 0) {
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        cmsghdr* const c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    const std::scoped_lock lock(send_mutex_);
    for (std::span<iovec> rest = std::span(pieces).first(parts.size() + 1); !rest.empty();) {
        message.msg_iov = rest.data();
        message.msg_iovlen = rest.size();
        const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (would_wait(errno)) continue;
            // A bad file of the caller's is his error; everything else ends the connection.
            if (errno == EBADF && fd >= 0 && rest.size() == parts.size() + 1)
                return std::unexpected(EBADF);
            return std::unexpected(EIO);
        }
        message.msg_control = nullptr;
        message.msg_controllen = 0;
        size_t left = static_cast<size_t>(sent);
        while (!rest.empty() && left >= rest.front().iov_len) {
            left -= rest.front().iov_len;
            rest = rest.subspan(1);
        }
        if (rest.empty()) break;
        rest.front().iov_base = static_cast<std::byte*>(rest.front().iov_base) + left;
        rest.front().iov_len -= left;
    }
    return {};
}

Outcome<> Connection::post(Request type, std::span<const std::span<const std::byte>> parts,
                           int fd) {
    if (lost()) return std::unexpected(EIO);
    return send(type, 0, parts, fd);
}

// --- receiving ---

bool Connection::read_whole(void* to, size_t size, Fd& fd) {
    for (size_t done = 0; done < size;) {
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control;
        iovec part{static_cast<std::byte*>(to) + done, size - done};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t received = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
        if (received < 0 && would_wait(errno)) continue;
        if (received <= 0) return false;
        for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c))
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                int value;
                std::memcpy(&value, CMSG_DATA(c), sizeof(int));
                fd.reset(value);
            }
        done += static_cast<size_t>(received);
    }
    return true;
}

Outcome<Connection::Incoming> Connection::receive() {
    Incoming incoming;
    if (!read_whole(&incoming.header, sizeof(Header), incoming.fd)) return std::unexpected(EIO);
    if (incoming.header.size > kMaxReportPayload) return std::unexpected(EPROTO);
    incoming.bytes.resize(incoming.header.size);
    if (!read_whole(incoming.bytes.data(), incoming.bytes.size(), incoming.fd))
        return std::unexpected(EIO);
    return incoming;
}

void Connection::deliver(Incoming incoming) {
    if (incoming.header.type == static_cast<uint32_t>(Report::kLost)) {
        say("The GPU is lost: %.*s", static_cast<int>(incoming.bytes.size()),
            reinterpret_cast<const char*>(incoming.bytes.data()));
        lost_ = true;
        return;
    }
    const auto found = std::ranges::find(waiting_, incoming.header.request, &Waiting::request);
    if (incoming.header.type != static_cast<uint32_t>(Report::kAnswer) || found == waiting_.end() ||
        incoming.bytes.size() < sizeof(Answer)) {
        lost_ = true;
        return;
    }
    Waiting& waiting = **found;
    std::memcpy(&waiting.reply.answer, incoming.bytes.data(), sizeof(Answer));
    waiting.reply.fd = std::move(incoming.fd);
    waiting.answered = true;
    if (waiting.reply.answer.error != 0 && std::getenv("SWEDE_SHIM_DEBUG") != nullptr)
        say("The device refuses (%s): %.*s",
            std::strerror(static_cast<int>(waiting.reply.answer.error)),
            static_cast<int>(incoming.bytes.size() - sizeof(Answer)),
            reinterpret_cast<const char*>(incoming.bytes.data()) + sizeof(Answer));
}

Outcome<Connection::Reply> Connection::call(Request type,
                                            std::span<const std::span<const std::byte>> parts,
                                            int fd) {
    Waiting waiting{};
    std::unique_lock lock(mutex_);
    if (lost_) return std::unexpected(EIO);
    waiting.request = next_request_++;
    waiting_.push_back(&waiting);
    lock.unlock();
    const auto sent = send(type, waiting.request, parts, fd);
    lock.lock();
    while (sent && !waiting.answered && !lost_) {
        if (reading_) {
            changed_.wait(lock);
            continue;
        }
        reading_ = true;
        lock.unlock();
        auto incoming = receive();
        lock.lock();
        reading_ = false;
        if (incoming)
            deliver(*std::move(incoming));
        else
            lost_ = true;
        changed_.notify_all();
    }
    waiting_.remove(&waiting);
    if (!sent) return std::unexpected(sent.error());
    if (!waiting.answered) return std::unexpected(EIO);
    if (waiting.reply.answer.error != 0)
        return std::unexpected(static_cast<int>(waiting.reply.answer.error));
    return std::move(waiting.reply);
}

void Connection::set_lost() {
    std::unique_lock lock(mutex_);
    // Whoever reads comes to the end by himself. Nothing here waits: all that will ever come is in
    // the socket, and the reason for the end may be among it.
    while (!reading_ && !lost_) {
        reading_ = true;
        lock.unlock();
        auto incoming = receive();
        lock.lock();
        reading_ = false;
        if (incoming)
            deliver(*std::move(incoming));
        else
            lost_ = true;
        changed_.notify_all();
    }
}

bool Connection::lost() {
    const std::scoped_lock lock(mutex_);
    return lost_;
}

}  // namespace swede::shim
