// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace swede {

/// What a child process said, and how it ended.
struct ChildOutput {
    std::string text;        ///< at most 1 MiB
    bool timed_out = false;  ///< it was ended for want of time
    bool failed = false;     ///< it ended by itself with another status than 0, or crashed
};

/// True once `text` says all that is wanted: the child is ended then.
using EnoughOutput = std::function<bool(std::string_view text)>;

/// Runs a program (found along PATH; arguments[0] is its name) without input, for its output and
/// its messages, until it ends, has said enough, or `timeout` has passed. Nothing of it is left.
/// For programs without threads of their own, such as `swede doctor`.
[[nodiscard]] Result<ChildOutput> run_for_output(const std::vector<std::string>& arguments,
                                                 std::chrono::milliseconds timeout,
                                                 const EnoughOutput& enough = {});

/// The same for a function that writes to standard output: what it loads may crash or hang.
[[nodiscard]] Result<ChildOutput> run_for_output(const std::function<void()>& function,
                                                 std::chrono::milliseconds timeout);

}  // namespace swede
