// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/budget.h"
#include "base/event_loop.h"
#include "rutabaga/display_sink.h"
#include "rutabaga/renderer.h"
#include "virtio/guest_memory.h"

namespace swede::virtio_gpu {

struct OutputSize {
    uint32_t width = 1280;  ///< px
    uint32_t height = 800;  ///< px
    bool connected = true;  ///< an output may start unplugged
};

/// What a door lets through; feature bits are computed from it (decision 13).
struct DoorAbilities {
    bool blobs = true;     ///< RESOURCE_BLOB, and CONTEXT_INIT with a renderer
    bool virgl = true;     ///< VIRGL, when a renderer is registered
    bool display = false;  ///< the VMM shows the pictures itself and answers display info
};

/// What one guest's renderers are started in.
struct RendererSetting {
    EventLoop& loop;
    virtio::GuestMemory& memory;
    std::shared_ptr<rutabaga::CompletionSink> sink;  ///< they report to it
    std::shared_ptr<Budget> budget;                  ///< the guest's
    /// The VMM maps one file once and for all, so memory moves to where the guest sees it: who
    /// shares it with others of the host has to follow.
    bool static_window = false;
    /// The guest has one context, of this capset (0: it names none).
    std::optional<uint32_t> only_capset{};
};

/// Starts the renderers of one guest. Called once per client.
using RendererFactory = std::function<Result<std::vector<std::unique_ptr<rutabaga::Renderer>>>(
    const RendererSetting& setting)>;

struct Options {
    std::vector<OutputSize> outputs{OutputSize{}};  ///< 1 to 16; their count is num_scanouts
    Budget::Limits limits = Budget::default_limits();
    RendererFactory renderers;  ///< empty: 2D only
};

}  // namespace swede::virtio_gpu
