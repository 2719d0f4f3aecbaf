// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"

namespace swede::renderer_process {

/// From now on, and for good, this thread and those it starts open files only where a graphics
/// driver has business: to read, the system's and the drivers' own; to write, the devices of GPUs.
/// Not the user's. By Landlock; a kernel without it (before 5.13, or not turned on) restricts
/// nothing, which is logged. Call it while there is one thread, after PR_SET_NO_NEW_PRIVS.
[[nodiscard]] Result<void> restrict_files();

}  // namespace swede::renderer_process
