// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

namespace swede::c_abi {

/// The virtio-gpu format (VIRTIO_GPU_FORMAT_*) with the same bytes in memory as a fourcc of DRM
/// (drm_fourcc.h of Linux); empty where there is none.
[[nodiscard]] std::optional<uint32_t> virtio_format_of(uint32_t drm_fourcc);

}  // namespace swede::c_abi
