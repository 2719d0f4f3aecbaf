// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "transports/vhost_user/session.h"

namespace swede::vhost_user {

/// What a message must look like before its handler sees it.
struct Session::Handler {
    Request request;
    uint32_t min_size;  ///< bytes of payload
    uint32_t max_size;
    uint32_t min_fds;
    uint32_t max_fds;
    std::optional<ProtocolFeature> needs;
    bool gpu_only;
    bool answers;  ///< the handler sends a reply of its own kind
    Result<void> (Session::*handle)();
};

}  // namespace swede::vhost_user
