// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/read_only_file.h"

#include <fcntl.h>

#include <cerrno>

#include "base/memory_file.h"

namespace swede::local_socket {

Result<rutabaga::SharedMemory> limited_to_access(rutabaga::SharedMemory memory) {
    if (memory.access != Access::kRead) return memory;
    const auto file = examine_memory(memory.fd.get());
    if (!file) return fail(ErrorCode::kSystem, "Memory to read is in a file that is no memory.");
    if (!file->writable) return memory;
    // A copy of ours. It is memory, so opening it asks nobody and waits for nothing.
    const std::string path = fmt::format("/proc/self/fd/{}", memory.fd.get());
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("Cannot open memory for reading only", errno);
    memory.fd = std::move(fd);
    return memory;
}

}  // namespace swede::local_socket
