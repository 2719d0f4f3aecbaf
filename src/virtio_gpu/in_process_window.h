// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>

#include "base/mapping.h"
#include "virtio_gpu/host_visible_window.h"

namespace swede::virtio_gpu {

/// The window for a VMM in the same process: it takes a pointer for each mapped blob and shows the
/// memory to the guest itself. Tests have such a VMM; the C interface has no offsets in a window
/// and maps blobs by itself (transports/c_abi/mapped_blobs.h). Device thread.
class InProcessWindow final : public HostVisibleWindow {
  public:
    /// `size`: of the VMM's region, bytes.
    explicit InProcessWindow(uint64_t size) : size_(size) {}

    /// The memory of the blob that is mapped at `offset`; null when there is none. Valid until it
    /// is unmapped.
    [[nodiscard]] const Mapping* mapping(uint64_t offset) const;

    [[nodiscard]] uint64_t size() const override { return size_; }
    [[nodiscard]] uint32_t max_mappings() const override;
    [[nodiscard]] Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t offset,
                                                                       uint64_t size) override;
    void map(uint64_t offset, rutabaga::SharedMemory memory, rutabaga::Completion<> done) override;
    void unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) override;
    void reset() override;

  private:
    uint64_t size_;                       ///< bytes
    std::map<uint64_t, Mapping> mapped_;  ///< by offset in the window
};

}  // namespace swede::virtio_gpu
