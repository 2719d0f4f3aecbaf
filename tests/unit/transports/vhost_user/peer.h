// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/mapping.h"
#include "transports/vhost_user/protocol.h"
#include "unit/base/peer_socket.h"

/// What the vhost-user unit tests share: the front end's end of a channel, and its files.
namespace swede::vhost_user::testing {

/// Two ends of a Unix stream socket.
struct SocketPair {
    UniqueFd ours;
    UniqueFd theirs;

    SocketPair() { std::tie(ours, theirs) = swede::testing::socket_pair(); }
};

struct Sent {
    Header header;
    std::vector<std::byte> payload;
    std::vector<UniqueFd> fds;

    template <typename T>
    [[nodiscard]] T as() const {
        return ByteReader(payload).read<T>().value();
    }
};

/// The next whole message on the front end's side; empty when there is none.
inline std::optional<Sent> receive(int fd) {
    Sent sent{};
    iovec part{&sent.header, sizeof(sent.header)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (::recvmsg(fd, &message, MSG_CMSG_CLOEXEC) != sizeof(sent.header)) return std::nullopt;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c))
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
            int received;
            std::memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            sent.fds.emplace_back(received);
        }
    sent.payload.resize(sent.header.size);
    if (sent.payload.empty()) return sent;
    EXPECT_EQ(::recv(fd, sent.payload.data(), sent.payload.size(), 0),
              static_cast<ssize_t>(sent.payload.size()));
    return sent;
}

inline void answer(int fd, BackendRequest request, uint64_t status,
                   uint32_t flags = kVersion | kFlagReply) {
    const Header header{static_cast<uint32_t>(request), flags, sizeof(status)};
    ASSERT_EQ(::send(fd, &header, sizeof(header), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(header)));
    ASSERT_EQ(::send(fd, &status, sizeof(status), MSG_NOSIGNAL),
              static_cast<ssize_t>(sizeof(status)));
}

inline void turn(EventLoop& loop) {
    loop.run_once(std::chrono::milliseconds(0));
}

inline UniqueFd eventfd() {
    return UniqueFd(::eventfd(0, EFD_CLOEXEC));
}

/// Events counted on an eventfd since the last look.
inline uint64_t count(const UniqueFd& fd) {
    uint64_t value = 0;
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    return ::read(fd.get(), &value, sizeof(value)) == sizeof(value) ? value : 0;
}

}  // namespace swede::vhost_user::testing
