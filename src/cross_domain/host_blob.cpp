// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/host_blob.h"

#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/mapping.h"
#include "wire/cross_domain.h"

namespace swede::cross_domain {
namespace {

/// Of memory that cannot be mapped itself: keymaps have 60 KB, tables of dma-buf formats 20 KB, ICC
/// profiles a few MB.
constexpr uint64_t kMaxCopy = 64 << 20;

}  // namespace

Result<std::shared_ptr<HostBlob>> HostBlob::create(uint64_t size, Shown shown,
                                                   const std::shared_ptr<Budget>& budget) {
    const auto pages = page_align(size);
    if (!pages || *pages == 0)
        return fail(ErrorCode::kInvalidParameter, "A blob of {} bytes is not possible.", size);
    // In a window it has a second one, for the peer.
    Budget::Charge files =
        SWEDE_TRY(budget->charge(BudgetKind::kFiles, shown == Shown::kInWindow ? 2 : 1));
    std::shared_ptr<HostBlob> blob(
        new HostBlob(SWEDE_TRY(create_memfd(kImageName, *pages)), *pages, kOwnMapInfo, shown));
    blob->blank_ = shown == Shown::kInWindow;
    blob->files_ = std::move(files);
    return blob;
}

Result<std::shared_ptr<HostBlob>> HostBlob::of_image(ImageMemory image, uint64_t size,
                                                     uint32_t map_info,
                                                     const std::shared_ptr<Budget>& budget) {
    std::shared_ptr<HostBlob> blob(
        new HostBlob(std::move(image.mapped), size, map_info, Shown::kItself));
    blob->files_ = SWEDE_TRY(budget->charge(BudgetKind::kFiles, image.sent ? 2 : 1));
    blob->sent_ = std::move(image.sent);
    return blob;
}

Result<HostBlob::Adopted> HostBlob::adopt(ReceivedFile file, uint64_t size, Shown shown,
                                          const std::shared_ptr<Budget>& budget) {
    const auto available = page_align(file.memory.size);
    const auto pages = page_align(size);
    if (!available || !pages || *pages == 0 || *pages > *available)
        return fail(ErrorCode::kInvalidParameter,
                    "A blob of {} bytes is not in a file of the host of {}.", size,
                    file.memory.size);
    if (shown == Shown::kInWindow && file.memory.is_dma_buf)
        return fail(ErrorCode::kUnsupported, "A dma-buf of the host cannot be copied.");
    const uint32_t read_only = wire::kMapCacheCached | wire::cross_domain::kMapAccessRead;
    // A keymap ends inside its last page, and QEMU 11.1 refuses to map that: "backing store size
    // 0x1388 is too small for 'size' option 0x2000".
    const bool whole = *pages <= file.memory.size;
    // It maps what is for reading for writing all the same, which the kernel refuses of such a file
    // (11.1: RAM_READONLY_FD without RAM_READONLY). What is too large to copy is for other VMMs.
    const bool mapped = file.memory.steady && whole && (file.memory.writable || *pages > kMaxCopy);
    if (*pages > kMaxCopy && (shown == Shown::kInWindow || !mapped))
        return fail(ErrorCode::kOutOfMemory, "{} bytes are too many to copy ({}).", *pages,
                    kMaxCopy);
    if (mapped) {
        std::shared_ptr<HostBlob> blob(new HostBlob(std::move(file.fd), *pages,
                                                    file.memory.writable ? kOwnMapInfo : read_only,
                                                    Shown::kItself));
        blob->files_ = SWEDE_TRY(budget->charge(BudgetKind::kFiles, 1));
        return Adopted{std::move(blob), {}};
    }
    auto blob = SWEDE_TRY(create(*pages, Shown::kItself, budget));
    blob->map_info_ = read_only;  // what the guest wrote would reach nobody
    return Adopted{std::move(blob), std::move(file.fd)};
}

int HostBlob::sent_fd() const {
    if (sent_) return sent_.get();
    return shown_ == Shown::kInWindow ? -1 : file_.get();
}

Result<rutabaga::SharedMemory> HostBlob::share() const {
    rutabaga::SharedMemory memory;
    memory.fd = window_ ? window_.duplicate() : file_.duplicate();
    if (!memory.fd) return fail_errno("Cannot share a blob", errno);
    memory.offset = window_ ? window_offset_ : 0;
    memory.size = size_;
    memory.access =
        (map_info_ & wire::cross_domain::kMapAccessWrite) != 0 ? Access::kReadWrite : Access::kRead;
    return memory;
}

void HostBlob::enter_window(UniqueFd window, uint64_t offset, UniqueFd sent, Budget::Charge files) {
    window_ = std::move(window);
    window_files_ = std::move(files);
    window_offset_ = offset;
    if (shown_ == Shown::kInWindow) sent_ = std::move(sent);
}

void HostBlob::leave_window() {
    window_.reset();
    window_files_.release();
    if (shown_ == Shown::kInWindow) sent_.reset();
    blank_ = false;
}

}  // namespace swede::cross_domain
