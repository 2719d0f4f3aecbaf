// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/static_window.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "base/mapping.h"

namespace swede::virtio_gpu {
namespace {

log::Module log_("virtio_gpu");

/// Linux aligns blobs in the window to pages only; the guest's own budget is the closer limit.
constexpr uint32_t kMaxMappings = 65536;

}  // namespace

Result<std::unique_ptr<StaticWindow>> StaticWindow::create(uint64_t size) {
    if (size == 0 || !is_page_aligned(size))
        return fail(ErrorCode::kInvalidParameter,
                    "A host-visible window of {} bytes is not whole pages.", size);
    UniqueFd fd = SWEDE_TRY(create_memfd("swede-window", size));
    return std::unique_ptr<StaticWindow>(new StaticWindow(std::move(fd), size));
}

uint32_t StaticWindow::max_mappings() const {
    return kMaxMappings;
}

Result<void> StaticWindow::punch(uint64_t offset, uint64_t size) {
    if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offset), static_cast<off_t>(size)) != 0)
        return fail_errno("Cannot empty a range of the host-visible window", errno);
    return {};
}

Result<std::optional<rutabaga::WindowRange>> StaticWindow::prepare(uint64_t offset, uint64_t size) {
    SWEDE_TRY(punch(offset, size));
    return rutabaga::WindowRange{fd_.get(), offset, size};
}

void StaticWindow::map(uint64_t offset, rutabaga::SharedMemory, rutabaga::Completion<> done) {
    done(fail(ErrorCode::kUnsupported, "The window at offset {} cannot show another file's memory.",
              offset));
}

void StaticWindow::unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) {
    done(punch(offset, size));
}

void StaticWindow::reset() {
    if (const Result<void> emptied = punch(0, size_); !emptied)
        log_.error("{}", emptied.error().message);
}

}  // namespace swede::virtio_gpu
