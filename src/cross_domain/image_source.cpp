// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/image_source.h"

#include <utility>

#include "base/log.h"
#include "base/mapping.h"
#include "cross_domain/gbm_images.h"
#include "cross_domain/host_blob.h"
#include "cross_domain/image_requirements.h"
#include "cross_domain/options.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

/// AMD's display engines ask for it, the most of those that compositors scan out with (Linux,
/// amdgpu_display_framebuffer_init(); Intel asks for 64).
constexpr uint32_t kStrideAlignment = 256;

}  // namespace

std::unique_ptr<ImageSource> open_image_source() {
    auto gbm = GbmImages::open();
    if (gbm) return *std::move(gbm);
    auto udmabuf = Udmabuf::open();
    if (udmabuf) return std::make_unique<UdmabufImages>(*std::move(udmabuf));
    log_.info("Guests' images are no dma-bufs: {} {}", gbm.error().message,
              udmabuf.error().message);
    return nullptr;
}

Options with_images(Options options) {
    options.images = open_image_source();
    return options;
}

Result<Options> with_static_window(Options options) {
    options.window = SWEDE_TRY(Udmabuf::open());
    options.images = std::make_shared<UdmabufImages>(options.window);
    return options;
}

Result<wire::cross_domain::ImageRequirements> UdmabufImages::requirements(
    const wire::cross_domain::GetImageRequirements& image) {
    auto requirements = SWEDE_TRY(image_requirements(image, kStrideAlignment));
    requirements.map_info = kOwnMapInfo;
    return requirements;
}

Result<ImageMemory> UdmabufImages::allocate(
    const wire::cross_domain::GetImageRequirements&,
    const wire::cross_domain::ImageRequirements& requirements) {
    ImageMemory memory;
    memory.mapped = SWEDE_TRY(create_memfd(kImageName, requirements.size));
    memory.sent = SWEDE_TRY(udmabuf_->make(memory.mapped.get(), 0, requirements.size));
    return memory;
}

}  // namespace swede::cross_domain
