// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/backing.h"
#include "base/mapping.h"
#include "base/result.h"
#include "rutabaga/pixel_format.h"
#include "wire/virtio_gpu.h"

namespace swede::rutabaga {

using wire::Rect;

/// True when the rectangle is not empty and lies inside width x height, without overflow.
[[nodiscard]] bool rect_inside(const Rect& rect, uint32_t width, uint32_t height);
/// The common part; empty (width 0 or height 0) when there is none.
[[nodiscard]] Rect intersect(const Rect& a, const Rect& b);

/// The pixels behind a scanout, read by display sinks from their own threads while the guest draws.
/// The description never changes; pixels do, at any time (a torn read is repaired by the next
/// flush). Outlives its resource if a sink still holds it; then reads fail or show the last pixels.
class Frame {
  public:
    virtual ~Frame() = default;

    [[nodiscard]] uint32_t width() const { return width_; }    ///< px, of the scanout's rectangle
    [[nodiscard]] uint32_t height() const { return height_; }  ///< px
    [[nodiscard]] PixelFormat format() const { return format_; }

    /// Copies `rect` (inside the frame) as it is, 4 bytes a pixel, to rows `to_stride` bytes apart.
    /// Any thread. Locks out the device thread for short pieces only.
    [[nodiscard]] virtual Result<void> read(const Rect& rect, std::byte* to,
                                            uint64_t to_stride) const = 0;

  protected:
    Frame(uint32_t width, uint32_t height, PixelFormat format)
        : width_(width), height_(height), format_(format) {}
    /// kInvalidParameter when the rectangle is not inside the frame.
    [[nodiscard]] Result<void> check(const Rect& rect) const;

  private:
    uint32_t width_;
    uint32_t height_;
    PixelFormat format_;
};

inline constexpr uint32_t kMaxDimension =
    16384;  ///< px of a picture, each way, as the GPUs of today

/// How pixels lie in a blob: SET_SCANOUT_BLOB's words, checked against the blob's size.
struct BlobLayout {
    PixelFormat format = PixelFormat::kB8G8R8X8;
    uint64_t offset = 0;  ///< bytes, of pixel (0, 0) of the scanout's rectangle
    uint32_t stride = 0;  ///< bytes
    uint32_t width = 0;   ///< px, of the scanout's rectangle
    uint32_t height = 0;  ///< px
};

/// The picture is not empty, no side is longer than kMaxDimension, its rows do not overlap, and it
/// ends within `size` bytes.
[[nodiscard]] Result<void> check_layout(const BlobLayout& layout, uint64_t size);

/// Scans out straight from guest memory: no copy of the pixels is made. `layout` was checked
/// against the backing's size.
[[nodiscard]] std::shared_ptr<const Frame> make_backing_frame(std::shared_ptr<Backing> backing,
                                                              const BlobLayout& layout);
/// Scans out of a host blob's shared memory. `layout` was checked against the mapping's size.
[[nodiscard]] std::shared_ptr<const Frame> make_memory_frame(std::shared_ptr<const Mapping> memory,
                                                             const BlobLayout& layout);

}  // namespace swede::rutabaga
