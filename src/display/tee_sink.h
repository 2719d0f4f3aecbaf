// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "rutabaga/display_sink.h"

namespace swede::display {

/// Shows one picture in several places: a picture file beside QEMU's window. Borrows its sinks,
/// which outlive it. Device thread.
class TeeSink : public rutabaga::DisplaySink {
  public:
    explicit TeeSink(std::vector<rutabaga::DisplaySink*> sinks);

    void set_scanout(uint32_t scanout, std::shared_ptr<const rutabaga::Frame> frame) override;
    void flush(uint32_t scanout, const rutabaga::Rect& damage) override;
    void set_cursor(uint32_t scanout, std::shared_ptr<const rutabaga::CursorImage> image, int32_t x,
                    int32_t y) override;
    void move_cursor(uint32_t scanout, int32_t x, int32_t y) override;

  private:
    std::vector<rutabaga::DisplaySink*> sinks_;
};

}  // namespace swede::display
