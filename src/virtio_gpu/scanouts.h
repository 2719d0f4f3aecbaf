// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "rutabaga/display_sink.h"
#include "virtio_gpu/options.h"

namespace swede::virtio_gpu {

/// The device's scanouts: what each shows, which size its output asks for, and the configuration
/// space that tells of changes (virtio 1.3, 5.7.4). Owned by the device, on its thread.
class Scanouts {
  public:
    /// `outputs`: 1 to wire::kMaxScanouts.
    Scanouts(std::span<const OutputSize> outputs, rutabaga::DisplaySink& sink);

    [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(outputs_.size()); }
    /// The one check of a guest's scanout id (D10, CVE-2016-10029).
    [[nodiscard]] Result<uint32_t> check(uint32_t scanout) const;

    /// Shows `frame`, the part `rect` of the resource, from now on. `layout`: of a blob.
    void show(uint32_t scanout, rutabaga::ResourceId resource, const rutabaga::Rect& rect,
              std::shared_ptr<const rutabaga::Frame> frame,
              std::optional<rutabaga::BlobLayout> layout = {});
    /// How the scanout shows that blob, if it does.
    [[nodiscard]] std::optional<rutabaga::BlobLayout> layout_of(uint32_t scanout,
                                                                rutabaga::ResourceId blob) const;
    /// The blob's memory has moved, and `frame` looks at it there; null: it is lost, and the
    /// scanout is turned off. Nothing for a scanout that shows something else by now.
    void follow(uint32_t scanout, rutabaga::ResourceId blob,
                std::shared_ptr<const rutabaga::Frame> frame);
    void turn_off(uint32_t scanout);
    /// The resource goes: scanouts that show it are turned off.
    void forget_resource(rutabaga::ResourceId resource);
    /// Tells the sink of the common part of `rect` and each scanout that shows the resource: none
    /// is no error (D9).
    void flush(rutabaga::ResourceId resource, const rutabaga::Rect& rect);
    /// All off, no event pending: outputs keep their sizes, which are the user's.
    void reset();

    [[nodiscard]] std::span<const OutputSize> outputs() const { return outputs_; }
    /// The driver asks what the outputs are like: GET_DISPLAY_INFO or GET_EDID.
    void note_question() { asked_ = true; }
    /// True when that is news to the guest.
    [[nodiscard]] Result<bool> set_output(uint32_t scanout, const OutputSize& size);
    /// GET_DISPLAY_INFO's answer: outputs stand side by side, in order.
    [[nodiscard]] std::array<wire::DisplayOne, wire::kMaxScanouts> display_info() const;

    // The configuration space; num_capsets is the Gpu's.
    [[nodiscard]] wire::Config config(uint32_t num_capsets) const;
    /// True when there is a new event at once. Linux asks what changed and clears the event when it
    /// has dealt with the answer; a change in between would be lost with it.
    [[nodiscard]] bool clear_events(uint32_t events);

  private:
    void raise_display_event();

    struct Scanout {
        rutabaga::ResourceId resource = 0;  ///< 0: off
        rutabaga::Rect rect{};              ///< of the resource, px
        std::optional<rutabaga::BlobLayout> layout;
    };

    std::vector<OutputSize> outputs_;
    std::vector<Scanout> scanouts_;
    rutabaga::DisplaySink& sink_;
    uint32_t events_ = 0;  ///< wire::kEvent*, not yet cleared by the driver
    bool asked_ = false;   ///< the driver has asked since the display event
    bool missed_ = false;  ///< an output has changed since it asked
};

}  // namespace swede::virtio_gpu
