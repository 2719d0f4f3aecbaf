// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "swede/device_options.h"
#include "virtio_gpu/options.h"

namespace swede {

/// The renderers that `others` makes (it may be empty), and, if wanted, for each guest one that
/// connects it to the host's sockets. At a door whose window is static that takes udmabuf: without
/// it, it is left out, and a line says why.
[[nodiscard]] virtio_gpu::RendererFactory with_cross_domain(virtio_gpu::RendererFactory others,
                                                            const CrossDomainChoice& choice);

}  // namespace swede
