// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace swede {

/// A number of bytes as people write it: digits and perhaps K, M, G or T (powers of 1024, either
/// case). Empty when it is something else or does not fit 64 bits.
[[nodiscard]] std::optional<uint64_t> parse_size(std::string_view text);

/// The shortest text that parse_size() reads as `bytes`.
[[nodiscard]] std::string size_text(uint64_t bytes);

/// A decimal number that fits, and nothing else: no sign, no blanks.
[[nodiscard]] std::optional<uint64_t> parse_number(std::string_view text);

}  // namespace swede
