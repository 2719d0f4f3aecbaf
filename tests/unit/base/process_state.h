// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

#include "base/file_closer.h"

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

/// Waits until nothing is left to be closed elsewhere; false after some seconds.
[[nodiscard]] inline bool all_files_are_closed() {
    for (int i = 0; i < 2000 && files_to_close() != 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return files_to_close() == 0;
}

}  // namespace swede::testing
