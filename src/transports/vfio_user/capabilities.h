// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace swede::vfio_user {

/// The part of VERSION's JSON that concerns us ("version data" of the protocol's VERSION message).
struct ClientCapabilities {
    uint64_t max_msg_fds = 1;  ///< that the client takes in one message
    bool write_multiple = false;
};

/// `text` is everything behind the version numbers: nothing, or JSON with its final zero byte. Size
/// and depth are bounded; an unknown name is ignored, a known one of a wrong type is an error.
[[nodiscard]] Result<ClientCapabilities> parse_capabilities(std::span<const std::byte> text);

/// Our own, as JSON without the zero byte.
[[nodiscard]] std::string capabilities_text(const ClientCapabilities& client);

}  // namespace swede::vfio_user
