// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/fd.h"
#include "base/memory_file.h"

namespace swede::cross_domain {

/// What a file that came from the host's peer is to a guest.
enum class FileKind : uint8_t {
    kMemory,     ///< a memory file or a dma-buf: a blob
    kWritePipe,  ///< the guest may write
    kEvent,      ///< an eventfd
    kOther,      ///< nothing a guest can use
};

struct ReceivedFile {
    UniqueFd fd;
    FileKind kind = FileKind::kOther;
    MemoryFile memory;  ///< of kMemory; what is not steady must be copied
    /// Of kWritePipe: the description is ours alone and does not wait. Else the peer has it too,
    /// and may clear its O_NONBLOCK at any time.
    bool own_description = false;
};

/// Looks at a hostile peer's file without a call that could wait: no stat that asks a server (FUSE,
/// NFS), no read. Closing what is of kind kOther may wait. A pipe is opened anew, so that it is
/// ours how writing to it waits.
[[nodiscard]] ReceivedFile look_at(UniqueFd fd);

}  // namespace swede::cross_domain
