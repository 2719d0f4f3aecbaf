// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "wire/virtio_gpu.h"

/// QEMU's display socket, as QEMU 11.1's docs/interop/vhost-user-gpu.rst gives it. Numbers are in
/// the machine's byte order. The messages with dma-bufs and the one for an EDID are not used here.
namespace swede::display::qemu_socket {

struct Header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;  ///< bytes of payload
};
static_assert(sizeof(Header) == 12);
inline constexpr uint32_t kFlagReply = 1 << 2;

enum class Request : uint32_t {
    kGetProtocolFeatures = 1,
    kSetProtocolFeatures = 2,
    kGetDisplayInfo = 3,
    kCursorPos = 4,
    kCursorPosHide = 5,
    kCursorUpdate = 6,
    kScanout = 7,
    kUpdate = 8,
};

/// VhostUserGpuCursorPos.
struct CursorPosition {
    uint32_t scanout;
    uint32_t x;  ///< px
    uint32_t y;  ///< px
};
static_assert(sizeof(CursorPosition) == 12);

/// VhostUserGpuCursorUpdate, without its 64 x 64 pixels (PIXMAN_a8r8g8b8).
struct CursorUpdateHead {
    CursorPosition position;
    uint32_t hot_x;  ///< px
    uint32_t hot_y;  ///< px
};
static_assert(sizeof(CursorUpdateHead) == 20);

/// VhostUserGpuScanout; width and height 0 turn it off.
struct Scanout {
    uint32_t scanout;
    uint32_t width;   ///< px
    uint32_t height;  ///< px
};
static_assert(sizeof(Scanout) == 12);

/// VhostUserGpuUpdate, without its pixels (PIXMAN_x8r8g8b8, rows without gaps).
struct UpdateHead {
    uint32_t scanout;
    wire::Rect rect;
};
static_assert(sizeof(UpdateHead) == 20);

}  // namespace swede::display::qemu_socket
