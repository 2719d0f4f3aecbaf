// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/drm_formats.h"

#include <algorithm>
#include <iterator>

#include "wire/virtio_gpu.h"

namespace swede::c_abi {
namespace {

constexpr uint32_t fourcc(const char (&name)[5]) {
    uint32_t code = 0;
    for (int i = 3; i >= 0; --i) code = code << 8 | static_cast<uint8_t>(name[i]);
    return code;
}

struct Row {
    uint32_t drm;
    uint32_t virtio;
};

/// DRM names the bits of a little-endian word from the top, virtio-gpu the bytes in memory.
constexpr Row kRows[] = {
    {fourcc("AR24"), wire::kFormatB8G8R8A8}, {fourcc("XR24"), wire::kFormatB8G8R8X8},
    {fourcc("BA24"), wire::kFormatA8R8G8B8}, {fourcc("BX24"), wire::kFormatX8R8G8B8},
    {fourcc("AB24"), wire::kFormatR8G8B8A8}, {fourcc("XB24"), wire::kFormatR8G8B8X8},
    {fourcc("RA24"), wire::kFormatA8B8G8R8}, {fourcc("RX24"), wire::kFormatX8B8G8R8},
};

}  // namespace

std::optional<uint32_t> virtio_format_of(uint32_t drm_fourcc) {
    const auto row = std::ranges::find(kRows, drm_fourcc, &Row::drm);
    if (row == std::end(kRows)) return std::nullopt;
    return row->virtio;
}

}  // namespace swede::c_abi
