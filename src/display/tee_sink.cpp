// SPDX-License-Identifier: Apache-2.0
#include "display/tee_sink.h"

#include <utility>

namespace swede::display {

TeeSink::TeeSink(std::vector<rutabaga::DisplaySink*> sinks) : sinks_(std::move(sinks)) {}

void TeeSink::set_scanout(uint32_t scanout, std::shared_ptr<const rutabaga::Frame> frame) {
    for (rutabaga::DisplaySink* const sink : sinks_) sink->set_scanout(scanout, frame);
}

void TeeSink::flush(uint32_t scanout, const rutabaga::Rect& damage) {
    for (rutabaga::DisplaySink* const sink : sinks_) sink->flush(scanout, damage);
}

void TeeSink::set_cursor(uint32_t scanout, std::shared_ptr<const rutabaga::CursorImage> image,
                         int32_t x, int32_t y) {
    for (rutabaga::DisplaySink* const sink : sinks_) sink->set_cursor(scanout, image, x, y);
}

void TeeSink::move_cursor(uint32_t scanout, int32_t x, int32_t y) {
    for (rutabaga::DisplaySink* const sink : sinks_) sink->move_cursor(scanout, x, y);
}

}  // namespace swede::display
