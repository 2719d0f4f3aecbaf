// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "swede/renderer_maker.h"

namespace swede {

/// The whole `swede` program: parses the command line, runs the verb, returns the exit status (0, 1
/// when the work failed, 2 when the command line is wrong; `swede run` has its program's). `maker`
/// makes the renderers of `swede device` and `swede run`; a test program passes its own and is
/// otherwise the same.
[[nodiscard]] int run_program(int argc, const char* const* argv, const RendererMaker& maker);

}  // namespace swede
