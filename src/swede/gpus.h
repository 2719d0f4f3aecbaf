// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "gfxstream/vulkan/host.h"

namespace swede {

/// A Vulkan device of this machine, and why guests cannot have it.
using Gpu = gfxstream::vulkan::DeviceDescription;

// The drivers run in a child process, since a broken one may crash or hang. Before this process has
// threads.

[[nodiscard]] Result<std::vector<Gpu>> list_gpus();
/// The one that `name` names (see vulkan::Host::open()), or with an empty name the best; an Error
/// when guests cannot have it.
[[nodiscard]] Result<Gpu> choose_gpu(const std::string& name);

/// "llvmpipe (LLVM 15.0.6, 256 bits): cpu, Vulkan 1.3.255, Mesa 22.3.6."
[[nodiscard]] std::string sentence_of(const Gpu& gpu);

/// `swede devices`: prints them. The exit status: 0 when guests can have one, else 1.
[[nodiscard]] int run_devices();

}  // namespace swede
