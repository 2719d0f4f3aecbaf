// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>

namespace swede::fuzz {

/// What the code under test promises. A broken promise ends the run, as a sanitizer's report does.
inline void require(bool holds) {
    if (!holds) std::abort();
}

}  // namespace swede::fuzz
