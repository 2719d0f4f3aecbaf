// SPDX-License-Identifier: Apache-2.0
#include "swede/device_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/unix_socket.h"

namespace swede {
namespace {

/// An option of the socket; -1 when the fd has none.
int socket_option(int fd, int option) {
    int value = -1;
    socklen_t length = sizeof(value);
    if (::getsockopt(fd, SOL_SOCKET, option, &value, &length) != 0) return -1;
    return value;
}

Result<void> check_kind(int fd, Transport transport, std::string_view where) {
    const auto refuse = [&](std::string_view what) {
        return fail(ErrorCode::kInvalidParameter, "{} is not possible: {}.", where, what);
    };
    if (::fcntl(fd, F_GETFD) < 0) return refuse("no file is open there");
    if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM)
        return refuse("it is no Unix stream socket");
    const bool listening = socket_option(fd, SO_ACCEPTCONN) == 1;
    const bool to_listen = transport == Transport::kVfioUser || transport == Transport::kLocal;
    if (to_listen && !listening)
        return refuse(fmt::format("{} takes a listening socket, this one does not listen",
                                  name_of(transport)));
    if (!to_listen && listening)
        return refuse(
            fmt::format("{} takes a connected socket, this one listens", name_of(transport)));
    sockaddr_storage peer{};
    socklen_t length = sizeof(peer);
    if (!listening && ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0)
        return refuse("the socket is not connected");
    return {};
}

}  // namespace

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
    struct stat status{};
    if (::lstat(path_.c_str(), &status) != 0) path_.clear();
    device_ = status.st_dev;
    inode_ = status.st_ino;
}

SocketFile::SocketFile(SocketFile&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
    if (this != &other) {
        remove();
        path_ = std::exchange(other.path_, {});
        device_ = other.device_;
        inode_ = other.inode_;
    }
    return *this;
}

SocketFile::~SocketFile() {
    remove();
}

void SocketFile::remove() {
    struct stat status{};
    if (!path_.empty() && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_)
        ::unlink(path_.c_str());
    path_.clear();
}

Result<DeviceSocket> open_device_socket(const DeviceOptions& options, UniqueFd passed) {
    DeviceSocket socket;
    if (!options.socket_path.empty()) {
        socket.fd = SWEDE_TRY(listen_unix(options.socket_path));
        socket.file = SocketFile(options.socket_path);
        socket.where = options.socket_path;
        return socket;
    }
    if (options.fd) {
        SWEDE_TRY(check_kind(*options.fd, options.transport, fmt::format("--fd {}", *options.fd)));
        socket.fd.reset(*options.fd);
        ::fcntl(*options.fd, F_SETFD, FD_CLOEXEC);
    } else {
        if (socket_option(passed.get(), SO_ACCEPTCONN) != 1 ||
            socket_option(passed.get(), SO_DOMAIN) != AF_UNIX ||
            socket_option(passed.get(), SO_TYPE) != SOCK_STREAM)
            return fail(ErrorCode::kInvalidParameter,
                        "The file that LISTEN_FDS passes is no listening Unix stream socket.");
        socket.fd = std::move(passed);
    }
    SWEDE_TRY(set_nonblocking(socket.fd.get()));
    socket.listening = socket_option(socket.fd.get(), SO_ACCEPTCONN) == 1;
    socket.where = fmt::format("file descriptor {}", socket.fd.get());
    return socket;
}

}  // namespace swede
