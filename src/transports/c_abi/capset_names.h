// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

namespace swede::c_abi {

/// The mask for names between colons. Empty and unknown names are left out, as they are by
/// rutabaga_gfx (src/rutabaga_core.rs, calculate_capset_mask).
[[nodiscard]] uint64_t capset_mask_of(std::string_view names);

/// Empty for an id without a name.
[[nodiscard]] std::string_view capset_name(uint32_t id);

}  // namespace swede::c_abi
