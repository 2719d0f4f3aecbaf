// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>
#include <vector>

#include "base/fd.h"

namespace swede::testing {

/// A TCP socket whose close() waits half a minute, or until `peer` is closed.
struct LingeringSocket {
    UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    UniqueFd peer;

    LingeringSocket() {
        const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        if (::bind(listener.get(), any, size) != 0 || ::listen(listener.get(), 1) != 0 ||
            ::getsockname(listener.get(), any, &size) != 0 ||
            ::connect(socket.get(), any, size) != 0)
            throw std::system_error(errno, std::generic_category(), "connect");
        peer = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const linger wait{1, 30};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof(wait));
        const std::vector<char> bytes(1 << 20);
        while (::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) > 0) {
        }
    }
};

}  // namespace swede::testing
