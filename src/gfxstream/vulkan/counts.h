// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include "gfxstream/vulkan/generated/layouts.h"

namespace swede::gfxstream::vulkan {

class Decoder;

/// Looks at a structure, or at a command's arguments, once all of it is decoded. It may change it;
/// false: in.fail() was called.
using Check = bool (*)(Decoder& in, void* structure);

/// By LayoutId; null for most. What Vulkan demands of numbers in one structure or its chain and a
/// driver takes for granted: counts that must agree, indices into what another count counts, places
/// in arrays of the driver with a fixed size. What needs to know an object is for its handler.
using Checks = std::array<Check, kLayoutCount>;
[[nodiscard]] const Checks& count_checks();

}  // namespace swede::gfxstream::vulkan
