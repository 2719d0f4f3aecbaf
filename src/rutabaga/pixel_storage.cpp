// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/pixel_storage.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace swede::rutabaga {
namespace {

/// Below this the heap serves: the kernel's limit on mappings (65530 by default) would otherwise be
/// in reach of a guest that makes many tiny resources.
constexpr uint64_t kMinMappedBytes = 128 << 10;

/// A part of a 2D resource's pixels. Any thread.
class PixelFrame final : public Frame {
  public:
    PixelFrame(std::shared_ptr<const PixelStorage> storage, const Rect& rect, PixelFormat format)
        : Frame(rect.width, rect.height, format),
          storage_(std::move(storage)),
          x_(rect.x),
          y_(rect.y) {}

    Result<void> read(const Rect& rect, std::byte* to, uint64_t to_stride) const override {
        SWEDE_TRY(check(rect));
        storage_->read({x_ + rect.x, y_ + rect.y, rect.width, rect.height}, to, to_stride);
        return {};
    }

  private:
    std::shared_ptr<const PixelStorage> storage_;
    uint32_t x_;  ///< px, of the frame's corner in the storage
    uint32_t y_;  ///< px
};

}  // namespace

Result<std::shared_ptr<PixelStorage>> PixelStorage::create(uint32_t width, uint32_t height,
                                                           Budget& budget) {
    if (width == 0 || height == 0)
        return fail(ErrorCode::kInvalidParameter, "A picture of {}x{} has no pixels.", width,
                    height);
    const auto pixels = checked_mul<uint64_t>(width, height);
    const auto bytes = pixels ? checked_mul<uint64_t>(*pixels, kBytesPerPixel) : std::nullopt;
    if (!bytes)
        return fail(ErrorCode::kOutOfMemory, "A picture of {}x{} does not fit any memory.", width,
                    height);
    Budget::Charge charge = SWEDE_TRY(budget.charge(BudgetKind::kHostBytes, *bytes));
    if (width > kMaxDimension || height > kMaxDimension)
        return fail(ErrorCode::kInvalidParameter,
                    "A picture of {}x{} is larger than {} pixels on a side.", width, height,
                    kMaxDimension);
    std::shared_ptr<PixelStorage> storage(new PixelStorage(width, height, std::move(charge)));
    if (*bytes < kMinMappedBytes) {
        storage->heap_.reset(static_cast<std::byte*>(std::calloc(*bytes, 1)));
        if (!storage->heap_)
            return fail(ErrorCode::kOutOfMemory, "No memory for a picture of {}x{}.", width,
                        height);
        storage->pixels_ = storage->heap_.get();
    } else {
        storage->mapping_ = SWEDE_TRY(Mapping::anonymous(*bytes));
        storage->pixels_ = storage->mapping_.data();
    }
    return storage;
}

Result<std::shared_ptr<PixelStorage>> PixelStorage::over(uint32_t width, uint32_t height,
                                                         const SharedMemory& memory,
                                                         Budget& budget) {
    if (width == 0 || height == 0 || width > kMaxDimension || height > kMaxDimension)
        return fail(ErrorCode::kInvalidParameter, "A picture of {}x{} is none, or too large.",
                    width, height);
    const uint64_t row = uint64_t{width} * kBytesPerPixel;
    const uint64_t bytes = uint64_t{memory.stride} * (height - 1) + row;
    if (memory.stride < row || memory.stride % kBytesPerPixel != 0 ||
        memory.offset % kBytesPerPixel != 0 || bytes > memory.size)
        return fail(ErrorCode::kInvalidParameter,
                    "{} rows of {} bytes, {} apart, at offset {} are not in memory of {} bytes.",
                    height, row, memory.stride, memory.offset, memory.size);
    const uint64_t page = Mapping::page_size_of(memory.fd.get());
    const uint64_t before = memory.offset % page;
    Budget::Charge charge = SWEDE_TRY(budget.charge(BudgetKind::kHostBytes, before + bytes));
    std::shared_ptr<PixelStorage> storage(new PixelStorage(width, height, std::move(charge)));
    storage->mapping_charge_ = SWEDE_TRY(budget.charge(BudgetKind::kMappings, 1));
    storage->mapping_ = SWEDE_TRY(
        Mapping::peer_file(memory.fd.get(), memory.offset - before, before + bytes, memory.access));
    storage->pixels_ = storage->mapping_.data() + before;
    storage->pitch_ = memory.stride;
    storage->access_ = memory.access;
    return storage;
}

std::unique_lock<std::mutex> PixelStorage::lock_for_writer() const {
    const std::scoped_lock waiting(turnstile_);
    return std::unique_lock(mutex_);
}

std::unique_lock<std::mutex> PixelStorage::lock_for_reader() const {
    // Without the turnstile a reader that goes from piece to piece could take the lock again and
    // again before a writer that waits has woken up.
    turnstile_.lock();
    turnstile_.unlock();
    return std::unique_lock(mutex_);
}

Result<void> PixelStorage::copy_from(const Backing& backing, uint64_t offset, uint64_t stride,
                                     const Rect& rect) {
    if (access_ == Access::kRead)
        return fail(ErrorCode::kInvalidParameter, "The picture's memory is only for reading.");
    const auto lock = lock_for_writer();
    return backing.read_rows(offset, stride, uint64_t{rect.width} * kBytesPerPixel, rect.height,
                             at(rect.x, rect.y), pitch_);
}

Result<void> PixelStorage::copy_to(const Backing& backing, uint64_t offset, uint64_t stride,
                                   const Rect& rect) const {
    const auto lock = lock_for_writer();
    return backing.write_rows(offset, stride, uint64_t{rect.width} * kBytesPerPixel, rect.height,
                              at(rect.x, rect.y), pitch_);
}

void PixelStorage::read(const Rect& rect, std::byte* to, uint64_t to_stride) const {
    const uint64_t row_bytes = uint64_t{rect.width} * kBytesPerPixel;
    const auto rows_at_once = static_cast<uint32_t>(std::max<uint64_t>(kPieceBytes / row_bytes, 1));
    for (uint32_t done = 0; done < rect.height;) {
        const uint32_t end = done + std::min(rows_at_once, rect.height - done);
        const auto lock = lock_for_reader();
        for (; done < end; ++done, to += to_stride)
            std::memcpy(to, at(rect.x, rect.y + done), row_bytes);
    }
}

std::shared_ptr<const Frame> make_pixel_frame(std::shared_ptr<const PixelStorage> storage,
                                              const Rect& rect, PixelFormat format) {
    return std::make_shared<PixelFrame>(std::move(storage), rect, format);
}

}  // namespace swede::rutabaga
