// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/renderers.h"

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "base/blocked_signals.h"
#include "cross_domain/renderer.h"
#include "gfxstream/vulkan/open_renderer.h"

namespace swede::c_abi {
namespace {

using RendererPointer = std::unique_ptr<rutabaga::Renderer>;

/// A renderer and the capsets for which it is asked. Null without an error: it has nothing to do.
struct Maker {
    uint64_t capset_mask;
    Result<std::unique_ptr<rutabaga::Renderer>> (*make)(const RendererRequest& request);
};

/// The VMM's channels and no other: guests reach no socket of the host that it did not name. QEMU
/// names none if its option wayland-socket-path is not set; contexts then allocate, and that is
/// all.
Result<RendererPointer> make_cross_domain(const RendererRequest& request) {
    using wire::cross_domain::ChannelType;
    cross_domain::Options options;
    for (const Channel& channel : request.channels) {
        const auto type = static_cast<ChannelType>(channel.type);
        if (type != ChannelType::kWayland && type != ChannelType::kPipewire) continue;
        if (channel.path.empty()) continue;  // to cross-domain: the compositor of the environment
        options.channels.push_back({type, channel.path});
    }
    const BlockedSignals blocked;  // GBM's drivers start threads, too
    return RendererPointer(SWEDE_TRY(cross_domain::CrossDomainRenderer::create(
        cross_domain::with_images(std::move(options)), request.sink, request.budget)));
}

/// In this process: the guest's memory comes as pointers, which no other one reaches, and a VMM may
/// have forbidden itself to start programs (QEMU's -sandbox spawn=deny ends it at the try).
Result<RendererPointer> make_gfxstream(const RendererRequest& request) {
    Budget::Limits limits{};
    for (size_t kind = 0; kind < limits.size(); ++kind)
        limits[kind] = request.budget->limit(static_cast<BudgetKind>(kind));
    const char* const gpu = std::getenv("SWEDE_GPU");
    const BlockedSignals blocked;  // drivers start threads when they are loaded
    auto renderer = gfxstream::open_renderer(gpu == nullptr ? "" : gpu, limits, request.sink,
                                             gfxstream::Process::kOthers);
    if (!renderer)
        return fail(renderer.error().code, "Guests get no Vulkan: {}", renderer.error().message);
    return renderer;
}

/// In order of preference: a renderer is one row.
constexpr auto kMakers = std::to_array<Maker>({
    {uint64_t{1} << RUTABAGA_CAPSET_GFXSTREAM_VULKAN, make_gfxstream},
    {uint64_t{1} << RUTABAGA_CAPSET_CROSS_DOMAIN, make_cross_domain},
});

}  // namespace

MadeRenderers make_renderers(const RendererRequest& request) {
    MadeRenderers made;
    for (const Maker& maker : kMakers) {
        if ((maker.capset_mask & request.capset_mask) == 0) continue;
        auto renderer = maker.make(request);
        if (!renderer)
            made.complaints.push_back(std::move(renderer).error().message);
        else if (*renderer)
            made.renderers.push_back(*std::move(renderer));
    }
    return made;
}

}  // namespace swede::c_abi
