// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

#include "base/budget.h"

namespace swede::fuzz {

/// The default limits but for some, which are small so that an input meets them.
inline Budget::Limits limits_with(std::initializer_list<std::pair<BudgetKind, uint64_t>> some) {
    Budget::Limits limits = Budget::default_limits();
    for (const auto& [kind, value] : some) limits[static_cast<size_t>(kind)] = value;
    return limits;
}

}  // namespace swede::fuzz
