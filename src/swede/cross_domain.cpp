// SPDX-License-Identifier: Apache-2.0
#include "swede/cross_domain.h"

#include <utility>

#include "base/log.h"
#include "cross_domain/renderer.h"

namespace swede {
namespace {

log::Module log_("device");

using Renderers = std::vector<std::unique_ptr<rutabaga::Renderer>>;

}  // namespace

virtio_gpu::RendererFactory with_cross_domain(virtio_gpu::RendererFactory others,
                                              cross_domain::Options options) {
    return [others = std::move(others), options = std::move(options)](
               const virtio_gpu::RendererSetting& setting) -> Result<Renderers> {
        Renderers renderers;
        if (others) renderers = SWEDE_TRY(others(setting));
        if (setting.static_window) {
            log_.warn(
                "The guest gets no cross-domain: this door's window shows no memory of others of "
                "the host. --transport vhost-user can.");
            return renderers;
        }
        renderers.push_back(SWEDE_TRY(
            cross_domain::CrossDomainRenderer::create(options, setting.sink, setting.budget)));
        return renderers;
    };
}

}  // namespace swede
