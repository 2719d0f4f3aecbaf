// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "node.h"

/// The open nodes of the program. Any thread.
namespace swede::shim::registry {

/// Opens the render node: a new file descriptor, or -1 and errno. `flags` are open()'s.
[[nodiscard]] int open_node(unsigned minor, int flags);

/// The node behind a file descriptor; null for any other file. Looks at the file itself, so that
/// duplicates are found and a number that was closed and used again is not.
[[nodiscard]] std::shared_ptr<Node> find(int fd);

/// The minor number of the node that has this identity. Takes no lock: fstat() may be called from a
/// signal handler.
[[nodiscard]] std::optional<unsigned> minor_of(const Node::Identity& identity);
/// Whether any node is open; without one, no file needs to be looked at.
[[nodiscard]] bool any_open();

/// The watcher is to run from now on, and to look at its nodes anew.
void watch();
/// Closes `signal` once `first` and `second` are both readable (a merged fence).
void close_after(Fd first, Fd second, Fd signal);

}  // namespace swede::shim::registry
