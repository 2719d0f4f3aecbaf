// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/fd.h"
#include "base/result.h"
#include "swede/device_options.h"
#include "virtio_gpu/options.h"

namespace swede {

/// `swede device`: serves a virtual GPU until SIGTERM or SIGINT, or until the one VMM of a
/// connected socket has gone. Then the files of its sockets are removed. `passed` is the service
/// manager's socket, if any. An Error of kind kInvalidParameter is one of the command line.
[[nodiscard]] Result<void> run_device(const DeviceOptions& options, UniqueFd passed,
                                      const virtio_gpu::RendererFactory& renderers);

}  // namespace swede
