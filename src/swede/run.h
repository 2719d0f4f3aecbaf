// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/result.h"
#include "swede/device_options.h"
#include "swede/renderer_maker.h"
#include "virtio_gpu/options.h"

namespace swede {

/// Exit statuses of `swede run` for a program that does not run, as shells have them.
inline constexpr int kExitNotRunnable = 126;
inline constexpr int kExitNoProgram = 127;

/// The options of `swede run` as they were written; empty ones were not given.
struct RunArguments {
    std::optional<std::string> socket;
    std::optional<std::string> driver;
    std::optional<std::string> shim;
    std::optional<std::string> max_clients;
    std::optional<std::string> gpu;
    CrossDomainArguments cross_domain;
    std::array<std::optional<std::string>, kLimitOptions.size()> limits;
    std::vector<std::string> command;  ///< the program and its arguments
};

/// The same, checked.
struct RunOptions {
    std::string socket;  ///< of a device that runs; empty: serve one here
    std::string driver;  ///< the JSON file of the Vulkan driver; empty: leave the choice alone
    std::string shim;    ///< libswede-shim.so
    uint32_t max_clients = 0;
    GpuChoice gpu;
    CrossDomainChoice cross_domain;
    Budget::Limits limits{};
    std::string file;  ///< of the program
    std::vector<std::string> command;
};

/// Finds the program, the driver and the shim, and looks at them. kInvalidParameter is an error of
/// the command line, kInvalidResource a program that is not there, all else one that cannot run.
[[nodiscard]] Result<RunOptions> check_run_arguments(const RunArguments& arguments);

/// Runs the program with the device: one that is served here until the program has ended, or the
/// one at RunOptions::socket. The exit status: the program's, or 128 and its signal. With a socket
/// it does not return when it succeeds: this process becomes the program.
[[nodiscard]] Result<int> run_with_device(const RunOptions& options, const RendererMaker& maker);

}  // namespace swede
