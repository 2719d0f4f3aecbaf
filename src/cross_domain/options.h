// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/udmabuf.h"
#include "cross_domain/image_source.h"
#include "wire/cross_domain.h"

namespace swede::cross_domain {

/// A host socket that guests may reach.
struct ChannelPath {
    wire::cross_domain::ChannelType type = wire::cross_domain::ChannelType::kWayland;
    /// Empty, for Wayland alone: where libwayland would find it, looked for at each connection, so
    /// that a compositor may start later.
    std::string path;
};

struct Options {
    std::vector<ChannelPath> channels{};
    /// Of images that a compositor may import as dma-bufs; null: they are memory files. Used by the
    /// device thread of who has these options.
    std::shared_ptr<ImageSource> images = nullptr;
    /// At a door whose window is static, what makes dma-bufs of its pages; else null.
    std::shared_ptr<const Udmabuf> window = nullptr;
};

/// For a door whose window shows any file; `images` are looked for.
[[nodiscard]] Options with_images(Options options);
/// For one whose window is static: fails where udmabuf cannot be used.
[[nodiscard]] Result<Options> with_static_window(Options options);

}  // namespace swede::cross_domain
