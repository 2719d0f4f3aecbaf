// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

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
    std::vector<ChannelPath> channels;
};

}  // namespace swede::cross_domain
