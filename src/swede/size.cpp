// SPDX-License-Identifier: Apache-2.0
#include "swede/size.h"

#include <fmt/format.h>

#include <charconv>

#include "base/checked.h"

namespace swede {
namespace {
constexpr std::string_view kSuffixes = "KMGT";
}

std::optional<uint64_t> parse_number(std::string_view text) {
    uint64_t value = 0;
    const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || stopped != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<uint64_t> parse_size(std::string_view text) {
    if (text.empty()) return std::nullopt;
    const char last = text.back() >= 'a' ? static_cast<char>(text.back() - 'a' + 'A') : text.back();
    unsigned shift = 0;
    if (const size_t index = kSuffixes.find(last); index != std::string_view::npos) {
        shift = 10 * (static_cast<unsigned>(index) + 1);
        text.remove_suffix(1);
    }
    const auto number = parse_number(text);
    if (!number) return std::nullopt;
    return checked_mul<uint64_t>(*number, uint64_t{1} << shift);
}

std::string size_text(uint64_t bytes) {
    size_t suffix = 0;
    while (bytes != 0 && bytes % 1024 == 0 && suffix < kSuffixes.size()) {
        bytes /= 1024;
        ++suffix;
    }
    return suffix == 0 ? fmt::format("{}", bytes)
                       : fmt::format("{}{}", bytes, kSuffixes[suffix - 1]);
}

}  // namespace swede
