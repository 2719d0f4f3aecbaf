// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "rutabaga/completion.h"
#include "rutabaga/renderer.h"

namespace swede::virtio_gpu {

/// The host-visible memory region (virtio 1.3, 5.7.6.1) as a transport provides it: decision 9's
/// three kinds. Owned by the transport, used by BlobMapper on the device thread. The mapper has
/// checked ranges: page-aligned, inside the window, no overlap with one that is mapped or still
/// being unmapped.
class HostVisibleWindow {
  public:
    virtual ~HostVisibleWindow() = default;

    [[nodiscard]] virtual uint64_t size() const = 0;  ///< bytes; 0: the door has no window
    /// True for one that gives ranges in prepare(); the others map files.
    [[nodiscard]] virtual bool is_static() const { return false; }
    /// Bytes of host memory that the guest can fill whatever is mapped. They were granted with the
    /// window: the device adds them to the guest's limit of host bytes and charges them.
    [[nodiscard]] virtual uint64_t committed() const { return 0; }
    /// Blobs that may be mapped at once; more is OUT_OF_MEMORY.
    [[nodiscard]] virtual uint32_t max_mappings() const = 0;

    /// A static window gives the range, made to read as zero, where the renderer shall place the
    /// blob; the others give nothing and take the exported memory in map().
    [[nodiscard]] virtual Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t offset,
                                                                               uint64_t size) = 0;
    /// Shows the memory to the guest at `offset`. Not called on a static window.
    virtual void map(uint64_t offset, rutabaga::SharedMemory memory,
                     rutabaga::Completion<> done) = 0;
    /// After `done` the guest sees nothing of the old memory in the range, and the range is free.
    virtual void unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) = 0;
    /// Device reset: all ranges at once.
    virtual void reset() = 0;
};

}  // namespace swede::virtio_gpu
