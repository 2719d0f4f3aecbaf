// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "base/result.h"
#include "gfxstream/executor.h"
#include "gfxstream/vulkan/host.h"

namespace swede::gfxstream {

/// Executes the commands of a context in a Vulkan session on the host's device.
[[nodiscard]] Result<std::unique_ptr<CommandExecutor>> make_session_executor(
    std::shared_ptr<vulkan::Host> host, ExecutorServices& services);

}  // namespace swede::gfxstream
