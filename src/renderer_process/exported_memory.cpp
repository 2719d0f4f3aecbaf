// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/exported_memory.h"

#include "base/checked.h"
#include "base/memory_file.h"

namespace swede::renderer_process {

Result<rutabaga::SharedMemory> accept_exported(UniqueFd fd, uint64_t offset, uint64_t size,
                                               uint64_t blob_size) {
    const auto file = examine_memory(fd.get());
    if (!file || !file->steady)
        return fail(ErrorCode::kProtocol,
                    "The renderer exports a file that is no dma-buf and could lose its pages.");
    const auto wanted = page_align(blob_size == 0 ? size : blob_size);
    if (!wanted || *wanted == 0 || !is_page_aligned(offset) || size < *wanted ||
        !range_fits(offset, *wanted, file->size))
        return fail(ErrorCode::kProtocol,
                    "The renderer exports {:#x} bytes at offset {:#x} of a file of {:#x} bytes for "
                    "a blob of {:#x} bytes.",
                    size, offset, file->size, blob_size);
    return rutabaga::SharedMemory{std::move(fd), offset, *wanted};
}

}  // namespace swede::renderer_process
