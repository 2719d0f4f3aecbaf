// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "rutabaga/display_sink.h"

namespace swede::display {

/// Shows the scanouts in QEMU's own window, over the socket that QEMU hands to a vhost-user-gpu
/// back end (docs/interop/vhost-user-gpu.rst). Owned by the vhost-user session, on the loop's
/// thread. QEMU makes a new socket at each start of the driver; the scanouts outlive it.
///
/// Nothing waits and nothing grows: pixels go out as strips of at most kStripBytes, the next one
/// when QEMU has taken the last; meanwhile damage is joined and the latest frame wins. Both sides'
/// messages are checked: what QEMU would trip over (an update of a scanout that is off, a surface
/// out of all proportion) is not sent, and an answer that nobody asked for ends the socket.
class QemuSocketSink : public rutabaga::DisplaySink {
  public:
    /// Bytes of pixels in one UPDATE.
    static constexpr size_t kStripBytes = 256 * 1024;
    /// Strips sent in one turn of the loop, however fast QEMU reads.
    static constexpr int kStripsPerTurn = 8;
    /// QEMU allocates what SCANOUT asks for; a larger side is not shown.
    static constexpr uint32_t kMaxSide = 16384;  ///< px

    /// Told of QEMU's answer to GET_DISPLAY_INFO; null when the socket ended without one.
    using DisplayInfo = std::function<void(const wire::RespDisplayInfo* info)>;

    QemuSocketSink(EventLoop& loop, DisplayInfo display_info);
    ~QemuSocketSink() override;

    /// Goes on with this socket in place of the last, if any, and asks for QEMU's display info.
    [[nodiscard]] Result<void> attach(UniqueFd fd);
    void detach();
    [[nodiscard]] bool attached() const { return socket_.has_value(); }

    /// Asks QEMU for its outputs' sizes again.
    void request_display_info();
    /// True until QEMU has answered the latest request.
    [[nodiscard]] bool waiting_for_display_info() const { return info_requests_ != 0; }

    void set_scanout(uint32_t scanout, std::shared_ptr<const rutabaga::Frame> frame) override;
    void flush(uint32_t scanout, const rutabaga::Rect& damage) override;
    void set_cursor(uint32_t scanout, std::shared_ptr<const rutabaga::CursorImage> image, int32_t x,
                    int32_t y) override;
    void move_cursor(uint32_t scanout, int32_t x, int32_t y) override;

  private:
    struct Scanout {
        std::shared_ptr<const rutabaga::Frame> frame;  ///< null: off
        uint32_t told_width = 0;                       ///< px, of the last SCANOUT; 0: off
        uint32_t told_height = 0;                      ///< px
        bool adopted = true;                           ///< an UPDATE followed the last SCANOUT
        rutabaga::Rect pass{};    ///< what is still to be sent of the damage being sent
        rutabaga::Rect damage{};  ///< what came since that pass began
        std::shared_ptr<const rutabaga::CursorImage> cursor;
        int32_t cursor_x = 0;  ///< px
        int32_t cursor_y = 0;  ///< px
        bool cursor_image_due = false;
        bool cursor_position_due = false;
    };

    void on_events(uint32_t events);
    void end(const Error& why);
    [[nodiscard]] Result<void> receive();
    [[nodiscard]] Result<void> handle(const Message& message);
    /// Sends what is due until QEMU's end is full or the turn is over.
    void pump();
    /// Sends at most one message of the scanout; false when none is due.
    [[nodiscard]] Result<bool> send_next(uint32_t id);
    [[nodiscard]] Result<void> send_scanout(uint32_t id, uint32_t width, uint32_t height);
    [[nodiscard]] Result<void> send_cursor(uint32_t id);
    [[nodiscard]] Result<void> send_strip(uint32_t id);
    template <typename Payload>
    [[nodiscard]] Result<void> send(uint32_t request, const Payload& payload,
                                    std::span<const std::byte> data = {});

    EventLoop& loop_;
    DisplayInfo display_info_;
    std::optional<MessageSocket> socket_;
    EventLoop::Watch watch_;
    Message message_;
    bool asked_features_ = false;  ///< GET_PROTOCOL_FEATURES is out
    bool ready_ = false;           ///< ...and was answered: pictures may follow
    uint32_t info_requests_ = 0;   ///< GET_DISPLAY_INFO: 1 is out, 2: and one is to follow
    bool waits_ = false;           ///< for QEMU to read: EPOLLOUT is watched
    uint32_t next_scanout_ = 0;    ///< whose turn it is
    std::array<Scanout, wire::kMaxScanouts> scanouts_;
    std::vector<std::byte> strip_;  ///< kStripBytes while attached
};

}  // namespace swede::display
