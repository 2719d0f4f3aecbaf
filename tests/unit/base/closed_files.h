// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <thread>

#include "base/file_closer.h"

namespace swede::testing {

/// Waits until nothing is left to be closed elsewhere; false after some seconds.
[[nodiscard]] inline bool all_files_are_closed() {
    for (int i = 0; i < 2000 && files_to_close() != 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return files_to_close() == 0;
}

}  // namespace swede::testing
