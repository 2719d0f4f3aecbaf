// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace swede {

/// Folders in which Vulkan drivers announce themselves, as the Vulkan loader has them (its
/// LoaderDriverInterface.md), for the environment's XDG_DATA_DIRS.
[[nodiscard]] std::vector<std::string> vulkan_driver_folders();

/// Mesa's gfxstream driver: the JSON file that announces it, in the first of `folders` that has
/// one. The Error names the package that lacks.
[[nodiscard]] Result<std::string> find_gfxstream_driver(const std::vector<std::string>& folders);

/// libswede-shim.so: beside this program as it was installed, or as it lies in a build folder.
[[nodiscard]] Result<std::string> find_shim();

}  // namespace swede
