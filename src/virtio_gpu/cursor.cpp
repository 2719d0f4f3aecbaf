// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/cursor.h"

#include <algorithm>
#include <span>
#include <utility>

namespace swede::virtio_gpu {
namespace {

/// The corner may be left of the scanout, and is then a negative number in the guest's u32.
int32_t hot_spot(uint32_t corner, uint32_t hot) {
    return static_cast<int32_t>(corner + hot);  // modulo 2^32: no value is an overflow
}

}  // namespace

Result<void> Cursors::show(const wire::UpdateCursor& update, const rutabaga::Frame& frame) {
    constexpr uint32_t kSize = wire::kCursorSize;
    if (frame.width() != kSize || frame.height() != kSize)
        return fail(ErrorCode::kInvalidParameter, "A cursor of {}x{} px is not {}x{}.",
                    frame.width(), frame.height(), kSize, kSize);
    // A driver may give any number; what is shown stays where it says the corner is.
    const uint32_t hot_x = std::min(update.hot_x, kSize - 1);
    const uint32_t hot_y = std::min(update.hot_y, kSize - 1);
    auto image = std::make_shared<rutabaga::CursorImage>();
    image->hot_x = hot_x;
    image->hot_y = hot_y;
    const std::span<std::byte> pixels = std::as_writable_bytes(std::span(image->pixels));
    SWEDE_TRY(frame.read({0, 0, kSize, kSize}, pixels.data(), kSize * rutabaga::kBytesPerPixel));
    // Linux gives each dumb buffer a format without alpha (virtgpu_gem.c,
    // virtio_gpu_mode_dumb_create) and draws cursors with alpha into them; QEMU takes the fourth
    // byte as alpha, so do we.
    rutabaga::convert_to_bgra(rutabaga::with_alpha(frame.format()), pixels);

    const wire::CursorPosition& position = update.position;
    cursors_[position.scanout_id] = {true, hot_x, hot_y};
    sink_.set_cursor(position.scanout_id, std::move(image), hot_spot(position.x, hot_x),
                     hot_spot(position.y, hot_y));
    return {};
}

void Cursors::hide(uint32_t scanout) {
    cursors_[scanout] = {};
    sink_.set_cursor(scanout, nullptr, 0, 0);
}

void Cursors::move(const wire::CursorPosition& position) {
    const Cursor& cursor = cursors_[position.scanout_id];
    sink_.move_cursor(position.scanout_id, hot_spot(position.x, cursor.hot_x),
                      hot_spot(position.y, cursor.hot_y));
}

void Cursors::reset() {
    for (uint32_t scanout = 0; scanout < cursors_.size(); ++scanout)
        if (cursors_[scanout].shown) hide(scanout);
}

}  // namespace swede::virtio_gpu
