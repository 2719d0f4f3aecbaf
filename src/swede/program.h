// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "virtio_gpu/options.h"

namespace swede {

/// The whole `swede` program: parses the command line, runs the verb, returns the exit status (0, 1
/// when the work failed, 2 when the command line is wrong). `renderers` are those of `swede
/// device`; a test program passes its own and is otherwise the same.
[[nodiscard]] int run_program(int argc, const char* const* argv,
                              const virtio_gpu::RendererFactory& renderers);

}  // namespace swede
