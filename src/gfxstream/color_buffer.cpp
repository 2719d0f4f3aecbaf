// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/color_buffer.h"

#include "base/checked.h"

namespace swede::gfxstream {
namespace {

// Gallium's texture targets (Mesa 25.0.7, src/gallium/include/pipe/p_defines.h).
constexpr uint32_t kTargetBuffer = 0;
constexpr uint32_t kTargetTexture2d = 2;

constexpr uint32_t kMaxExtent = 32768;  ///< px; no device has more
constexpr uint32_t kBytesPerPixel = 4;  ///< of all formats that guests share pictures in

}  // namespace

bool is_buffer(const wire::ResourceCreate3d& request) {
    return request.target == kTargetBuffer;
}

ColorBufferLayout guess_layout(uint32_t width, uint32_t height) {
    const uint64_t stride = (uint64_t{width} * kBytesPerPixel + 255) & ~uint64_t{255};
    const uint64_t rows = (uint64_t{height} + 63) & ~uint64_t{63};
    return {stride * rows, static_cast<uint32_t>(stride)};
}

Result<ColorBufferLayout> layout_with_stride(const wire::ResourceCreate3d& request,
                                             uint32_t stride) {
    const uint64_t row = uint64_t{request.width} * kBytesPerPixel;
    if (is_buffer(request) || stride < row || stride % kBytesPerPixel != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "Rows {} bytes apart are none of a picture of {}x{}.", stride, request.width,
                    request.height);
    // At most 2^32 * 2^15 + 2^17: no overflow.
    return ColorBufferLayout{uint64_t{stride} * (request.height - 1) + row, stride};
}

Result<void> check_color_buffer(const wire::ResourceCreate3d& request) {
    const bool flat = request.depth == 1 && request.array_size <= 1 && request.last_level == 0 &&
                      request.nr_samples <= 1;
    if (!flat || (request.target != kTargetTexture2d && !is_buffer(request)))
        return fail(ErrorCode::kInvalidParameter,
                    "A picture with target {}, depth {}, {} layers, last level {} and {} samples "
                    "cannot be shared.",
                    request.target, request.depth, request.array_size, request.last_level,
                    request.nr_samples);
    const bool possible =
        request.width != 0 &&
        (is_buffer(request)
             ? request.height == 1
             : request.height != 0 && request.width <= kMaxExtent && request.height <= kMaxExtent);
    if (!possible)
        return fail(ErrorCode::kInvalidParameter, "A picture of {}x{} cannot be shared.",
                    request.width, request.height);
    return {};
}

Result<void> transfer(const ColorBuffer& buffer, const Backing& backing,
                      const wire::TransferHost3d& transfer, TransferDirection direction) {
    const wire::Box& box = transfer.box;
    const wire::ResourceCreate3d& request = buffer.request;
    if (box.z != 0 || box.depth != 1 || transfer.level != 0 ||
        !range_fits(box.x, box.width, request.width) ||
        !range_fits(box.y, box.height, request.height))
        return fail(ErrorCode::kInvalidParameter,
                    "The box {}x{}x{}+{}+{}+{} of level {} is not inside the picture ({}x{}).",
                    box.width, box.height, box.depth, box.x, box.y, box.z, transfer.level,
                    request.width, request.height);
    const uint64_t unit = is_buffer(request) ? 1 : kBytesPerPixel;
    const uint64_t row_size = box.width * unit;
    const uint64_t stride = transfer.stride == 0 ? row_size : transfer.stride;
    const uint64_t our_stride = is_buffer(request) ? row_size : buffer.stride.load();
    if (row_size == 0 || box.height == 0) return {};
    const uint64_t start = box.y * our_stride + box.x * unit;
    const auto rows_before = checked_mul<uint64_t>(our_stride, box.height - 1);
    // The driver's stride may be longer than what we guessed the memory from.
    const auto length = rows_before ? checked_add(*rows_before, row_size) : std::nullopt;
    if (!length || !range_fits(start, *length, buffer.memory->size()))
        return fail(ErrorCode::kInvalidParameter,
                    "{} rows of {} bytes, {} apart, are past the end ({}) of the picture.",
                    box.height, row_size, our_stride, buffer.memory->size());
    std::byte* const ours = buffer.memory->data() + start;
    if (direction == TransferDirection::kToHost)
        return backing.read_rows(transfer.offset, stride, row_size, box.height, ours, our_stride);
    return backing.write_rows(transfer.offset, stride, row_size, box.height, ours, our_stride);
}

}  // namespace swede::gfxstream
