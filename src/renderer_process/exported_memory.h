// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "rutabaga/renderer.h"

namespace swede::renderer_process {

/// Takes memory that a renderer process exported for a blob of `blob_size` bytes, if it cannot bite
/// (decision 14): a dma-buf or a memory file sealed against shrinking, page-aligned, inside the
/// file and at least as long as the blob. What comes back is cut to the blob's whole pages. A 3D
/// resource has a `blob_size` of 0: its renderer says how long it is.
[[nodiscard]] Result<rutabaga::SharedMemory> accept_exported(UniqueFd fd, uint64_t offset,
                                                             uint64_t size, uint64_t blob_size);

}  // namespace swede::renderer_process
