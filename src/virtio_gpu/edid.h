// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace swede::virtio_gpu {

/// Largest width and height of an output, px.
inline constexpr uint32_t kMaxEdidSize = 16384;

/// A monitor's description as GET_EDID hands it out (virtio 1.3, 5.7.6.8).
struct Edid {
    static constexpr size_t kBlockSize = 128;

    std::array<uint8_t, 2 * kBlockSize> blocks{};
    size_t size = 0;  ///< bytes in use: one block or two

    [[nodiscard]] std::span<const uint8_t> bytes() const { return {blocks.data(), size}; }
};

/// The EDID 1.4 of a monitor called "Swede" whose native mode is width x height px (1 to
/// kMaxEdidSize) at 60 Hz, about 96 dpi; serial number and text name the scanout. What a detailed
/// timing cannot say (4096 px and more, or 655.36 MHz and more) stands in a DisplayID 1.3
/// extension. Pure.
[[nodiscard]] Edid make_edid(uint32_t scanout, uint32_t width, uint32_t height);

}  // namespace swede::virtio_gpu
