// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/budget.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "transports/server.h"
#include "virtio_gpu/options.h"

namespace swede::local_socket {

inline constexpr size_t kDefaultMaxClients = 64;

struct Options {
    /// For each connection; with fewer files where the process cannot have as many for all.
    Budget::Limits limits = Budget::default_limits();
    virtio_gpu::RendererFactory renderers;    ///< called once for each context
    size_t max_clients = kDefaultMaxClients;  ///< connections at once
};

/// Serves programs that were started with `libswede-shim.so` and connect to `listener`: many at
/// once, each connection with a device of its own. Asks the renderers once, here, what they offer,
/// and may block for that; afterwards nothing blocks the loop.
[[nodiscard]] Result<std::unique_ptr<TransportServer>> serve(EventLoop& loop, UniqueFd listener,
                                                             const Options& options);

/// Files that each of `clients` may hold in a process that may have `all`: three quarters are
/// theirs, so that a message's files can be received whatever programs hold.
[[nodiscard]] constexpr uint64_t files_for_each(uint64_t all, size_t clients) {
    return std::max<uint64_t>(all / 4 * 3 / std::max<size_t>(clients, 1), 16);
}

}  // namespace swede::local_socket
