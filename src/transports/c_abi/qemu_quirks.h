// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

/// What QEMU's virtio-gpu-rutabaga device (hw/display/virtio-gpu-rutabaga.c, 8.2 to 10.2) does in
/// its own way, and what the C interface makes of it. docs/c-library.md has the list; those that
/// are about how long a mapping lives are in mapped_blobs.h.
namespace swede::c_abi::qemu {

/// RESOURCE_CREATE_2D comes as create_3d with these words, which no driver gives for a 3D resource:
/// Mesa binds more than the render target. Such a resource is the core's, so that there is a
/// console whatever renderers there are.
[[nodiscard]] bool is_2d_resource(const rutabaga_create_3d& request);

/// Where the rows of a transfer lie in a backing.
struct Place {
    uint64_t offset;  ///< bytes, of the first row's first pixel
    uint32_t stride;  ///< bytes
    friend bool operator==(const Place&, const Place&) = default;
};
/// TRANSFER_TO_HOST_2D comes without the guest's offset and stride: then a rectangle lies in the
/// backing as it does in the resource, which is how Linux lays it out. An offset that is there
/// points at the rectangle, as virtio says. Of a resource `width` pixels wide.
[[nodiscard]] Place place_in_backing(const rutabaga_transfer& transfer, uint32_t width);

/// The guest's length of the name comes unchecked, with the address of a field of 64 bytes.
[[nodiscard]] std::string context_name(const char* name, uint32_t length);

/// The size of a submission comes unchecked: as much as QEMU 10.0.13 lets pass.
inline constexpr uint32_t kMaxCommandBytes = 4 << 20;

/// The flags of the guest's header come as they are, so only the bits that we know count. Empty:
/// the fence is on the global timeline.
[[nodiscard]] std::optional<uint32_t> ring_of(const rutabaga_fence& fence);

/// RESOURCE_FLUSH before SET_SCANOUT has no picture to read into.
[[nodiscard]] bool reads_into_nothing(const iovec& to);

}  // namespace swede::c_abi::qemu
