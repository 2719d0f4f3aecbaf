// SPDX-License-Identifier: Apache-2.0
#include "base/udmabuf.h"

#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace swede {

Result<std::shared_ptr<const Udmabuf>> Udmabuf::open(const std::string& path) {
    UniqueFd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) return fail_errno(fmt::format("Cannot open {}", path), errno);
    return std::shared_ptr<const Udmabuf>(new Udmabuf(std::move(device)));
}

Result<UniqueFd> Udmabuf::make(int memory, uint64_t offset, uint64_t size) const {
    udmabuf_create request{};
    request.memfd = static_cast<uint32_t>(memory);
    request.flags = UDMABUF_FLAGS_CLOEXEC;
    request.offset = offset;
    request.size = size;
    UniqueFd fd(::ioctl(device_.get(), UDMABUF_CREATE, &request));
    if (!fd)
        return fail_errno(
            fmt::format("Cannot make a dma-buf of {:#x} bytes at {:#x} of a file", size, offset),
            errno);
    return fd;
}

}  // namespace swede
