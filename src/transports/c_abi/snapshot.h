// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "transports/c_abi/instance.h"

namespace swede::c_abi {

/// Writes what the core holds, 2D resources with their pixels and guest-memory blobs without their
/// memory, into the folder. Contexts and memory of renderers are kUnsupported, a snapshot that is
/// there kExists; nothing is left of a write that failed. In a call of the instance, on the VMM's
/// time: it writes to a disk.
[[nodiscard]] Result<void> save_snapshot(Instance& instance, const char* folder);

/// Into an instance that has no resources and no contexts, else kExists. What it reads is hostile:
/// limits hold as they do for a guest, and of a file that turns out bad nothing stays.
[[nodiscard]] Result<void> load_snapshot(Instance& instance, const char* folder);

}  // namespace swede::c_abi
