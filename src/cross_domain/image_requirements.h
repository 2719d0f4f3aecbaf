// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "wire/cross_domain.h"

namespace swede::cross_domain {

/// How an image lies in memory that we allocate for the guest: linear, rows of a multiple of
/// `alignment` bytes (a power of two), planes one after the other, whole pages. `blob_id` and
/// `map_info` are left at 0.
[[nodiscard]] Result<wire::cross_domain::ImageRequirements> image_requirements(
    const wire::cross_domain::GetImageRequirements& image, uint32_t alignment = 1);

/// Guests ask so for the bytes of a wl_shm pool (R8, one row), which no compositor takes as a
/// dma-buf.
[[nodiscard]] bool is_pool(const wire::cross_domain::GetImageRequirements& image);

}  // namespace swede::cross_domain
