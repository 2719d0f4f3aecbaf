// SPDX-License-Identifier: Apache-2.0
// ioctl and mmap: those on the render node, on fences and on shared buffers.
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <optional>

#include "interpose.h"
#include "libc.h"
#include "registry.h"
#include "sync_file.h"

namespace swede::shim {
namespace {

constexpr unsigned kDrmType = 'd';
constexpr unsigned kSyncFileType = '>';
/// DMA_BUF_IOCTL_SYNC: _IOW('b', 0, u64) of linux/dma-buf.h.
constexpr unsigned long kDmaBufSync = _IOC(_IOC_WRITE, 'b', 0, 8);

/// An ioctl is no cancellation point, and a thread that vanishes in the middle would keep locks.
class NoCancel {
  public:
    NoCancel() { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    ~NoCancel() { ::pthread_setcancelstate(before_, nullptr); }
    NoCancel(const NoCancel&) = delete;
    NoCancel& operator=(const NoCancel&) = delete;

  private:
    int before_ = 0;
};

int result_of(int outcome) {
    if (outcome >= 0) return outcome;
    errno = -outcome;
    return -1;
}

std::optional<int> ours(int fd, unsigned long command, void* argument) {
    if (_IOC_TYPE(command) == kDrmType) {
        const auto node = registry::find(fd);
        if (!node) return std::nullopt;
        const NoCancel guard;
        return node->ioctl(command, argument);
    }
    if (_IOC_TYPE(command) == kSyncFileType) return sync_file::ioctl(fd, command, argument);
    // Memory of the device is coherent, so there is nothing to do for whoever means to write it.
    if (command == kDmaBufSync && ::fcntl(fd, F_GET_SEALS) >= 0) return 0;
    return std::nullopt;
}

void* map(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && (flags & MAP_ANONYMOUS) == 0 && registry::any_open())
        if (const auto node = registry::find(fd)) {
            const NoCancel guard;
            const auto mapped =
                node->map(address, length, protection, flags, static_cast<uint64_t>(offset));
            if (mapped) return *mapped;
            errno = mapped.error();
            return MAP_FAILED;
        }
    return libc().mmap(address, length, protection, flags, fd, offset);
}

}  // namespace
}  // namespace swede::shim

using namespace swede::shim;  // NOLINT: what follows has libc's names

SWEDE_SHIM_FUNCTION(int, ioctl, (int fd, unsigned long command, ...)) {
    va_list values;
    va_start(values, command);
    void* const argument = va_arg(values, void*);
    va_end(values);
    // glibc passes an int on as it came; only the low half counts to the kernel.
    const auto outcome = ours(fd, static_cast<uint32_t>(command), argument);
    return outcome ? result_of(*outcome) : libc().ioctl(fd, command, argument);
}

SWEDE_SHIM_FUNCTION(void*, mmap,
                    (void* address, size_t length, int protection, int flags, int fd,
                     off_t offset)) {
    return map(address, length, protection, flags, fd, offset);
}
SWEDE_SHIM_FUNCTION(void*, mmap64,
                    (void* address, size_t length, int protection, int flags, int fd,
                     off_t offset)) {
    return map(address, length, protection, flags, fd, offset);
}
