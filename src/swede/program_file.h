// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/result.h"

namespace swede {

/// Where a shell would find `name`: itself with a slash in it, else in the folders of `path` (the
/// variable PATH). kInvalidResource when there is no such program.
[[nodiscard]] Result<std::string> find_program(const std::string& name, const std::string& path);

/// Refuses, in a sentence, a program that would not load a preloaded library: one that is linked
/// statically, runs with rights of its file's (setuid, setgid, capabilities), is not for x86-64, or
/// has another loader than glibc's. Follows "#!" to the interpreter.
[[nodiscard]] Result<void> check_preloadable(const std::string& file);

}  // namespace swede
