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
    const int flags = ::fcntl(number, F_GETFL);
    if (flags < 0 || (flags & O_PATH) != 0) return file;
    const int access = flags & O_ACCMODE;

    struct statx status{};
    if (::statx(number, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &status) !=
        0)
        return file;
    if (S_ISFIFO(status.stx_mode)) {
        if (access != O_RDONLY) file.kind = FileKind::kWritePipe;
        return file;
    }
    if (S_ISREG(status.stx_mode)) {
        // Memory files alone have seals, those of a tmpfs included; others could make us wait.
        const int seals = ::fcntl(number, F_GET_SEALS);
        if (seals < 0 || access == O_WRONLY) return file;
        file.kind = FileKind::kMemory;
        file.size = status.stx_size;
        file.writable = access == O_RDWR && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) == 0;
        file.steady = (seals & F_SEAL_SHRINK) != 0;
        return file;
    }
    std::array<char, 64> buffer;
    const std::string_view link = link_of(number, buffer);
    if (link.starts_with("anon_inode:[eventfd]")) {
        file.kind = FileKind::kEvent;
    } else if (link.starts_with("/dmabuf:")) {
        const off_t end = ::lseek(number, 0, SEEK_END);
        if (end <= 0 || access == O_WRONLY) return file;
        file.kind = FileKind::kMemory;
        file.size = static_cast<uint64_t>(end);
        file.writable = access == O_RDWR;
        file.steady = true;
    }
    return file;
}

}  // namespace swede::cross_domain
