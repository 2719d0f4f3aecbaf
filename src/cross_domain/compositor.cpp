// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/compositor.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace swede::cross_domain {
namespace {

constexpr char kDefaultName[] = "wayland-0";

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value == nullptr ? "" : value;
}

}  // namespace

Result<std::string> find_compositor() {
    const std::string display = variable("WAYLAND_DISPLAY");
    const std::string name = display.empty() ? kDefaultName : display;
    if (name.starts_with('/')) return name;
    const std::string directory = variable("XDG_RUNTIME_DIR");
    if (!directory.starts_with('/'))
        return fail(ErrorCode::kUnsupported,
                    "The compositor \"{}\" is looked for in XDG_RUNTIME_DIR, which is {}.", name,
                    directory.empty() ? "not set" : "no absolute path");
    return directory + "/" + name;
}

Result<UniqueFd> connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        return fail(ErrorCode::kInvalidParameter, "{} is too long for a socket's path.", path);
    std::memcpy(address.sun_path, path.data(), path.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno("Cannot create a socket", errno);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return fail_errno("Cannot connect to " + path, errno);
    return fd;
}

}  // namespace swede::cross_domain
