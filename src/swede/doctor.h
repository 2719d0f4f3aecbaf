// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace swede {

/// `swede doctor`: prints what this machine has and lacks for our device, what to do about it, and
/// a QEMU command line that works here. The exit status: 0 when a door works, else 1.
[[nodiscard]] int run_doctor();

}  // namespace swede
