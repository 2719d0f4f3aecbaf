// SPDX-License-Identifier: Apache-2.0
#include "swede/cross_domain.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "cross_domain/renderer.h"

namespace swede {
namespace {

log::Module log_("device");

using Renderers = std::vector<std::unique_ptr<rutabaga::Renderer>>;

}  // namespace

virtio_gpu::RendererFactory with_cross_domain(virtio_gpu::RendererFactory others,
                                              const CrossDomainChoice& choice) {
    if (!choice.wanted) return others;
    cross_domain::Options options{{{.path = choice.wayland_socket_path}}};
    // With the first guest, and once: a driver of GBM's takes long to load. Guests of a process
    // have one thread, whose the images are.
    std::optional<Result<cross_domain::Options>> with_memory;
    return [others = std::move(others), options = std::move(options),
            with_memory = std::move(with_memory)](
               const virtio_gpu::RendererSetting& setting) mutable -> Result<Renderers> {
        Renderers renderers;
        if (others) renderers = SWEDE_TRY(others(setting));
        // It would be a thread that serves nobody.
        if (setting.only_capset && *setting.only_capset != wire::cross_domain::kCapsetId &&
            !renderers.empty())
            return renderers;
        if (!with_memory || !*with_memory)  // udmabuf may have come
            with_memory = setting.static_window
                              ? cross_domain::with_static_window(options)
                              : Result<cross_domain::Options>(cross_domain::with_images(options));
        if (!*with_memory) {
            log_.warn(
                "The guest gets no cross-domain: this door's window shows no memory of others of "
                "the host without udmabuf. {} --transport vhost-user needs none.",
                with_memory->error().message);
            return renderers;
        }
        renderers.push_back(SWEDE_TRY(cross_domain::CrossDomainRenderer::create(
            **with_memory, setting.sink, setting.budget)));
        return renderers;
    };
}

}  // namespace swede
