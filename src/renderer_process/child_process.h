// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace swede::renderer_process {

/// A started renderer process as its parent holds it. Neither fd survives an exec.
struct ChildProcess {
    UniqueFd socket;  ///< our end, non-blocking
    UniqueFd pidfd;   ///< readable once it has ended; empty for a peer that is no process (tests)
    pid_t pid = 0;
};

/// Where a started process finds its end of the socket.
inline constexpr int kRendererSocketFd = 3;

/// Starts `program` with `arguments` (without the program's own name). It holds stderr and its end
/// of the socket, and no other fd of ours. Returns when the new program runs, a few milliseconds
/// later; it does not wait for any answer of it.
///
/// The child ends with the *thread* that calls this (PR_SET_PDEATHSIG), so call it on the device
/// thread.
[[nodiscard]] Result<ChildProcess> spawn(const std::string& program,
                                         const std::vector<std::string>& arguments);

/// SIGKILL, by pidfd: never another process that got the number. No error if it has ended.
void kill_process(const ChildProcess& child);

/// Takes the exit status, so that no zombie is left, and tells it ("exit status 1", "signal 6").
/// Empty while the process runs; never waits.
[[nodiscard]] std::optional<std::string> reap(const ChildProcess& child);

/// As reap(), but waits for the end at most `limit`.
[[nodiscard]] std::optional<std::string> reap_within(const ChildProcess& child,
                                                     std::chrono::milliseconds limit);

}  // namespace swede::renderer_process
