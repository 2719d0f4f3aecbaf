// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <string>

#include "swede/device_options.h"
#include "swede/renderer_maker.h"

namespace swede {

/// The options of `swede renderer`, which only this program writes.
struct RendererArguments {
    std::optional<std::string> gpu;
    std::array<std::optional<std::string>, kLimitOptions.size()> limits;
};

/// The renderers of `swede`: a process for each guest, this program with the verb `renderer`, which
/// serves Vulkan on the chosen GPU. A machine without one gives none and a line that says so; it is
/// an Error only when the command line asks for one.
[[nodiscard]] Result<OfferedRenderers> make_gpu_renderers(const GpuChoice& choice,
                                                          const Budget::Limits& limits);

/// `swede renderer`: the whole life of such a process. The exit status; for a caller that is no
/// device, kExitUsage.
[[nodiscard]] int run_renderer(const RendererArguments& arguments);

}  // namespace swede
