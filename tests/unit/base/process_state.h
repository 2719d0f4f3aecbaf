// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace swede::testing {

inline size_t entries_of(const char* folder) {
    const std::filesystem::directory_iterator entries(folder);
    return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

/// File descriptors that this process has open; compare two calls (each opens one itself).
inline size_t open_fds() {
    return entries_of("/proc/self/fd");
}

inline size_t threads() {
    return entries_of("/proc/self/task");
}

}  // namespace swede::testing
