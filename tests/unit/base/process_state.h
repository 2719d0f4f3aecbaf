// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <thread>

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

/// Whether there come to be no more threads than that. One that has ended, joined or not, is
/// listed a moment longer.
[[nodiscard]] inline bool threads_come_down_to(size_t most) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (threads() > most) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

}  // namespace swede::testing
