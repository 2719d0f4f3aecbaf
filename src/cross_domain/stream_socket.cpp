// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/stream_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "wire/cross_domain.h"

namespace swede::cross_domain {
namespace {

/// The kernel's SCM_MAX_FD: no message carries more, so none is cut.
constexpr size_t kMaxReceivedFds = 253;

bool would_block(int error) {
    return error == EAGAIN || error == EWOULDBLOCK;
}

}  // namespace

Result<size_t> send_some(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
    if (fds.size() > wire::cross_domain::kManyIdentifiers)
        return fail(ErrorCode::kInvalidParameter, "{} files are too many for a message.",
                    fds.size());
    iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(wire::cross_domain::kManyIdentifiers * sizeof(int))];
    if (!fds.empty()) {
        std::memset(control, 0, sizeof(control));
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    for (;;) {
        const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) return static_cast<size_t>(sent);
        if (errno == EINTR) continue;
        if (would_block(errno)) return size_t{0};
        return fail_errno("Cannot send to the host's socket", errno);
    }
}

Result<std::optional<size_t>> receive_some(int socket, std::span<std::byte> to,
                                           std::vector<UniqueFd>& fds) {
    iovec vector{to.data(), to.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxReceivedFds * sizeof(int))];
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    ssize_t received;
    do {
        received = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (received < 0 && errno == EINTR);
    if (received < 0) {
        if (would_block(errno)) return std::optional<size_t>();
        return fail_errno("Cannot receive from the host's socket", errno);
    }
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; ++i) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            fds.emplace_back(fd);
        }
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0)
        return fail(ErrorCode::kOutOfMemory,
                    "There is no room for the files that the host's peer sent.");
    return std::optional<size_t>(static_cast<size_t>(received));
}

}  // namespace swede::cross_domain
