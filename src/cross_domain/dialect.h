// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "wire/cross_domain.h"

namespace swede::cross_domain {

/// What tells one kind of guest from another, found out as it speaks: the capset's version is the
/// same for all.
struct Dialect {
    /// Entries of the arrays in SEND and RECEIVE. Until the guest's first SEND it is not known, and
    /// no host speaks before its client: only an end of the stream may come, which has none.
    uint32_t max_identifiers = wire::cross_domain::kManyIdentifiers;
    bool max_identifiers_known = false;
    /// The type of an eventfd; empty: the guest knows none (Wayland's proxies end on a type other
    /// than blob and write pipe), and gets a pipe to write to.
    uint32_t event_type = 0;
};

}  // namespace swede::cross_domain
