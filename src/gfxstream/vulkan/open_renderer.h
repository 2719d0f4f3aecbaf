// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string_view>

#include "base/budget.h"
#include "base/result.h"
#include "rutabaga/renderer.h"

namespace swede::gfxstream {

/// The renderer of a renderer process: loads the Vulkan driver of `gpu` (see vulkan::Host::open())
/// and serves it within `limits`. The driver may hang or crash: not for the device's process.
[[nodiscard]] Result<std::unique_ptr<rutabaga::Renderer>> open_renderer(
    std::string_view gpu, const Budget::Limits& limits,
    std::shared_ptr<rutabaga::CompletionSink> sink);

}  // namespace swede::gfxstream
