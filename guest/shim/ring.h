// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "fd.h"

namespace swede::shim {

/// The shim's own mapping of a gfxstream ring, with which it frees threads of the program that spin
/// in the ring when the renderer behind it is gone. Owned by its Node; the watcher's thread writes.
///
/// A thread that waits for room gets it. One that expects a reply gets one that is full of
/// VK_ERROR_DEVICE_LOST, as long as it reads. `in_error` would not do: Mesa 25.0.7's reader drops
/// what it reads then, and reads on. (Mesa 25.0.7,
/// src/gfxstream/guest/GoldfishAddressSpace/VirtioGpuAddressSpaceStream.cpp and
/// AddressSpaceStream.cpp.)
class Ring {
  public:
    /// `size` bytes at `offset` of the ring's memory; empty when it cannot be mapped or is no ring.
    Ring(int fd, uint64_t offset, uint64_t size);
    ~Ring();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;

    [[nodiscard]] explicit operator bool() const { return data_ != nullptr; }
    /// Tells whoever waits that nothing comes any more. To be repeated while he may wait again.
    void abort();

  private:
    std::byte* data_ = nullptr;
    size_t size_ = 0;
};

}  // namespace swede::shim
