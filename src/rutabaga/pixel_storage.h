// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "base/backing.h"
#include "base/budget.h"
#include "base/mapping.h"
#include "base/result.h"
#include "rutabaga/frame.h"
#include "rutabaga/pixel_format.h"
#include "rutabaga/renderer.h"

namespace swede::rutabaga {

/// Host pixels of a 2D resource, 4 bytes each: rows without gaps that are zeroed at first (I4), or
/// memory that others have and change, too. Owned by the resource and by the frames that scan it
/// out, so it lives on after RESOURCE_UNREF until the last frame is dropped, and its budget charge
/// with it.
///
/// The device thread writes, any thread reads. A reader holds the lock for a piece of at most
/// kPieceBytes at a time and lets a waiting writer go first.
class PixelStorage {
  public:
    static constexpr uint64_t kPieceBytes = 256 << 10;

    /// Too many bytes for the budget or for 64 bits is kOutOfMemory (D5); a side of 0 or above
    /// kMaxDimension is kInvalidParameter.
    [[nodiscard]] static Result<std::shared_ptr<PixelStorage>> create(uint32_t width,
                                                                      uint32_t height,
                                                                      Budget& budget);
    /// Pixels from `memory.offset` on, rows `memory.stride` bytes apart. What does not lie in it,
    /// and a stride that is shorter than a row or makes pixels straddle, is kInvalidParameter.
    [[nodiscard]] static Result<std::shared_ptr<PixelStorage>> over(uint32_t width, uint32_t height,
                                                                    const SharedMemory& memory,
                                                                    Budget& budget);

    [[nodiscard]] uint32_t width() const { return width_; }    ///< px
    [[nodiscard]] uint32_t height() const { return height_; }  ///< px
    /// Bytes of a row, which is how far apart they are where there are no gaps.
    [[nodiscard]] uint64_t stride() const { return uint64_t{width_} * kBytesPerPixel; }

    /// Copies `rect` (inside) from guest memory, where its first pixel is at `offset` and its rows
    /// are `stride` bytes apart. kInvalidParameter if the pixels are others' and only for reading.
    [[nodiscard]] Result<void> copy_from(const Backing& backing, uint64_t offset, uint64_t stride,
                                         const Rect& rect);
    /// The other way.
    [[nodiscard]] Result<void> copy_to(const Backing& backing, uint64_t offset, uint64_t stride,
                                       const Rect& rect) const;
    /// Copies `rect` (inside) to rows `to_stride` bytes apart. Any thread.
    void read(const Rect& rect, std::byte* to, uint64_t to_stride) const;

  private:
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };

    PixelStorage(uint32_t width, uint32_t height, Budget::Charge charge)
        : width_(width), height_(height), pitch_(stride()), charge_(std::move(charge)) {}
    [[nodiscard]] std::byte* at(uint32_t x, uint32_t y) const {
        return pixels_ + y * pitch_ + uint64_t{x} * kBytesPerPixel;
    }
    [[nodiscard]] std::unique_lock<std::mutex> lock_for_writer() const;
    [[nodiscard]] std::unique_lock<std::mutex> lock_for_reader() const;

    const uint32_t width_;   ///< px
    const uint32_t height_;  ///< px
    uint64_t pitch_;         ///< bytes from row to row
    Access access_ = Access::kReadWrite;
    Budget::Charge charge_;
    Budget::Charge mapping_charge_;            ///< of memory of others
    Mapping mapping_;                          ///< of a large one, or of memory of others
    std::unique_ptr<std::byte[], Free> heap_;  ///< of a small one
    std::byte* pixels_ = nullptr;              ///< in one of the two
    mutable std::mutex turnstile_;  ///< passed on the way to mutex_; held by a writer that waits
    mutable std::mutex mutex_;      ///< guards what pixels_ points to
};

/// The pixels of `rect` (inside) of the storage, for SET_SCANOUT.
[[nodiscard]] std::shared_ptr<const Frame> make_pixel_frame(
    std::shared_ptr<const PixelStorage> storage, const Rect& rect, PixelFormat format);

}  // namespace swede::rutabaga
