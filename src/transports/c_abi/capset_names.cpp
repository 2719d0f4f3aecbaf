// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/capset_names.h"

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <algorithm>
#include <iterator>

namespace swede::c_abi {
namespace {

struct Row {
    std::string_view name;
    uint32_t id;
};

constexpr Row kRows[] = {
    {"virgl", RUTABAGA_CAPSET_VIRGL},
    {"virgl2", RUTABAGA_CAPSET_VIRGL2},
    {"gfxstream-vulkan", RUTABAGA_CAPSET_GFXSTREAM_VULKAN},
    {"venus", RUTABAGA_CAPSET_VENUS},
    {"cross-domain", RUTABAGA_CAPSET_CROSS_DOMAIN},
    {"drm", RUTABAGA_CAPSET_DRM},
    {"magma", RUTABAGA_CAPSET_GFXSTREAM_MAGMA},
    {"gfxstream-magma", RUTABAGA_CAPSET_GFXSTREAM_MAGMA},  // its name in 0.1.2 to 0.1.6
    {"gfxstream-gles", RUTABAGA_CAPSET_GFXSTREAM_GLES},
    {"gfxstream-composer", RUTABAGA_CAPSET_GFXSTREAM_COMPOSER},
};

}  // namespace

uint64_t capset_mask_of(std::string_view names) {
    uint64_t mask = 0;
    while (!names.empty()) {
        const size_t end = std::min(names.find(':'), names.size());
        const auto row = std::ranges::find(kRows, names.substr(0, end), &Row::name);
        if (row != std::end(kRows)) mask |= uint64_t{1} << row->id;
        names.remove_prefix(std::min(end + 1, names.size()));
    }
    return mask;
}

std::string_view capset_name(uint32_t id) {
    const auto row = std::ranges::find(kRows, id, &Row::id);
    return row == std::end(kRows) ? std::string_view() : row->name;
}

}  // namespace swede::c_abi
