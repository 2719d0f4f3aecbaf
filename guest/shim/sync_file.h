// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "connection.h"
#include "fd.h"

/// Fences as file descriptors, which the program takes for Linux's sync files. One is an end of a
/// socket pair that becomes readable, for good, when the other end is closed: by the device when
/// the fence is reached, or by the kernel when the device is gone.
namespace swede::shim::sync_file {

struct Pair {
    Fd fence;   ///< the program's
    Fd signal;  ///< the device's
};
[[nodiscard]] Outcome<Pair> create();

/// Waits until the fence is reached. 0 or a negative errno.
[[nodiscard]] int wait(int fence);

/// An ioctl of type '>' (SYNC_IOC_MERGE, SYNC_IOC_FILE_INFO): 0 or a negative errno; empty when the
/// file is none of ours.
[[nodiscard]] std::optional<int> ioctl(int fd, unsigned long command, void* argument);

}  // namespace swede::shim::sync_file
