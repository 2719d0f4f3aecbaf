// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

namespace swede {

/// Arithmetic on sizes that came from a peer: empty when the result does not fit T.
template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_add(T a, T b) {
    T sum;
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}

template <std::unsigned_integral T>
[[nodiscard]] constexpr std::optional<T> checked_mul(T a, T b) {
    T product;
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

/// True when [offset, offset + length) lies inside [0, limit), without overflow.
[[nodiscard]] constexpr bool range_fits(uint64_t offset, uint64_t length, uint64_t limit) {
    return offset <= limit && length <= limit - offset;
}

[[nodiscard]] constexpr bool ranges_overlap(uint64_t a, uint64_t a_size, uint64_t b,
                                            uint64_t b_size) {
    return a_size != 0 && b_size != 0 && (a < b ? b - a < a_size : a - b < b_size);
}

inline constexpr uint64_t kPageSize = 4096;

[[nodiscard]] constexpr bool is_page_aligned(uint64_t value) {
    return value % kPageSize == 0;
}

/// Rounds up to a page; empty on overflow.
[[nodiscard]] constexpr std::optional<uint64_t> page_align(uint64_t value) {
    const auto raised = checked_add<uint64_t>(value, kPageSize - 1);
    if (!raised) return std::nullopt;
    return *raised & ~(kPageSize - 1);
}

}  // namespace swede
