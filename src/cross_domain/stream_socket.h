// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace swede::cross_domain {

/// Sends what the socket takes now, without a signal if nobody reads. How many bytes: 0 when it is
/// full. The fds (at most 28, borrowed) go with the first byte.
[[nodiscard]] Result<size_t> send_some(int socket, std::span<const std::byte> bytes,
                                       std::span<const int> fds);

/// Receives what is there now: empty when nothing is, 0 at the end of the stream. Fds that come
/// with the bytes are appended; an fd that the kernel had to drop is an error.
[[nodiscard]] Result<std::optional<size_t>> receive_some(int socket, std::span<std::byte> to,
                                                         std::vector<UniqueFd>& fds);

}  // namespace swede::cross_domain
