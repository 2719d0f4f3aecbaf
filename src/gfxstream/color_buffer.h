// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/backing.h"
#include "base/result.h"
#include "gfxstream/host_memory.h"
#include "wire/virtio_gpu.h"

namespace swede::gfxstream {

/// An image that contexts share: what RESOURCE_CREATE_3D makes, and what a guest's swap chain and
/// dma-bufs are. Rows of pixels in shared memory, LINEAR, so that the guest's stride, the host's
/// image, scanout and another process agree. Owned by the renderer and by the VkDeviceMemory that
/// imported it.
struct ColorBuffer {
    wire::ResourceCreate3d request{};
    std::shared_ptr<HostMemory> memory;
    /// Bytes from row to row: first our guess from width and format, then what the driver's LINEAR
    /// image has once one is bound (vulkan/images.cpp sets it).
    std::atomic<uint32_t> stride = 0;
    /// Who made the memory has laid out its rows: images with others are not bound to it.
    bool has_fixed_stride = false;
};

/// What a colour buffer's memory needs.
struct ColorBufferLayout {
    uint64_t size = 0;    ///< bytes
    uint32_t stride = 0;  ///< bytes from row to row
};

/// Enough for what drivers make of LINEAR images with 4 bytes a pixel: for tests, and for formats
/// that the driver does not know.
[[nodiscard]] ColorBufferLayout guess_layout(uint32_t width, uint32_t height);

/// That of memory with `stride`, whose last row may end early. An error for one that is no stride
/// of a picture (not a buffer) that check_color_buffer() takes.
[[nodiscard]] Result<ColorBufferLayout> layout_with_stride(const wire::ResourceCreate3d& request,
                                                           uint32_t stride);

/// Refuses what is neither a flat picture nor a buffer, and one too large for any device.
[[nodiscard]] Result<void> check_color_buffer(const wire::ResourceCreate3d& request);
/// True for a buffer: its width counts bytes.
[[nodiscard]] bool is_buffer(const wire::ResourceCreate3d& request);

enum class TransferDirection : uint8_t { kToHost, kFromHost };

/// Copies a part of the picture between the guest's memory and ours.
[[nodiscard]] Result<void> transfer(const ColorBuffer& buffer, const Backing& backing,
                                    const wire::TransferHost3d& transfer,
                                    TransferDirection direction);

}  // namespace swede::gfxstream
