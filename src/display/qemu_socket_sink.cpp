// SPDX-License-Identifier: Apache-2.0
#include "display/qemu_socket_sink.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/file_closer.h"
#include "base/log.h"
#include "display/qemu_socket_protocol.h"
#include "rutabaga/pixel_format.h"

namespace swede::display {
namespace {

using qemu_socket::Header;
using qemu_socket::Request;
using rutabaga::Rect;

log::Module log_("qemu_socket");

/// A strip may be cut by the kernel once; beside it only the few small requests wait.
constexpr MessageSocket::Limits kLimits{
    .header_size = sizeof(Header),
    .max_payload = sizeof(wire::RespDisplayInfo),
    .max_fds = 0,
    .max_unsent = QemuSocketSink::kStripBytes + 16 * 1024,
};

Result<uint64_t> payload_size(std::span<const std::byte> bytes) {
    ByteReader reader(bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    if (header.flags != qemu_socket::kFlagReply)
        return fail(ErrorCode::kProtocol, "A message with flags {:#x} is no reply.", header.flags);
    return header.size;
}

bool is_empty(const Rect& rect) {
    return rect.width == 0 || rect.height == 0;
}

/// The smallest rectangle around both; neither overflows, since both lie inside one frame.
Rect join(const Rect& a, const Rect& b) {
    if (is_empty(a)) return b;
    if (is_empty(b)) return a;
    const uint32_t x = std::min(a.x, b.x);
    const uint32_t y = std::min(a.y, b.y);
    return {x, y, std::max(a.x + a.width, b.x + b.width) - x,
            std::max(a.y + a.height, b.y + b.height) - y};
}

bool is_shown(const rutabaga::Frame* frame) {
    return frame != nullptr && frame->width() != 0 && frame->height() != 0 &&
           frame->width() <= QemuSocketSink::kMaxSide &&
           frame->height() <= QemuSocketSink::kMaxSide;
}

/// x8r8g8b8 of a little-endian machine: blue first, the fourth byte ignored.
bool is_x8r8g8b8(rutabaga::PixelFormat format) {
    return format == rutabaga::PixelFormat::kB8G8R8A8 || format == rutabaga::PixelFormat::kB8G8R8X8;
}

}  // namespace

QemuSocketSink::QemuSocketSink(EventLoop& loop, DisplayInfo display_info)
    : loop_(loop), display_info_(std::move(display_info)) {}

QemuSocketSink::~QemuSocketSink() {
    if (socket_) hang_up(socket_->release());
}

Result<void> QemuSocketSink::attach(UniqueFd fd) {
    PeerFile socket(std::move(fd));  // one that is refused must not wait
    detach();
    SWEDE_TRY(check_unix_stream(socket.get()));
    auto watch = loop_.watch(socket.get(), EPOLLIN, [this](uint32_t events) { on_events(events); });
    if (!watch) return std::unexpected(std::move(watch).error());
    socket_.emplace(socket.take(), kLimits, payload_size);
    watch_ = *std::move(watch);
    strip_.resize(kStripBytes);
    for (Scanout& scanout : scanouts_) {
        scanout.told_width = scanout.told_height = 0;
        scanout.adopted = true;
        scanout.pass = scanout.damage = {};
        scanout.cursor_image_due = scanout.cursor != nullptr;
        scanout.cursor_position_due = false;
    }
    const Header header{static_cast<uint32_t>(Request::kGetProtocolFeatures), 0, 0};
    if (const auto sent = socket_->send(bytes_of(header)); !sent) {
        detach();
        return sent;
    }
    asked_features_ = true;
    request_display_info();
    return {};
}

void QemuSocketSink::detach() {
    watch_.reset();
    if (socket_) hang_up(socket_->release());
    socket_.reset();
    asked_features_ = ready_ = waits_ = false;
    strip_ = {};
    if (std::exchange(info_requests_, 0) != 0) display_info_(nullptr);
}

void QemuSocketSink::end(const Error& why) {
    if (why.code == ErrorCode::kClosed)
        log_.debug("QEMU's display socket ends: {}", why.message);
    else
        log_.warn("QEMU's display socket is given up: {}", why.message);
    detach();
}

void QemuSocketSink::request_display_info() {
    if (!socket_) return;
    info_requests_ = std::min(info_requests_ + 1, 2u);
    if (info_requests_ != 1) return;  // asked again once the answer to the present one is here
    const Header header{static_cast<uint32_t>(Request::kGetDisplayInfo), 0, 0};
    if (const auto sent = socket_->send(bytes_of(header)); !sent) return end(sent.error());
    pump();
}

void QemuSocketSink::on_events(uint32_t events) {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        if (const auto received = receive(); !received) return end(received.error());
        if (!socket_) return;
    }
    if (const auto flushed = socket_->flush(); !flushed) return end(flushed.error());
    pump();
}

Result<void> QemuSocketSink::receive() {
    while (SWEDE_TRY(socket_->receive(message_))) {
        SWEDE_TRY(handle(message_));
        if (!socket_) return {};  // the answer made the owner detach us
    }
    return {};
}

Result<void> QemuSocketSink::handle(const Message& message) {
    ByteReader reader(message.bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    switch (static_cast<Request>(header.request)) {
        case Request::kGetProtocolFeatures: {
            if (!std::exchange(asked_features_, false) || header.size != sizeof(uint64_t)) break;
            // Neither QEMU's EDID (we make our own) nor dma-bufs are used.
            const uint64_t wanted = 0;
            SWEDE_TRY(send(static_cast<uint32_t>(Request::kSetProtocolFeatures), wanted));
            ready_ = true;
            return {};
        }
        case Request::kGetDisplayInfo: {
            if (info_requests_ == 0 || header.size != sizeof(wire::RespDisplayInfo)) break;
            const auto info = SWEDE_TRY(reader.read<wire::RespDisplayInfo>());
            if (info.header.type != wire::kRespOkDisplayInfo) break;
            const bool again = std::exchange(info_requests_, 0) == 2;
            if (again) {
                request_display_info();  // newer sizes are on their way
            } else {
                display_info_(&info);
            }
            return {};
        }
        default:
            break;
    }
    return fail(ErrorCode::kProtocol, "A reply of {} bytes to request {} was not asked for.",
                header.size, header.request);
}

template <typename Payload>
Result<void> QemuSocketSink::send(uint32_t request, const Payload& payload,
                                  std::span<const std::byte> data) {
    const Header header{request, 0, static_cast<uint32_t>(sizeof(payload) + data.size())};
    const std::array<std::span<const std::byte>, 3> parts{bytes_of(header), bytes_of(payload),
                                                          data};
    return socket_->send(parts);
}

void QemuSocketSink::pump() {
    if (!socket_) return;
    bool more = false;  // something is due that QEMU may not have room for yet
    if (ready_) {
        uint32_t idle = 0;
        int sent = 0;
        while (socket_->unsent() == 0 && idle < scanouts_.size() && sent < kStripsPerTurn) {
            const uint32_t id = std::exchange(
                next_scanout_, (next_scanout_ + 1) % static_cast<uint32_t>(scanouts_.size()));
            const auto any = send_next(id);
            if (!any) return end(any.error());
            idle = *any ? 0 : idle + 1;
            sent += *any ? 1 : 0;
        }
        more = idle < scanouts_.size();
    }
    const bool waits = more || socket_->unsent() != 0;
    if (std::exchange(waits_, waits) != waits)
        watch_.set_events(waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

Result<bool> QemuSocketSink::send_next(uint32_t id) {
    Scanout& scanout = scanouts_[id];
    const bool shown = is_shown(scanout.frame.get());
    const uint32_t width = shown ? scanout.frame->width() : 0;
    const uint32_t height = shown ? scanout.frame->height() : 0;
    if (width != scanout.told_width || height != scanout.told_height) {
        if (!scanout.adopted) {
            // QEMU forgets a surface that no UPDATE followed without freeing it (vhost-user-gpu.c,
            // SCANOUT): a guest that toggles its mode would make QEMU grow. One pixel is enough.
            const qemu_socket::UpdateHead head{id, {0, 0, 1, 1}};
            const uint32_t black = 0;
            SWEDE_TRY(send(static_cast<uint32_t>(Request::kUpdate), head, bytes_of(black)));
            scanout.adopted = true;
            return true;
        }
        SWEDE_TRY(send_scanout(id, width, height));
        return true;
    }
    if (scanout.cursor_image_due || scanout.cursor_position_due) {
        SWEDE_TRY(send_cursor(id));
        return true;
    }
    if (is_empty(scanout.pass)) scanout.pass = std::exchange(scanout.damage, {});
    // QEMU draws an UPDATE into the surface of the last SCANOUT without looking whether there is
    // one (vhost-user-gpu.c, UPDATE): none is sent while the scanout is off.
    if (!shown || is_empty(scanout.pass)) return false;
    SWEDE_TRY(send_strip(id));
    return true;
}

Result<void> QemuSocketSink::send_scanout(uint32_t id, uint32_t width, uint32_t height) {
    Scanout& scanout = scanouts_[id];
    scanout.told_width = width;
    scanout.told_height = height;
    scanout.adopted = width == 0;
    scanout.pass = {0, 0, width, height};
    scanout.damage = {};
    const qemu_socket::Scanout payload{id, width, height};
    return send(static_cast<uint32_t>(Request::kScanout), payload);
}

Result<void> QemuSocketSink::send_cursor(uint32_t id) {
    Scanout& scanout = scanouts_[id];
    // QEMU takes the guest's own words, which are of the image's corner (virtio-gpu.c,
    // update_cursor; virtgpu_plane.c sends crtc_x, crtc_y). Modulo 2^32, as those words are.
    const uint32_t hot_x = scanout.cursor ? scanout.cursor->hot_x : 0;
    const uint32_t hot_y = scanout.cursor ? scanout.cursor->hot_y : 0;
    const qemu_socket::CursorPosition position{id, static_cast<uint32_t>(scanout.cursor_x) - hot_x,
                                               static_cast<uint32_t>(scanout.cursor_y) - hot_y};
    const bool image_due = std::exchange(scanout.cursor_image_due, false);
    scanout.cursor_position_due = false;
    if (scanout.cursor == nullptr)
        return send(static_cast<uint32_t>(Request::kCursorPosHide), position);
    if (!image_due) return send(static_cast<uint32_t>(Request::kCursorPos), position);
    const qemu_socket::CursorUpdateHead head{position, hot_x, hot_y};
    return send(static_cast<uint32_t>(Request::kCursorUpdate), head,
                std::as_bytes(std::span(scanout.cursor->pixels)));
}

Result<void> QemuSocketSink::send_strip(uint32_t id) {
    Scanout& scanout = scanouts_[id];
    Rect strip = scanout.pass;
    const size_t row_size = size_t{strip.width} * rutabaga::kBytesPerPixel;
    strip.height = std::min(strip.height, static_cast<uint32_t>(kStripBytes / row_size));
    scanout.pass.y += strip.height;
    scanout.pass.height -= strip.height;
    if (const auto read = scanout.frame->read(strip, strip_.data(), row_size); !read) {
        // The guest took the memory away; what it shows next comes with a flush of its own.
        log_.debug("Scanout {} cannot be read: {}", id, read.error().message);
        scanout.pass = {};
        return {};
    }
    const std::span pixels = std::span(strip_).first(row_size * strip.height);
    if (!is_x8r8g8b8(scanout.frame->format()))
        rutabaga::convert_to_bgra(scanout.frame->format(), pixels);
    scanout.adopted = true;
    const qemu_socket::UpdateHead head{id, strip};
    return send(static_cast<uint32_t>(Request::kUpdate), head, pixels);
}

void QemuSocketSink::set_scanout(uint32_t id, std::shared_ptr<const rutabaga::Frame> frame) {
    if (id >= scanouts_.size()) return;
    Scanout& scanout = scanouts_[id];
    if (frame != nullptr && !is_shown(frame.get()))
        log_.warn("Scanout {} of {} x {} px is more than QEMU is asked to show.", id,
                  frame->width(), frame->height());
    scanout.frame = std::move(frame);
    const bool resized = !is_shown(scanout.frame.get()) ||
                         scanout.frame->width() != scanout.told_width ||
                         scanout.frame->height() != scanout.told_height;
    // After a SCANOUT everything is sent anyway; a frame of the same size is a page flip.
    scanout.damage = resized ? Rect{} : Rect{0, 0, scanout.told_width, scanout.told_height};
    if (resized) scanout.pass = {};
    pump();
}

void QemuSocketSink::flush(uint32_t id, const Rect& damage) {
    if (id >= scanouts_.size()) return;
    Scanout& scanout = scanouts_[id];
    // Not told yet: the whole frame follows its SCANOUT.
    if (scanout.frame == nullptr || scanout.told_width != scanout.frame->width() ||
        scanout.told_height != scanout.frame->height())
        return pump();
    scanout.damage =
        join(scanout.damage,
             rutabaga::intersect(damage, {0, 0, scanout.told_width, scanout.told_height}));
    pump();
}

void QemuSocketSink::set_cursor(uint32_t id, std::shared_ptr<const rutabaga::CursorImage> image,
                                int32_t x, int32_t y) {
    if (id >= scanouts_.size()) return;
    Scanout& scanout = scanouts_[id];
    scanout.cursor = std::move(image);
    scanout.cursor_x = x;
    scanout.cursor_y = y;
    scanout.cursor_image_due = true;
    pump();
}

void QemuSocketSink::move_cursor(uint32_t id, int32_t x, int32_t y) {
    if (id >= scanouts_.size()) return;
    Scanout& scanout = scanouts_[id];
    scanout.cursor_x = x;
    scanout.cursor_y = y;
    scanout.cursor_position_due = true;
    pump();
}

}  // namespace swede::display
