// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/qemu_quirks.h"

#include <algorithm>

#include "base/checked.h"
#include "rutabaga/pixel_format.h"

namespace swede::c_abi::qemu {
namespace {

// Words of the Gallium interface (src/gallium/include/pipe/p_defines.h of Mesa) and of virtio-gpu
// (VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP).
constexpr uint32_t kTexture2d = 2;
constexpr uint32_t kBindRenderTarget = 1 << 1;
constexpr uint32_t kFlagYIs0AtTop = 1 << 0;

constexpr size_t kNameBytes = 64;  // of the field in virtio_gpu_ctx_create

}  // namespace

bool is_2d_resource(const rutabaga_create_3d& request) {
    return request.target == kTexture2d && request.bind == kBindRenderTarget &&
           request.flags == kFlagYIs0AtTop && request.depth == 1 && request.array_size == 1 &&
           request.last_level == 0 && request.nr_samples == 0;
}

Place place_in_backing(const rutabaga_transfer& transfer, uint32_t width) {
    const uint64_t pitch =
        transfer.stride != 0 ? transfer.stride : uint64_t{width} * rutabaga::kBytesPerPixel;
    // Widths end at 16384 pixels; a stride that does not fit is refused where it is used.
    const auto stride = static_cast<uint32_t>(std::min<uint64_t>(pitch, UINT32_MAX));
    if (transfer.offset != 0) return {transfer.offset, stride};
    const auto offset =
        checked_add(transfer.y * uint64_t{stride}, uint64_t{transfer.x} * rutabaga::kBytesPerPixel);
    return {offset.value_or(UINT64_MAX), stride};
}

std::string context_name(const char* name, uint32_t length) {
    if (name == nullptr) return {};
    return {name, std::min<size_t>(length, kNameBytes)};
}

std::optional<uint32_t> ring_of(const rutabaga_fence& fence) {
    if ((fence.flags & RUTABAGA_FLAG_INFO_RING_IDX) == 0) return std::nullopt;
    return fence.ring_idx;
}

bool reads_into_nothing(const iovec& to) {
    return to.iov_base == nullptr;
}

}  // namespace swede::c_abi::qemu
