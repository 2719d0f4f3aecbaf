// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/result.h"
#include "rutabaga/renderer.h"

namespace swede::local_socket {

/// Memory on its way to a program: with Access::kRead, in a file that cannot be mapped or written
/// for more. (Who opens the file anew by /proc gets what its owner's mode and seals let him.)
[[nodiscard]] Result<rutabaga::SharedMemory> limited_to_access(rutabaga::SharedMemory memory);

}  // namespace swede::local_socket
