// SPDX-License-Identifier: Apache-2.0
#include "sync_file.h"

#include <fcntl.h>
#include <linux/sync_file.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>

#include "registry.h"

namespace swede::shim::sync_file {
namespace {

constexpr char kDriver[] = "virtio_gpu";
constexpr char kTimeline[] = "swede";

/// Any stream socket of the family: other files do not have these ioctls, so nothing is taken away.
bool is_ours(int fd) {
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof(int);
    return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

bool is_reached(int fd) {
    pollfd look{fd, POLLIN, 0};
    return ::poll(&look, 1, 0) == 1;
}

Fd duplicate(int fd) {
    return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int merge(int fd, sync_merge_data& data) {
    if (data.flags != 0 || data.pad != 0) return -EINVAL;
    if (::fcntl(data.fd2, F_GETFD) < 0 || !is_ours(data.fd2)) return -ENOENT;
    Fd merged;
    if (is_reached(fd)) {
        merged = duplicate(data.fd2);
    } else if (is_reached(data.fd2)) {
        merged = duplicate(fd);
    } else {
        auto pair = create();
        if (!pair) return -pair.error();
        Fd first = duplicate(fd);
        Fd second = duplicate(data.fd2);
        if (first && second) {
            registry::close_after(std::move(first), std::move(second), std::move(pair->signal));
            merged = std::move(pair->fence);
        }
    }
    if (!merged) return -EMFILE;
    data.fence = merged.release();
    return 0;
}

int file_info(int fd, sync_file_info& info) {
    if (info.flags != 0 || info.pad != 0) return -EINVAL;
    const bool reached = is_reached(fd);
    const uint32_t room = info.num_fences;
    std::memset(info.name, 0, sizeof(info.name));
    std::memcpy(info.name, kTimeline, sizeof(kTimeline));
    info.status = reached ? 1 : 0;
    info.num_fences = 1;
    if (room == 0) return 0;
    sync_fence_info one{};
    std::memcpy(one.obj_name, kTimeline, sizeof(kTimeline));
    std::memcpy(one.driver_name, kDriver, sizeof(kDriver));
    one.status = info.status;
    if (reached) {
        // When it was reached is not known; it was before now.
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        one.timestamp_ns =
            static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
    }
    std::memcpy(reinterpret_cast<void*>(static_cast<uintptr_t>(info.sync_fence_info)), &one,
                sizeof(one));
    return 0;
}

}  // namespace

Outcome<Pair> create() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return std::unexpected(errno);
    return Pair{Fd(ends[0]), Fd(ends[1])};
}

int wait(int fence) {
    if (fence < 0 || ::fcntl(fence, F_GETFD) < 0) return -EINVAL;
    pollfd look{fence, POLLIN, 0};
    for (;;) {
        const int ready = ::poll(&look, 1, -1);
        if (ready == 1) return (look.revents & POLLNVAL) != 0 ? -EINVAL : 0;
        if (ready < 0 && errno != EAGAIN) return -errno;  // EINTR is the caller's, as in Linux
    }
}

std::optional<int> ioctl(int fd, unsigned long command, void* argument) {
    if (command != SYNC_IOC_MERGE && command != SYNC_IOC_FILE_INFO) return std::nullopt;
    if (!is_ours(fd)) return std::nullopt;
    if (argument == nullptr) return -EFAULT;
    if (command == SYNC_IOC_MERGE) return merge(fd, *static_cast<sync_merge_data*>(argument));
    return file_info(fd, *static_cast<sync_file_info*>(argument));
}

}  // namespace swede::shim::sync_file
