// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace swede {

/// Names of the Vulkan devices of this machine. The loader is opened at run time and the drivers
/// run in a child process, since a broken one may crash or hang.
[[nodiscard]] Result<std::vector<std::string>> list_vulkan_devices();

}  // namespace swede
