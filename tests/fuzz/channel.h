// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "require.h"

namespace swede::fuzz {

/// One socket of a hostile peer: what came in, in whole messages, and how many fds with them.
class Channel {
  public:
    Channel() = default;
    explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

    void connect(UniqueFd fd) {
        fd_ = std::move(fd);
        bytes_.clear();
        fds_ = 0;
    }
    void close() { fd_.reset(); }
    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] explicit operator bool() const { return bool(fd_); }

    /// Takes all that there is; closes the fds, of which no message of ours has two.
    void read() {
        std::array<std::byte, 65536> buffer;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 64)> control;
        while (fd_) {
            iovec part{buffer.data(), buffer.size()};
            msghdr header{};
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            header.msg_control = control.data();
            header.msg_controllen = control.size();
            const ssize_t size = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
            if (size <= 0) break;
            for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
                int fd;
                require(c->cmsg_len == CMSG_LEN(sizeof(fd)));
                std::memcpy(&fd, CMSG_DATA(c), sizeof(fd));
                ::close(fd);
                ++fds_;
            }
            bytes_.insert(bytes_.end(), buffer.begin(), buffer.begin() + size);
        }
    }
    /// Header and payload of the next whole message. `payload_size(header)`: bytes, within what
    /// the protocol allows.
    template <typename Header, typename PayloadSize>
    bool next(Header& header, std::vector<std::byte>& payload, PayloadSize payload_size) {
        if (bytes_.size() < sizeof(header)) return false;
        std::memcpy(&header, bytes_.data(), sizeof(header));
        const size_t size = sizeof(header) + payload_size(header);
        if (bytes_.size() < size) return false;
        const auto end = bytes_.begin() + static_cast<std::ptrdiff_t>(size);
        payload.assign(bytes_.begin() + sizeof(header), end);
        bytes_.erase(bytes_.begin(), end);
        return true;
    }
    /// How many came since the last call.
    [[nodiscard]] size_t take_fds() { return std::exchange(fds_, 0); }

  private:
    UniqueFd fd_;
    std::vector<std::byte> bytes_;
    size_t fds_ = 0;
};

}  // namespace swede::fuzz
