// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/result.h"
#include "wire/cross_domain.h"

namespace swede::cross_domain {

/// How an image lies in memory that we allocate for the guest: linear, rows packed, planes one
/// after the other, whole pages. `blob_id` and `map_info` are left at 0. Guests that want bytes for
/// a wl_shm pool ask for R8 with one row.
[[nodiscard]] Result<wire::cross_domain::ImageRequirements> image_requirements(
    const wire::cross_domain::GetImageRequirements& image);

}  // namespace swede::cross_domain
