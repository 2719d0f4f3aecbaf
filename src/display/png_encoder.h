// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace swede::display {

/// Writes one picture to a file as PNG: 8 bits of red, green and blue a pixel, compressed for
/// speed. Rows come from top to bottom, in as many pieces as the caller likes, so a large picture
/// needs no buffer of its own. Used by one thread, once; the file is borrowed.
class PngEncoder {
  public:
    /// `width` and `height` in px, neither 0.
    [[nodiscard]] static Result<std::unique_ptr<PngEncoder>> create(int fd, uint32_t width,
                                                                    uint32_t height);
    ~PngEncoder();
    PngEncoder(const PngEncoder&) = delete;
    PngEncoder& operator=(const PngEncoder&) = delete;

    /// Whole rows of B8G8R8A8; alpha is left out, since a scanout is opaque.
    [[nodiscard]] Result<void> write_rows(std::span<const std::byte> rows);
    /// Ends the file. Fails unless `height` rows were written.
    [[nodiscard]] Result<void> finish();

  private:
    struct State;
    explicit PngEncoder(std::unique_ptr<State> state);

    std::unique_ptr<State> state_;
};

}  // namespace swede::display
