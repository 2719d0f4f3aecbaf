// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace swede {

/// A non-blocking, close-on-exec eventfd at 0.
[[nodiscard]] Result<UniqueFd> create_event_fd();

/// Adds 1. Also right for a pipe's write end, which UML hands out as a vhost-user call fd: the
/// eight bytes of the count are written. Never blocks on a non-blocking fd; a full counter is as
/// good.
void signal_event(int fd);

/// Takes the count back to 0 without blocking.
void drain_event(int fd);

}  // namespace swede
