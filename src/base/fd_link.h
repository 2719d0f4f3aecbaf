// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

namespace swede {

/// "/proc/self/fd/N", which opens the file of a descriptor anew.
using FdPath = std::array<char, 32>;

[[nodiscard]] inline FdPath path_of(int fd) {
    FdPath path{};
    static_cast<void>(std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd));
    return path;
}

/// Where /proc says that a descriptor's file lies, cut to the buffer; of anonymous files their
/// kind, such as "anon_inode:[eventfd]" or "pipe:[1234]", which no path looks like. Asks no server.
[[nodiscard]] inline std::string_view link_of(int fd, std::array<char, 64>& buffer) {
    const ssize_t size = ::readlink(path_of(fd).data(), buffer.data(), buffer.size());
    return {buffer.data(), size > 0 ? static_cast<size_t>(size) : 0};
}

}  // namespace swede
