// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/scanouts.h"

#include <utility>

#include "virtio_gpu/edid.h"

namespace swede::virtio_gpu {

Scanouts::Scanouts(std::span<const OutputSize> outputs, rutabaga::DisplaySink& sink)
    : outputs_(outputs.begin(), outputs.end()), scanouts_(outputs.size()), sink_(sink) {}

Result<uint32_t> Scanouts::check(uint32_t scanout) const {
    if (scanout >= count())
        return fail(ErrorCode::kInvalidScanout, "Scanout {} is not one of the device's {}.",
                    scanout, count());
    return scanout;
}

void Scanouts::show(uint32_t scanout, rutabaga::ResourceId resource, const rutabaga::Rect& rect,
                    std::shared_ptr<const rutabaga::Frame> frame,
                    std::optional<rutabaga::BlobLayout> layout) {
    scanouts_[scanout] = {resource, rect, layout};
    sink_.set_scanout(scanout, std::move(frame));
}

std::optional<rutabaga::BlobLayout> Scanouts::layout_of(uint32_t scanout,
                                                        rutabaga::ResourceId blob) const {
    const Scanout& shown = scanouts_[scanout];
    return shown.resource == blob ? shown.layout : std::nullopt;
}

void Scanouts::follow(uint32_t scanout, rutabaga::ResourceId blob,
                      std::shared_ptr<const rutabaga::Frame> frame) {
    if (!layout_of(scanout, blob)) return;
    if (!frame) return turn_off(scanout);
    const rutabaga::Rect all{0, 0, frame->width(), frame->height()};
    sink_.set_scanout(scanout, std::move(frame));
    sink_.flush(scanout, all);  // the guest knows of no change and sends none
}

void Scanouts::turn_off(uint32_t scanout) {
    scanouts_[scanout] = {};
    sink_.set_scanout(scanout, nullptr);
}

void Scanouts::forget_resource(rutabaga::ResourceId resource) {
    for (uint32_t scanout = 0; scanout < count(); ++scanout)
        if (resource != 0 && scanouts_[scanout].resource == resource) turn_off(scanout);
}

void Scanouts::flush(rutabaga::ResourceId resource, const rutabaga::Rect& rect) {
    for (uint32_t scanout = 0; scanout < count(); ++scanout) {
        const Scanout& shown = scanouts_[scanout];
        if (resource == 0 || shown.resource != resource) continue;
        rutabaga::Rect damage = rutabaga::intersect(rect, shown.rect);
        if (damage.width == 0 || damage.height == 0) continue;
        damage.x -= shown.rect.x;
        damage.y -= shown.rect.y;
        sink_.flush(scanout, damage);
    }
}

void Scanouts::reset() {
    for (uint32_t scanout = 0; scanout < count(); ++scanout)
        if (scanouts_[scanout].resource != 0) turn_off(scanout);
    events_ = 0;
    missed_ = false;
}

void Scanouts::raise_display_event() {
    if ((events_ & wire::kEventDisplay) == 0) {
        events_ |= wire::kEventDisplay;
        asked_ = false;
    } else if (asked_) {
        missed_ = true;
    }
}

bool Scanouts::clear_events(uint32_t events) {
    events_ &= ~events;
    if ((events & wire::kEventDisplay) == 0 || !std::exchange(missed_, false)) return false;
    raise_display_event();
    return true;
}

Result<bool> Scanouts::set_output(uint32_t scanout, const OutputSize& size) {
    SWEDE_TRY(check(scanout));
    if (size.width == 0 || size.width > kMaxEdidSize || size.height == 0 ||
        size.height > kMaxEdidSize)
        return fail(ErrorCode::kInvalidParameter, "An output of {}x{} px is not 1x1 to {}x{}.",
                    size.width, size.height, kMaxEdidSize, kMaxEdidSize);
    OutputSize& output = outputs_[scanout];
    const bool changed = output.width != size.width || output.height != size.height ||
                         output.connected != size.connected;
    output = size;
    if (changed) raise_display_event();
    return changed;
}

std::array<wire::DisplayOne, wire::kMaxScanouts> Scanouts::display_info() const {
    std::array<wire::DisplayOne, wire::kMaxScanouts> modes{};
    uint32_t x = 0;  // at most 16 x 16384 px
    for (uint32_t scanout = 0; scanout < count(); ++scanout) {
        const OutputSize& output = outputs_[scanout];
        modes[scanout].rect = {x, 0, output.width, output.height};
        modes[scanout].enabled = output.connected ? 1 : 0;
        if (output.connected) x += output.width;
    }
    return modes;
}

wire::Config Scanouts::config(uint32_t num_capsets) const {
    return {.events_read = events_,
            .events_clear = 0,
            .num_scanouts = count(),
            .num_capsets = num_capsets};
}

}  // namespace swede::virtio_gpu
