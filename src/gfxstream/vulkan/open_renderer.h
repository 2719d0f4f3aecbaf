// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/budget.h"
#include "base/result.h"
#include "rutabaga/renderer.h"

namespace swede::gfxstream {

/// Whose process a renderer is in.
enum class Process : uint8_t {
    kOwn,    ///< it may end, when the driver does not end its work
    kOthers  ///< a VMM's: what hangs in the driver is left behind, and a crash is the VMM's
};

/// Loads the Vulkan driver of `gpu` (see vulkan::Host::open()) and serves it within `limits`. The
/// driver may hang or crash: not for the device's process.
[[nodiscard]] Result<std::unique_ptr<rutabaga::Renderer>> open_renderer(
    std::string_view gpu, const Budget::Limits& limits,
    std::shared_ptr<rutabaga::CompletionSink> sink, Process process);

}  // namespace swede::gfxstream
