// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace swede::fuzz {

/// What the code under test promises. A broken promise ends the run, as a sanitizer's report does.
inline void require(bool holds, std::source_location at = std::source_location::current()) {
    if (holds) return;
    std::fprintf(stderr, "runtime error: %s:%u: a promise is broken\n", at.file_name(),
                 static_cast<unsigned>(at.line()));
    std::abort();
}

}  // namespace swede::fuzz
