// SPDX-License-Identifier: Apache-2.0
#include "base/memory_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace swede {
namespace {

bool is_of_type(int fd, long type) {
    struct statfs system{};
    return ::fstatfs(fd, &system) == 0 && system.f_type == type;
}

/// `status` is the file's. A file of a file system has a type, those that drivers make have none
/// (Linux, alloc_anon_inode()); so fstatfs() asks no server here.
bool is_dma_buf(int fd, const struct statx& status) {
    return (status.stx_mode & S_IFMT) == 0 && is_of_type(fd, DMA_BUF_MAGIC);
}

}  // namespace

std::optional<MemoryFile> examine_memory(int fd) {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_WRONLY) return std::nullopt;
    struct statx status{};
    if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &status) != 0)
        return std::nullopt;
    MemoryFile file;
    file.writable = (flags & O_ACCMODE) == O_RDWR;
    if (is_dma_buf(fd, status)) {
        // The way to ask for it: Linux, Documentation/driver-api/dma-buf.rst.
        const off_t end = ::lseek(fd, 0, SEEK_END);
        if (end <= 0) return std::nullopt;
        file.size = static_cast<uint64_t>(end);
        file.is_dma_buf = true;
        file.steady = true;
        return file;
    }
    // Memory files alone have seals, those of a tmpfs included. No server is asked for their types.
    const int seals = S_ISREG(status.stx_mode) ? ::fcntl(fd, F_GET_SEALS) : -1;
    if (seals < 0) return std::nullopt;
    file.size = status.stx_size;
    file.writable = file.writable && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) == 0;
    file.steady = (seals & F_SEAL_SHRINK) != 0 && !is_of_type(fd, HUGETLBFS_MAGIC);
    return file;
}

}  // namespace swede
