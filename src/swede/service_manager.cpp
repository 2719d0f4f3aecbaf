// SPDX-License-Identifier: Apache-2.0
#include "swede/service_manager.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "base/log.h"
#include "swede/size.h"

namespace swede::service_manager {
namespace {

log::Module log_("device");

constexpr int kFirstPassedFd = 3;  // SD_LISTEN_FDS_START

/// The variable's value, which is gone afterwards.
std::string take_variable(const char* name) {
    const char* const value = std::getenv(name);
    std::string copy = value != nullptr ? value : "";
    ::unsetenv(name);
    return copy;
}

}  // namespace

Result<UniqueFd> take_passed_socket() {
    const std::string pid = take_variable("LISTEN_PID");
    const std::string count = take_variable("LISTEN_FDS");
    ::unsetenv("LISTEN_FDNAMES");
    if (parse_number(pid) != static_cast<uint64_t>(::getpid())) return UniqueFd();
    if (count != "1")
        return fail(ErrorCode::kInvalidParameter,
                    "LISTEN_FDS \"{}\" is not possible: the device takes 1 socket.",
                    log::escaped(count));
    ::fcntl(kFirstPassedFd, F_SETFD, FD_CLOEXEC);
    return UniqueFd(kFirstPassedFd);
}

void notify_ready() {
    const std::string path = take_variable("NOTIFY_SOCKET");
    if (path.empty()) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        log_.warn("NOTIFY_SOCKET is {} bytes long; nobody is told of the start.", path.size());
        return;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path.front() == '@') address.sun_path[0] = '\0';  // the abstract namespace
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    constexpr std::string_view kReady = "READY=1";
    const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket || ::sendto(socket.get(), kReady.data(), kReady.size(), MSG_NOSIGNAL,
                            reinterpret_cast<const sockaddr*>(&address), length) < 0)
        log_.warn("Cannot tell NOTIFY_SOCKET of the start: {}.", std::strerror(errno));
}

}  // namespace swede::service_manager
