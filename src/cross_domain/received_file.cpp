// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/received_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string_view>

namespace swede::cross_domain {
namespace {

/// Where /proc says that the file lies; for anonymous files their kind.
std::string_view link_of(int fd, std::array<char, 64>& buffer) {
    std::array<char, 32> path{};
    fmt::format_to_n(path.data(), path.size() - 1, "/proc/self/fd/{}", fd);
    const ssize_t size = ::readlink(path.data(), buffer.data(), buffer.size());
    return {buffer.data(), size > 0 ? static_cast<size_t>(size) : 0};
}

}  // namespace

ReceivedFile look_at(UniqueFd fd) {
    ReceivedFile file;
    file.fd = std::move(fd);
    const int number = file.fd.get();
    if (const auto memory = examine_memory(number)) {
        file.kind = FileKind::kMemory;
        file.memory = *memory;
        return file;
    }
    const int flags = ::fcntl(number, F_GETFL);
    struct statx status{};
    if (flags < 0 || (flags & O_PATH) != 0 ||
        ::statx(number, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status) != 0)
        return file;
    if (S_ISFIFO(status.stx_mode)) {
        if ((flags & O_ACCMODE) != O_RDONLY) file.kind = FileKind::kWritePipe;
        return file;
    }
    std::array<char, 64> buffer;
    if (link_of(number, buffer).starts_with("anon_inode:[eventfd]")) file.kind = FileKind::kEvent;
    return file;
}

}  // namespace swede::cross_domain
