// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/result.h"
#include "rutabaga/renderer.h"

namespace swede::c_abi {

/// A socket of the host that the VMM lets guests talk to.
struct Channel {
    std::string path;
    uint32_t type = 0;  ///< RUTABAGA_CHANNEL_TYPE_*
};

/// What an instance asks of those who make its renderers.
struct RendererRequest {
    uint64_t capset_mask = 0;  ///< bit RUTABAGA_CAPSET_*
    std::vector<Channel> channels;
    std::string features;  ///< of rutabaga_builder; for the renderers that know it
    std::shared_ptr<Budget> budget;
    std::shared_ptr<rutabaga::CompletionSink> sink;
};

struct MadeRenderers {
    std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;  ///< in order of preference
    std::vector<std::string> complaints;  ///< why one is not there, as a sentence each
};

/// Makes what can be had of the request; offers no capset that is not in the mask.
using RendererFactory = std::function<MadeRenderers(const RendererRequest&)>;

/// The renderers of the library.
[[nodiscard]] MadeRenderers make_renderers(const RendererRequest& request);

}  // namespace swede::c_abi
