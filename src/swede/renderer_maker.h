// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "base/budget.h"
#include "base/result.h"
#include "swede/device_options.h"
#include "virtio_gpu/options.h"

namespace swede {

/// What a device's renderers draw with, for people. Called once they were asked what they offer.
using HostDescription = std::function<std::string()>;

/// Renderers of a device, if it has any.
struct OfferedRenderers {
    virtio_gpu::RendererFactory factory;  ///< empty: 2D only
    HostDescription describe;             ///< may be empty
};

/// Makes them for what the command line says. Called once, before there are threads.
using RendererMaker =
    std::function<Result<OfferedRenderers>(const GpuChoice& gpu, const Budget::Limits& limits)>;

}  // namespace swede
