// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <memory>
#include <span>

#include "base/backing.h"
#include "base/budget.h"
#include "base/result.h"

namespace swede::c_abi {

/// The list as the VMM gave it; empty for a null pointer. An error when it has entries and no
/// address.
[[nodiscard]] Result<std::span<const iovec>> entries_of(const rutabaga_iovecs* list);

/// A backing of memory of this process, which the VMM lends until the backing is revoked. Empty
/// entries are left out, neighbours become one segment. A list without a byte, one that the
/// budget's limit of segments cannot hold, and an entry that is no memory are errors.
///
/// All of its segments lie in one region, which is the whole address space: it has no file that
/// another process could map, and no id that GuestMemory gives.
[[nodiscard]] Result<std::shared_ptr<Backing>> make_backing(std::span<const iovec> entries,
                                                            const Budget& budget);

}  // namespace swede::c_abi
