// SPDX-License-Identifier: Apache-2.0
#include "base/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/file_closer.h"

namespace swede {
namespace {

/// In one message; no protocol of ours needs more than this.
constexpr size_t kMaxFds = 64;
/// Linux's SCM_MAX_FD. There is room for all, since what does not fit Linux closes itself, at once,
/// and that may wait.
constexpr size_t kMaxReceivedFds = 253;
constexpr size_t kMaxParts = 8;
/// Duplicates kept for a peer that does not read, so that it cannot use up this process's fds.
constexpr size_t kMaxUnsentFds = 256;
/// SO_PEERPIDFD of Linux 6.5, which Debian 12's C library does not name.
constexpr int kPeerPidfd = 77;

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path))
        return fail(ErrorCode::kInvalidParameter,
                    "The socket path \"{}\" is {} bytes long; 1 to {} are possible.", path,
                    path.size(), sizeof(address.sun_path) - 1);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

/// True when `path` is a socket that refuses connections: its owner is gone.
bool is_stale_socket(const std::string& path, const sockaddr_un& address) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
               0 &&
           errno == ECONNREFUSED;
}

/// The process that connected, or made a pair of sockets: 0 when it lives in a pid namespace that
/// is not ours or below ours. kClosed when nobody did.
Result<pid_t> peer_pid(int socket) {
    ucred peer{};
    socklen_t size = sizeof(peer);
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return fail_errno("Cannot examine a socket", errno);
    if (peer.uid == static_cast<uid_t>(-1))  // its process number is 0, too
        return fail(ErrorCode::kClosed, "The socket has no other end.");
    return peer.pid;
}

}  // namespace

Result<UniqueFd> listen_unix(const std::string& path) {
    const sockaddr_un address = SWEDE_TRY(address_of(path));
    if (is_stale_socket(path, address)) ::unlink(path.c_str());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("Cannot create a socket", errno);
    // fchmod before bind sets the mode of the file that bind creates, with no moment in between.
    ::fchmod(fd.get(), S_IRUSR | S_IWUSR);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return fail_errno(fmt::format("Cannot listen at \"{}\"", path), errno);
    if (::listen(fd.get(), 16) != 0)
        return fail_errno(fmt::format("Cannot listen at \"{}\"", path), errno);
    return fd;
}

Result<UniqueFd> connect_unix(const std::string& path) {
    const sockaddr_un address = SWEDE_TRY(address_of(path));
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd) return fail_errno("Cannot create a socket", errno);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return fail_errno(fmt::format("Cannot connect to \"{}\"", path), errno);
    return fd;
}

Result<UniqueFd> peer_process(int socket) {
    const pid_t peer = SWEDE_TRY(peer_pid(socket));
    // Of that very process, in whichever namespace; since 6.16 also of one that has ended.
    int pidfd = -1;
    socklen_t size = sizeof(pidfd);
    if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &pidfd, &size) == 0) return UniqueFd(pidfd);
    if (peer == 0 && errno == ENOPROTOOPT) return UniqueFd();
    // If another process has got the number by now, ours has ended.
    if (peer != 0) pidfd = static_cast<int>(::syscall(SYS_pidfd_open, peer, 0));
    if (pidfd >= 0) return UniqueFd(pidfd);
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        return fail_errno("Cannot watch a process", errno);
    return fail(ErrorCode::kClosed, "Process {} has ended.", peer);
}

Result<UniqueFd> accept_unix(int listener) {
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        return fail_errno("Cannot accept a connection", errno);
    return fd;
}

Result<void> set_nonblocking(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return fail_errno("Cannot make a file descriptor non-blocking", errno);
    return {};
}

Result<void> check_unix_stream(int fd) {
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof(int);
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 ||
        ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
        return fail_errno("The file descriptor is no socket", errno);
    if (domain != AF_UNIX || type != SOCK_STREAM)
        return fail(ErrorCode::kInvalidParameter,
                    "The socket (domain {}, type {}) is no Unix stream socket.", domain, type);
    return {};
}

Result<void> check_same_peer(int fd, int connection) {
    const pid_t other = SWEDE_TRY(peer_pid(fd));
    const pid_t expected = SWEDE_TRY(peer_pid(connection));
    if (other != expected)
        return fail(ErrorCode::kInvalidParameter,
                    "The socket's other end is of process {}, and not of {}.", other, expected);
    return {};
}

MessageSocket::MessageSocket(UniqueFd fd, const Limits& limits, PayloadSize payload_size)
    : fd_(std::move(fd)),
      limits_(limits),
      payload_size_(payload_size),
      wanted_(limits.header_size) {}

Result<size_t> MessageSocket::read_some(Message& message, size_t up_to) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxReceivedFds)> control;
    iovec part{message.bytes.data() + received_, up_to - received_};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t size;
    do {
        size = ::recvmsg(fd_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (size < 0 && errno == EINTR);
    if (size < 0) {
        if (errno == EAGAIN) return 0;
        return fail(ErrorCode::kClosed, "The connection is broken: {}.", std::strerror(errno));
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int received;
            std::memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            message.fds.emplace_back(received);  // owned first, counted after
        }
    }
    if (size == 0) return fail(ErrorCode::kClosed, "The peer closed the connection.");
    if ((header.msg_flags & MSG_CTRUNC) != 0)  // it is not for want of room
        return fail(ErrorCode::kSystem,
                    "A message's files are lost: the process has no file descriptors left.");
    if (message.fds.size() > limits_.max_fds)
        return fail(ErrorCode::kProtocol, "A message carries more than {} file descriptors.",
                    limits_.max_fds);
    return static_cast<size_t>(size);
}

Result<bool> MessageSocket::receive(Message& message) {
    auto received = receive_whole(message);
    // The connection ends; the peer's fds do not stay behind.
    if (!received) close_elsewhere(message.fds);
    return received;
}

Result<bool> MessageSocket::receive_whole(Message& message) {
    if (received_ == 0) {
        close_elsewhere(message.fds);
        message.bytes.resize(limits_.header_size);
    }
    for (;;) {
        while (received_ < wanted_) {
            const size_t size = SWEDE_TRY(read_some(message, wanted_));
            if (size == 0) return false;
            received_ += size;
        }
        if (wanted_ == limits_.header_size) {
            const uint64_t payload = SWEDE_TRY(payload_size_(message.bytes));
            if (payload > limits_.max_payload)
                return fail(ErrorCode::kProtocol, "A message of {} bytes is longer than {}.",
                            payload, limits_.max_payload);
            if (payload != 0) {
                wanted_ += payload;
                message.bytes.resize(wanted_);
                continue;
            }
        }
        received_ = 0;
        wanted_ = limits_.header_size;
        return true;
    }
}

Result<void> MessageSocket::send(std::span<const std::span<const std::byte>> parts,
                                 std::span<const int> fds) {
    if (parts.size() > kMaxParts || fds.size() > kMaxFds)
        return fail(ErrorCode::kInvalidParameter, "A message of {} parts and {} fds is too much.",
                    parts.size(), fds.size());
    size_t total = 0;
    for (const auto part : parts) total += part.size();
    size_t sent = 0;
    bool fds_sent = fds.empty();
    if (pending_.empty()) {
        std::array<iovec, kMaxParts> vectors;
        for (size_t i = 0; i < parts.size(); ++i)
            vectors[i] = {const_cast<std::byte*>(parts[i].data()), parts[i].size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFds)> control{};
        msghdr header{};
        header.msg_iov = vectors.data();
        header.msg_iovlen = parts.size();
        if (!fds.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(fds.size_bytes());
            cmsghdr* const c = CMSG_FIRSTHDR(&header);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(fds.size_bytes());
            std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
        }
        ssize_t size;
        do {
            size = ::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (size < 0 && errno == EINTR);
        if (size < 0 && errno != EAGAIN)
            return fail(ErrorCode::kClosed, "The connection is broken: {}.", std::strerror(errno));
        if (size > 0) {
            sent = static_cast<size_t>(size);
            fds_sent = true;
        }
        if (sent == total) return {};
    }
    if (total - sent > limits_.max_unsent - unsent_)
        return fail(ErrorCode::kProtocol, "The peer leaves {} bytes unread; at most {} are kept.",
                    unsent_ + total - sent, limits_.max_unsent);
    if (!fds_sent && fds.size() > kMaxUnsentFds - unsent_fds_)
        return fail(ErrorCode::kProtocol,
                    "The peer leaves {} file descriptors; at most {} are kept.",
                    unsent_fds_ + fds.size(), kMaxUnsentFds);
    Pending rest;
    rest.bytes.reserve(total - sent);
    for (auto part : parts) {
        const size_t skip = std::min(sent, part.size());
        sent -= skip;
        part = part.subspan(skip);
        rest.bytes.insert(rest.bytes.end(), part.begin(), part.end());
    }
    if (!fds_sent)
        for (const int fd : fds) {
            rest.fds.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
            if (!rest.fds.back()) return fail_errno("Cannot keep a file descriptor", errno);
        }
    unsent_ += rest.bytes.size();
    unsent_fds_ += rest.fds.size();
    pending_.push_back(std::move(rest));
    return {};
}

Result<void> MessageSocket::flush() {
    while (!pending_.empty()) {
        Pending& first = pending_.front();
        iovec part{first.bytes.data() + first.sent, first.bytes.size() - first.sent};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFds)> control{};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (!first.fds.empty()) {
            const size_t bytes = sizeof(int) * first.fds.size();
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(bytes);
            cmsghdr* const c = CMSG_FIRSTHDR(&header);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(bytes);
            for (size_t i = 0; i < first.fds.size(); ++i) {
                const int fd = first.fds[i].get();
                std::memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
            }
        }
        const ssize_t size = ::sendmsg(fd_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0) {
            if (errno == EAGAIN || errno == EINTR) return {};
            return fail(ErrorCode::kClosed, "The connection is broken: {}.", std::strerror(errno));
        }
        unsent_fds_ -= first.fds.size();
        first.fds.clear();
        first.sent += static_cast<size_t>(size);
        unsent_ -= static_cast<size_t>(size);
        if (first.sent == first.bytes.size()) pending_.pop_front();
    }
    return {};
}

}  // namespace swede
