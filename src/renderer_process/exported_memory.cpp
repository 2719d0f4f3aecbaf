// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/exported_memory.h"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/checked.h"

namespace swede::renderer_process {
namespace {

/// f_type of a dma-buf: Linux, include/uapi/linux/magic.h, DMA_BUF_MAGIC ("DMAB"); not in the
/// headers of all systems that we build on.
constexpr long kDmaBufMagic = 0x444d4142;

/// Bytes of the file, when its length cannot fall any more.
Result<uint64_t> steady_size(int fd) {
    struct statfs system{};
    if (::fstatfs(fd, &system) != 0) return fail_errno("Cannot examine exported memory", errno);
    if (static_cast<long>(system.f_type) != kDmaBufMagic) {
        const int seals = ::fcntl(fd, F_GET_SEALS);
        if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
            return fail(
                ErrorCode::kProtocol,
                "The renderer exports a file that is no dma-buf and can shrink (seals {:#x}).",
                seals < 0 ? 0 : seals);
    }
    // The way to ask a dma-buf (Linux, Documentation/driver-api/dma-buf.rst), and any memory file.
    const off_t end = ::lseek(fd, 0, SEEK_END);
    if (end < 0) return fail_errno("Cannot tell the size of exported memory", errno);
    return static_cast<uint64_t>(end);
}

}  // namespace

Result<rutabaga::SharedMemory> accept_exported(UniqueFd fd, uint64_t offset, uint64_t size,
                                               uint64_t blob_size) {
    const uint64_t length = SWEDE_TRY(steady_size(fd.get()));
    const auto wanted = page_align(blob_size == 0 ? size : blob_size);
    if (!wanted || *wanted == 0 || !is_page_aligned(offset) || size < *wanted ||
        !range_fits(offset, *wanted, length))
        return fail(ErrorCode::kProtocol,
                    "The renderer exports {:#x} bytes at offset {:#x} of a file of {:#x} bytes for "
                    "a blob of {:#x} bytes.",
                    size, offset, length, blob_size);
    return rutabaga::SharedMemory{std::move(fd), offset, *wanted};
}

}  // namespace swede::renderer_process
