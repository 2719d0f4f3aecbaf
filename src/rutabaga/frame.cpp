// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/frame.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace swede::rutabaga {
namespace {

/// Bytes that a reader takes under one lease: a revoke waits no longer than for these.
constexpr uint64_t kPieceBytes = 256 << 10;

uint64_t first_byte(const BlobLayout& layout, const Rect& rect) {
    return layout.offset + uint64_t{rect.y} * layout.stride + uint64_t{rect.x} * kBytesPerPixel;
}

/// Reads guest memory in place. Any thread.
class BackingFrame final : public Frame {
  public:
    BackingFrame(std::shared_ptr<Backing> backing, const BlobLayout& layout)
        : Frame(layout.width, layout.height, layout.format),
          backing_(std::move(backing)),
          layout_(layout) {}

    Result<void> read(const Rect& rect, std::byte* to, uint64_t to_stride) const override {
        SWEDE_TRY(check(rect));
        const uint64_t row_bytes = uint64_t{rect.width} * kBytesPerPixel;
        const auto rows_at_once =
            static_cast<uint32_t>(std::max<uint64_t>(kPieceBytes / row_bytes, 1));
        for (uint32_t done = 0; done < rect.height;) {
            const uint32_t rows = std::min(rows_at_once, rect.height - done);
            const uint64_t offset = first_byte(layout_, {rect.x, rect.y + done, 0, 0});
            SWEDE_TRY(backing_->read_rows(offset, layout_.stride, row_bytes, rows,
                                          to + done * to_stride, to_stride));
            done += rows;
        }
        return {};
    }

  private:
    std::shared_ptr<Backing> backing_;
    BlobLayout layout_;
};

/// Reads a renderer's shared memory in place. Any thread.
class MemoryFrame final : public Frame {
  public:
    MemoryFrame(std::shared_ptr<const Mapping> memory, const BlobLayout& layout)
        : Frame(layout.width, layout.height, layout.format),
          memory_(std::move(memory)),
          layout_(layout) {}

    Result<void> read(const Rect& rect, std::byte* to, uint64_t to_stride) const override {
        SWEDE_TRY(check(rect));
        const uint64_t row_bytes = uint64_t{rect.width} * kBytesPerPixel;
        const std::byte* from = memory_->data() + first_byte(layout_, rect);
        for (uint32_t row = 0; row < rect.height; ++row, to += to_stride, from += layout_.stride)
            std::memcpy(to, from, row_bytes);
        return {};
    }

  private:
    std::shared_ptr<const Mapping> memory_;
    BlobLayout layout_;
};

}  // namespace

Result<void> Frame::check(const Rect& rect) const {
    if (rect_inside(rect, width_, height_)) return {};
    return fail(ErrorCode::kInvalidParameter,
                "The rectangle {}x{}+{}+{} is not inside the frame ({}x{}).", rect.width,
                rect.height, rect.x, rect.y, width_, height_);
}

bool rect_inside(const Rect& rect, uint32_t width, uint32_t height) {
    return rect.width != 0 && rect.height != 0 && range_fits(rect.x, rect.width, width) &&
           range_fits(rect.y, rect.height, height);
}

Rect intersect(const Rect& a, const Rect& b) {
    const uint64_t left = std::max(a.x, b.x);
    const uint64_t top = std::max(a.y, b.y);
    const uint64_t right = std::min(uint64_t{a.x} + a.width, uint64_t{b.x} + b.width);
    const uint64_t bottom = std::min(uint64_t{a.y} + a.height, uint64_t{b.y} + b.height);
    if (right <= left || bottom <= top) return {};
    return {static_cast<uint32_t>(left), static_cast<uint32_t>(top),
            static_cast<uint32_t>(right - left), static_cast<uint32_t>(bottom - top)};
}

Result<void> check_layout(const BlobLayout& layout, uint64_t size) {
    const uint64_t row_bytes = uint64_t{layout.width} * kBytesPerPixel;
    if (layout.width == 0 || layout.height == 0)
        return fail(ErrorCode::kInvalidParameter, "A picture of {}x{} has no pixels.", layout.width,
                    layout.height);
    // A guest's blob may list the same memory many times, so its size is no bound.
    if (layout.width > kMaxDimension || layout.height > kMaxDimension)
        return fail(ErrorCode::kInvalidParameter, "A picture of {}x{} is larger than {} one way.",
                    layout.width, layout.height, kMaxDimension);
    if (layout.stride < row_bytes)
        return fail(ErrorCode::kInvalidParameter,
                    "The stride ({}) is shorter than a row of {} pixels ({} bytes).", layout.stride,
                    layout.width, row_bytes);
    // At most (2^32 - 1)^2 + 2^34: no overflow.
    const uint64_t bytes = uint64_t{layout.stride} * (layout.height - 1) + row_bytes;
    if (!range_fits(layout.offset, bytes, size))
        return fail(ErrorCode::kInvalidParameter,
                    "A picture of {}x{}, rows {} bytes apart, at offset {} is past the end ({}) of "
                    "the blob.",
                    layout.width, layout.height, layout.stride, layout.offset, size);
    return {};
}

std::shared_ptr<const Frame> make_backing_frame(std::shared_ptr<Backing> backing,
                                                const BlobLayout& layout) {
    return std::make_shared<BackingFrame>(std::move(backing), layout);
}

std::shared_ptr<const Frame> make_memory_frame(std::shared_ptr<const Mapping> memory,
                                               const BlobLayout& layout) {
    return std::make_shared<MemoryFrame>(std::move(memory), layout);
}

}  // namespace swede::rutabaga
