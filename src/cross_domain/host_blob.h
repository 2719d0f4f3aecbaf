// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "base/budget.h"
#include "base/fd.h"
#include "base/result.h"
#include "cross_domain/received_file.h"
#include "rutabaga/renderer.h"

namespace swede::cross_domain {

/// Memory that the guest maps and the host's peer knows: an image we allocated, or what the peer
/// sent. Shared by the renderer and the contexts that have it attached.
class HostBlob {
  public:
    /// Zeroed memory of `size` bytes, not 0, sealed against shrinking.
    [[nodiscard]] static Result<std::shared_ptr<HostBlob>> create(
        uint64_t size, const std::shared_ptr<Budget>& budget);
    /// The peer's memory itself when it is steady; else a copy of it, since a mapping of a file
    /// that its owner truncates ends who reads it. `size` is what the guest asks for, at most the
    /// file's in whole pages.
    [[nodiscard]] static Result<std::shared_ptr<HostBlob>> adopt(
        ReceivedFile file, uint64_t size, const std::shared_ptr<Budget>& budget);

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] uint32_t map_info() const;
    [[nodiscard]] Result<rutabaga::SharedMemory> share() const;

  private:
    HostBlob(UniqueFd fd, uint64_t size, bool writable)
        : fd_(std::move(fd)), size_(size), writable_(writable) {}

    UniqueFd fd_;
    uint64_t size_;  ///< bytes, whole pages
    bool writable_;
    Budget::Charge bytes_;
    Budget::Charge file_;
};

}  // namespace swede::cross_domain
