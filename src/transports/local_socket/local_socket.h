// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
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
    Budget::Limits limits = Budget::default_limits();  ///< for each connection
    virtio_gpu::RendererFactory renderers;             ///< called once for each context
    size_t max_clients = kDefaultMaxClients;           ///< connections at once
};

/// Serves programs that were started with `libswede-shim.so` and connect to `listener`: many at
/// once, each connection with a device of its own. Asks the renderers once, here, what they offer,
/// and may block for that; afterwards nothing blocks the loop.
[[nodiscard]] Result<std::unique_ptr<TransportServer>> serve(EventLoop& loop, UniqueFd listener,
                                                             const Options& options);

}  // namespace swede::local_socket
