// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "rutabaga/display_sink.h"

namespace swede::virtio_gpu {

/// The cursors of the scanouts (virtio 1.3, 5.7.6.10). The guest gives the place of the image's
/// corner, as Linux's cursor plane has it, and the sinks take that of the hot spot. Owned by the
/// device, on its thread.
class Cursors {
  public:
    Cursors(uint32_t scanouts, rutabaga::DisplaySink& sink) : cursors_(scanouts), sink_(sink) {}

    /// Takes a copy of the image, 64 px both ways, out of `frame`.
    [[nodiscard]] Result<void> show(const wire::UpdateCursor& update, const rutabaga::Frame& frame);
    void hide(uint32_t scanout);
    /// Allocates nothing.
    void move(const wire::CursorPosition& position);
    void reset();

  private:
    struct Cursor {
        bool shown = false;
        uint32_t hot_x = 0;  ///< px
        uint32_t hot_y = 0;  ///< px
    };

    std::vector<Cursor> cursors_;  ///< by scanout
    rutabaga::DisplaySink& sink_;
};

}  // namespace swede::virtio_gpu
