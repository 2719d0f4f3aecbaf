// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace swede {

/// What a peer's file is as memory: a memory file (memfd, shm_open()) or a dma-buf.
struct MemoryFile {
    uint64_t size = 0;  ///< bytes, as it is now
    bool is_dma_buf = false;
    bool writable = false;  ///< mmap() for writing is not refused
    /// A mapping of it cannot lose its pages: a dma-buf, or sealed against shrinking and not of
    /// huge pages. The seal lets its owner punch holes, which other memory fills with zeroes; a
    /// hole of huge pages is SIGBUS while the pool is empty.
    bool steady = false;
};

/// Nothing if `fd` is no memory, or cannot be read. Makes no call that could wait for who sent it:
/// none that asks the server of a file system (FUSE, NFS).
[[nodiscard]] std::optional<MemoryFile> examine_memory(int fd);

}  // namespace swede
