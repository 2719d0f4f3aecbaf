// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"

namespace swede::renderer_process {

/// How much a renderer process may ask of the kernel. Each kind is a column of the table in
/// sandbox.cpp; a renderer with graphics drivers gets a kind of its own there.
enum class Sandbox : uint8_t {
    /// Memory, threads, time, and the fds it holds or is sent. It opens, connects to and executes
    /// nothing, and makes no memory executable.
    kMemoryOnly,
    /// As much more as a graphics driver wants: it opens files that are there (where: file_rules.h)
    /// and talks to GPUs, and makes memory executable. It connects to and executes nothing.
    kGraphics,
};

/// Before any renderer exists: dies with its parent, dumps no core, gains no privilege by exec, and
/// has no more than kMaxRendererFds fds; with kGraphics, opens files where drivers have business.
[[nodiscard]] Result<void> prepare_process(Sandbox kind);

/// One fd for each region of guest RAM and each blob, with room.
inline constexpr uint64_t kMaxRendererFds = 65536;

/// Lets through what the kind's column lists, for every thread, for good; all else fails with
/// EPERM. Call it when the renderers exist and the event loop does: what they load is loaded by
/// then.
[[nodiscard]] Result<void> enter_sandbox(Sandbox kind);

}  // namespace swede::renderer_process
