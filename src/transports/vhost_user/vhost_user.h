// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/fd.h"
#include "base/result.h"
#include "transports/server.h"
#include "virtio_gpu/gpu_device.h"

namespace swede::vhost_user {

enum class Personality : uint8_t {
    kGeneric,  ///< QEMU's generic vhost-user device with virtio-id=16: everything
    kGpu,      ///< vhost-user-gpu-pci and vhost-user-vga: 2D, QEMU shows the picture
};

struct Options {
    Personality personality = Personality::kGeneric;
    uint64_t hostmem = uint64_t{8} << 30;  ///< bytes of the host-visible window; 0: none
};

/// Serves vhost-user front ends that connect to `listener`.
[[nodiscard]] Result<std::unique_ptr<TransportServer>> serve(UniqueFd listener,
                                                             const Options& options,
                                                             const virtio_gpu::DeviceParts& parts);
/// Serves the one front end at the other end of `socket` (QEMU's and libvirt's `--fd`); `ended`
/// runs on the loop's thread when it has gone.
[[nodiscard]] Result<std::unique_ptr<TransportServer>> serve_connected(
    UniqueFd socket, const Options& options, const virtio_gpu::DeviceParts& parts,
    std::function<void()> ended);

}  // namespace swede::vhost_user
