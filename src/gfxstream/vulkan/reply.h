// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gfxstream/vulkan/layout.h"

namespace swede::gfxstream::vulkan {

/// The reply to one command: output parameters in the order of their declaration, then what the
/// function returned; no header. Owned by a ring and reused by its thread; keeps its memory.
class Reply {
  public:
    static constexpr size_t kBound = size_t{64} << 20;  ///< bytes; more is a failure
    static constexpr size_t kKept = size_t{1} << 20;    ///< bytes kept over clear()

    Reply() = default;
    Reply(const Reply&) = delete;
    Reply& operator=(const Reply&) = delete;

    void bytes(const void* from, size_t size);
    void u32(uint32_t value) { bytes(&value, sizeof(value)); }
    void i32(int32_t value) { bytes(&value, sizeof(value)); }
    void u64(uint64_t value) { bytes(&value, sizeof(value)); }
    void f32(float value) { bytes(&value, sizeof(value)); }
    void be32(uint32_t value) { u32(__builtin_bswap32(value)); }
    void be64(uint64_t value) { u64(__builtin_bswap64(value)); }
    /// What stands before an optional pointer's target.
    void marker(bool present) { be64(present ? 1 : 0); }

    /// The structure at `from`.
    void structure(const Layout& layout, const void* from);
    /// The output parameters of a command's arguments.
    void outputs(const Layout& arguments, const void* from);

    [[nodiscard]] std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }
    [[nodiscard]] bool failed() const { return failed_; }
    void clear();

  private:
    void field(const Field& field, const std::byte* base);
    void array(const Field& field, const std::byte* base);
    void next(const void* structure_or_null);
    [[nodiscard]] bool grow(size_t size);

    std::unique_ptr<std::byte[]> bytes_;
    size_t size_ = 0;
    size_t capacity_ = 0;
    bool failed_ = false;
};

}  // namespace swede::gfxstream::vulkan
