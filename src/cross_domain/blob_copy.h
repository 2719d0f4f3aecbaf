// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "base/mapping.h"
#include "cross_domain/reactor.h"
#include "rutabaga/completion.h"

namespace swede::cross_domain {

struct FilePart {
    UniqueFd fd;
    uint64_t offset = 0;
};

/// Copies `size` bytes from one memory file to another on the reactor's thread, a piece at a time,
/// so that sockets are served in between. What `from` has not got is left as it is in `to`. Once
/// `cancelled`, nothing more is written, and it answers an error.
void copy_later(Reactor& reactor, FilePart from, FilePart to, uint64_t size,
                std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done);

/// Fills `memory` with zeroes in the same way, and answers when it is let go.
void clear_later(Reactor& reactor, Mapping memory,
                 std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done);

}  // namespace swede::cross_domain
