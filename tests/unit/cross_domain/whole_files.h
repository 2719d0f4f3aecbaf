// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include "base/udmabuf.h"

namespace swede::cross_domain::testing {

/// Stands in for the kernel's udmabuf: gives out the whole memory file, and remembers which part
/// was meant.
class WholeFiles final : public Udmabuf {
  public:
    WholeFiles() : Udmabuf(UniqueFd()) {}
    [[nodiscard]] Result<UniqueFd> make(int memory, uint64_t offset, uint64_t size) const override {
        if (refuses) return fail(ErrorCode::kSystem, "No.");
        last_offset = offset;
        last_size = size;
        return UniqueFd(::fcntl(memory, F_DUPFD_CLOEXEC, 0));
    }
    mutable uint64_t last_offset = 0;
    mutable uint64_t last_size = 0;
    bool refuses = false;
};

}  // namespace swede::cross_domain::testing
