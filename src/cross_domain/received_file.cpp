// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/received_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <string_view>
#include <utility>

#include "base/fd_link.h"

namespace swede::cross_domain {
namespace {

void look_at_pipe(ReceivedFile& file) {
    file.kind = FileKind::kWritePipe;
    // One with a name lies in a file system, whose server may be asked who may open it.
    std::array<char, 64> buffer;
    if (!link_of(file.fd.get(), buffer).starts_with("pipe:[")) return;
    UniqueFd own(::open(path_of(file.fd.get()).data(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (!own) return;  // another user's
    file.fd = std::move(own);
    file.own_description = true;
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
        if ((flags & O_ACCMODE) != O_RDONLY) look_at_pipe(file);
        return file;
    }
    std::array<char, 64> buffer;
    if (link_of(number, buffer).starts_with("anon_inode:[eventfd]")) file.kind = FileKind::kEvent;
    return file;
}

}  // namespace swede::cross_domain
