// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/fd.h"
#include "virtio_gpu/host_visible_window.h"

namespace swede::virtio_gpu {

/// The window as one sparse memfd that the VMM maps once (vfio-user: a BAR's fd is fixed): blobs
/// come to live in it. The VMM maps all of it, so the guest can write to every page, mapped or not:
/// ranges are emptied when they are given out and again when they come back, and who sets the
/// guest's limit of host bytes counts the whole size. Owned by the transport; device thread.
class StaticWindow final : public HostVisibleWindow {
  public:
    /// `size`: bytes, whole pages, not 0.
    [[nodiscard]] static Result<std::unique_ptr<StaticWindow>> create(uint64_t size);

    /// For the BAR: sealed against shrinking and growing. Borrowed.
    [[nodiscard]] int fd() const { return fd_.get(); }

    [[nodiscard]] bool is_static() const override { return true; }
    [[nodiscard]] uint64_t size() const override { return size_; }
    [[nodiscard]] uint64_t committed() const override { return size_; }
    [[nodiscard]] uint32_t max_mappings() const override;
    [[nodiscard]] Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t offset,
                                                                       uint64_t size) override;
    void map(uint64_t offset, rutabaga::SharedMemory memory, rutabaga::Completion<> done) override;
    void unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) override;
    void reset() override;

  private:
    StaticWindow(UniqueFd fd, uint64_t size) : fd_(std::move(fd)), size_(size) {}
    /// The range reads as zero afterwards, and holds no memory.
    [[nodiscard]] Result<void> punch(uint64_t offset, uint64_t size);

    UniqueFd fd_;
    uint64_t size_;  ///< bytes
};

}  // namespace swede::virtio_gpu
