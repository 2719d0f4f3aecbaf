// SPDX-License-Identifier: Apache-2.0
#include "base/event_fd.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

namespace swede {

Result<UniqueFd> create_event_fd() {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) return fail_errno("Cannot create an eventfd", errno);
    return fd;
}

void signal_event(int fd) {
    const uint64_t one = 1;
    while (::write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void drain_event(int fd) {
    uint64_t count = 0;
    while (::read(fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}

}  // namespace swede
