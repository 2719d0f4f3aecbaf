// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "transports/c_abi/instance.h"

/// A snapshot as bytes of a file that is open (snapshot_format.h); which file that is, snapshot.h
/// knows. In a call of the instance.
namespace swede::c_abi {

/// kUnsupported, if the instance holds what a snapshot has no room for.
[[nodiscard]] Result<void> check_savable(Instance& instance);

/// From where the file is open, and to the disk.
[[nodiscard]] Result<void> write_snapshot(Instance& instance, int fd);

/// The next `size` bytes are a snapshot, which is hostile: limits hold as they do for a guest, and
/// of one that turns out bad nothing stays. kExists, if the instance has resources or contexts.
[[nodiscard]] Result<void> read_snapshot(Instance& instance, int fd, uint64_t size);

}  // namespace swede::c_abi
