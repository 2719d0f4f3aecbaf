// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/host_blob.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/checked.h"
#include "base/mapping.h"
#include "wire/cross_domain.h"
#include "wire/virtio_gpu.h"

namespace swede::cross_domain {
namespace {

/// rutabaga_gfx calls it so; it shows in /proc/PID/maps of VMM and compositor.
constexpr std::string_view kImageName = "rutabaga_gralloc";
/// Copied on the device thread: a keymap has 60 KB, a table of dma-buf formats 20 KB.
constexpr uint64_t kMaxCopy = 64 << 20;

/// As much of the file as is there; the rest stays zero.
Result<void> copy_file(int fd, std::span<std::byte> to) {
    off_t offset = 0;
    while (!to.empty()) {
        const ssize_t count = ::pread(fd, to.data(), to.size(), offset);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return fail_errno("Cannot read a file of the host", errno);
        if (count == 0) break;
        offset += count;
        to = to.subspan(static_cast<size_t>(count));
    }
    return {};
}

}  // namespace

Result<std::shared_ptr<HostBlob>> HostBlob::create(uint64_t size,
                                                   const std::shared_ptr<Budget>& budget) {
    const auto pages = page_align(size);
    if (!pages || *pages == 0)
        return fail(ErrorCode::kInvalidParameter, "A blob of {} bytes is not possible.", size);
    Budget::Charge bytes = SWEDE_TRY(budget->charge(BudgetKind::kHostBytes, *pages));
    Budget::Charge file = SWEDE_TRY(budget->charge(BudgetKind::kFiles, 1));
    std::shared_ptr<HostBlob> blob(
        new HostBlob(SWEDE_TRY(create_memfd(kImageName, *pages)), *pages, true));
    blob->bytes_ = std::move(bytes);
    blob->file_ = std::move(file);
    return blob;
}

Result<std::shared_ptr<HostBlob>> HostBlob::adopt(ReceivedFile file, uint64_t size,
                                                  const std::shared_ptr<Budget>& budget) {
    const auto available = page_align(file.memory.size);
    const auto pages = page_align(size);
    if (!available || !pages || *pages == 0 || *pages > *available)
        return fail(ErrorCode::kInvalidParameter,
                    "A blob of {} bytes is not in a file of the host of {}.", size,
                    file.memory.size);
    if (file.memory.steady) {
        std::shared_ptr<HostBlob> blob(
            new HostBlob(std::move(file.fd), *pages, file.memory.writable));
        blob->file_ = SWEDE_TRY(budget->charge(BudgetKind::kFiles, 1));
        return blob;
    }
    if (*pages > kMaxCopy)
        return fail(ErrorCode::kOutOfMemory,
                    "{} bytes of a file that may shrink are too many to copy ({}).", *pages,
                    kMaxCopy);
    auto blob = SWEDE_TRY(create(*pages, budget));
    blob->writable_ = false;  // what the guest wrote would reach nobody
    const Mapping mapping = SWEDE_TRY(Mapping::own_file(blob->fd(), 0, *pages, Access::kReadWrite));
    SWEDE_TRY(copy_file(file.fd.get(), mapping.bytes()));
    return blob;
}

uint32_t HostBlob::map_info() const {
    using namespace wire::cross_domain;
    return wire::kMapCacheCached | kMapAccessRead | (writable_ ? kMapAccessWrite : 0);
}

Result<rutabaga::SharedMemory> HostBlob::share() const {
    rutabaga::SharedMemory memory;
    memory.fd = fd_.duplicate();
    if (!memory.fd) return fail_errno("Cannot share a blob", errno);
    memory.size = size_;
    memory.access = writable_ ? Access::kReadWrite : Access::kRead;
    return memory;
}

}  // namespace swede::cross_domain
