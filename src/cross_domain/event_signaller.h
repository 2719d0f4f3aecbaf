// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/aio_abi.h>

#include <cstdint>

#include "base/result.h"

namespace swede::cross_domain {

/// Adds to the eventfds of a hostile peer. write() would wait on one whose counter the peer has
/// filled and whose O_NONBLOCK it has cleared: the flag belongs to the description that both have,
/// and no eventfd can be opened anew. What never waits is the kernel itself when it tells an
/// eventfd of asynchronous I/O that is done, so we let it tell of reads of nothing. One thread.
class EventSignaller {
  public:
    /// Who writes a larger number has this one added: what a reader wakes up for is that there is
    /// one, and each unit is a read.
    static constexpr uint64_t kMostAdded = 64;

    EventSignaller() = default;
    ~EventSignaller();
    EventSignaller(const EventSignaller&) = delete;
    EventSignaller& operator=(const EventSignaller&) = delete;

    /// A counter that is full stays so. Fails where the kernel has no asynchronous I/O.
    [[nodiscard]] Result<void> add(int event, uint64_t value);

  private:
    [[nodiscard]] Result<void> start();

    aio_context_t context_ = 0;  ///< made when first needed
};

}  // namespace swede::cross_domain
