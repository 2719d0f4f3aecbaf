// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace swede::cross_domain {

/// Where the host's compositor listens, in libwayland's order (wl_display_connect(3)): the name in
/// WAYLAND_DISPLAY, else wayland-0; a name that is no absolute path lies in XDG_RUNTIME_DIR.
/// WAYLAND_SOCKET is not used: it is one connection, and each program of a guest needs its own.
/// kUnsupported, with what was looked at, when the environment names none.
[[nodiscard]] Result<std::string> find_compositor();

/// A new connection, non-blocking. Never a path that a guest chose (I12). Does not wait: a
/// compositor with a full backlog is refused.
[[nodiscard]] Result<UniqueFd> connect_to(const std::string& path);

}  // namespace swede::cross_domain
