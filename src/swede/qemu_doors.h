// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "swede/device_options.h"

/// Which doors a QEMU has for our device, and how to ask for one. Pure text work: what a QEMU
/// offers is read from its `-device help`, never concluded from its version.
namespace swede::qemu_doors {

/// One device of QEMU that can carry our GPU.
struct Door {
    std::string_view device;  ///< as `-device help` names it
    Transport transport;
    std::string_view carries;  ///< for people
};

/// The devices of that help text (`name "vfio-user-pci", bus PCI, ...`).
[[nodiscard]] std::vector<std::string_view> devices_in(std::string_view help);

/// The doors among them, the best first: vfio-user carries all and is no test device; the generic
/// vhost-user device carries all from QEMU 11.1 on; vhost-user-gpu is 2D.
[[nodiscard]] std::vector<Door> doors_in(std::string_view help);

/// Text for a POSIX shell that is one word with this value.
[[nodiscard]] std::string shell_word(std::string_view value);

struct Surroundings {
    std::string swede;        ///< our program: its name, or its path when it is not in PATH
    std::string qemu;         ///< path of the program
    std::string socket_path;  ///< for the device's socket
    uint64_t guest_memory;    ///< bytes
    bool kvm;                 ///< it runs guests here
    bool desktop;             ///< QEMU can open a window here
};

/// The command that starts our device, and QEMU's, which work together: each a line or more for a
/// shell. A disk or kernel is the user's to add.
[[nodiscard]] std::string device_command(const Door& door, const Surroundings& surroundings);
[[nodiscard]] std::string qemu_command(const Door& door, const Surroundings& surroundings);

}  // namespace swede::qemu_doors
