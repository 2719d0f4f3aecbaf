// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace swede {

/// Makes dma-bufs of the pages of memory files (Linux, drivers/dma-buf/udmabuf.c), so that a file's
/// part becomes a file of its own that GPUs can import too. Thread-safe. Virtual for tests, which
/// run where there is no such device.
class Udmabuf {
  public:
    virtual ~Udmabuf() = default;
    static constexpr const char* kDevice = "/dev/udmabuf";

    /// Fails with a sentence that names the device and why it cannot be used.
    [[nodiscard]] static Result<std::shared_ptr<const Udmabuf>> open(
        const std::string& path = kDevice);

    /// `memory` is a memfd sealed against shrinking and not against writing; `offset` and `size`
    /// are whole pages inside it. The pages stay as they are for the dma-buf's life, whatever
    /// becomes of the file. The module refuses more than its parameter size_limit_mb (64).
    [[nodiscard]] virtual Result<UniqueFd> make(int memory, uint64_t offset, uint64_t size) const;

  protected:
    explicit Udmabuf(UniqueFd device) : device_(std::move(device)) {}

  private:
    UniqueFd device_;
};

}  // namespace swede
