// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "swede/device_options.h"
#include "swede/renderer_maker.h"

namespace CLI {
class App;
}

/// What the programs share of their command lines.
namespace swede {

inline constexpr int kExitFailure = 1;  ///< the work failed
inline constexpr int kExitUsage = 2;    ///< the command line is wrong

/// Parses; empty when the program shall go on. Else the exit status, and help, version or error is
/// printed.
[[nodiscard]] std::optional<int> parse_command_line(CLI::App& app, int argc,
                                                    const char* const* argv);

/// Prints the Error as `program`'s; an exit status.
[[nodiscard]] int report_error(std::string_view program, const Error& error, int status);

/// Checks the options, serves, and returns the exit status. log::start() was called.
[[nodiscard]] int run_checked_device(std::string_view program, const DeviceArguments& arguments,
                                     const RendererMaker& maker);

}  // namespace swede
