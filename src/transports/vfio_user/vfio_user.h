// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "transports/server.h"
#include "virtio_gpu/gpu_device.h"

namespace swede::vfio_user {

struct Options {
    uint64_t hostmem = uint64_t{8}
                       << 30;  ///< bytes of the host-visible window, a power of two; 0: none
};

/// Serves virtio-gpu as a PCI function to vfio-user clients (QEMU's `vfio-user-pci`) that connect
/// to `listener`. `parts` and what it refers to outlive the server.
[[nodiscard]] Result<std::unique_ptr<TransportServer>> serve(UniqueFd listener,
                                                             const Options& options,
                                                             const virtio_gpu::DeviceParts& parts);

}  // namespace swede::vfio_user
