// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/renderers.h"

#include <array>

namespace swede::c_abi {
namespace {

/// A renderer and the capsets for which it is asked. Null without an error: it has nothing to do.
struct Maker {
    uint64_t capset_mask;
    Result<std::unique_ptr<rutabaga::Renderer>> (*make)(const RendererRequest& request);
};

/// In order of preference. None is built in yet: a renderer is one more row.
constexpr std::array<Maker, 0> kMakers{};

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
