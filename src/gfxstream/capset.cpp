// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/capset.h"

#include <array>

#include "base/bytes.h"
#include "base/checked.h"
#include "gfxstream/ring_layout.h"

namespace swede::gfxstream {
namespace {

/// struct vulkanCapset (Mesa 26.0.3, src/virtio/virtio-gpu/virtgpu_gfxstream_protocol.h). A guest
/// of 25.0.7 takes its first 104 bytes.
struct VulkanCapset {
    uint32_t protocol_version = 1;  ///< above 0: packets have numbers
    uint32_t ring_size = ring_layout::kRingsSize;
    uint32_t buffer_size = ring_layout::kBufferSize;
    uint32_t color_buffer_memory_index = 0;
    /// Memory becomes a blob when it is mapped. With 0, 25.0.7 packs small allocations past the end
    /// of the block that it makes for them.
    uint32_t deferred_mapping = 1;
    uint32_t blob_alignment = kPageSize;
    uint32_t no_render_control_encoder = 1;  ///< 0: the guest finds no device
    uint32_t always_blob = 0;
    /// Its test in the guest, parameter 9 of the kernel, means something else in newer kernels.
    uint32_t external_sync = 0;
    std::array<uint32_t, 16> virgl_supported_formats{};
    uint32_t batched_descriptor_set_update = 0;
    uint32_t has_trace_async_command = 0;
    uint32_t has_set_metadata_command = 0;
};
static_assert(sizeof(VulkanCapset) == 112);

}  // namespace

rutabaga::Capset make_capset(uint32_t color_buffer_index) {
    VulkanCapset capset;
    capset.color_buffer_memory_index = color_buffer_index;
    const auto bytes = bytes_of(capset);
    return {kCapsetId, 0, {bytes.begin(), bytes.end()}};
}

}  // namespace swede::gfxstream
