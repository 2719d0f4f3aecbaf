// SPDX-License-Identifier: Apache-2.0
#include "swede/qemu_doors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "swede/size.h"

namespace swede::qemu_doors {
namespace {

constexpr std::array<Door, 4> kDoors{{
    {"vfio-user-pci", Transport::kVfioUser, "everything"},
    {"vhost-user-test-device-pci", Transport::kVhostUser,
     "everything from QEMU 11.1 on, before that no host-visible memory"},
    {"vhost-user-vga", Transport::kVhostUserGpu, "2D, shown by QEMU"},
    {"vhost-user-gpu-pci", Transport::kVhostUserGpu, "2D, shown by QEMU"},
}};

std::string device_option(const Door& door, const std::string& socket_path) {
    if (door.transport == Transport::kVfioUser) {
        const nlohmann::ordered_json device{
            {"driver", door.device},
            // QEMU would look for an option ROM in a BAR that we do not have.
            {"rombar", 0},
            {"socket", {{"type", "unix"}, {"path", socket_path}}}};
        return fmt::format("-device {}", shell_word(device.dump()));
    }
    // A comma in a value of QEMU's -chardev is written twice.
    std::string path;
    for (const char c : socket_path) path += c == ',' ? std::string(2, c) : std::string(1, c);
    const std::string chardev =
        fmt::format("-chardev {}", shell_word("socket,id=gpu,path=" + path));
    if (door.transport == Transport::kVhostUserGpu)
        return fmt::format("{} -device {},chardev=gpu", chardev, door.device);
    return fmt::format(
        "{} -device {},chardev=gpu,virtio-id=16,num_vqs=2,vq_size=256,config_size=16", chardev,
        door.device);
}

}  // namespace

std::vector<std::string_view> devices_in(std::string_view help) {
    constexpr std::string_view kName = "name \"";
    std::vector<std::string_view> devices;
    while (!help.empty()) {
        const size_t end = std::min(help.find('\n'), help.size());
        std::string_view line = help.substr(0, end);
        help.remove_prefix(std::min(end + 1, help.size()));
        if (!line.starts_with(kName)) continue;
        line.remove_prefix(kName.size());
        const size_t quote = line.find('"');
        if (quote != std::string_view::npos && quote != 0) devices.push_back(line.substr(0, quote));
    }
    return devices;
}

std::vector<Door> doors_in(std::string_view help) {
    const auto devices = devices_in(help);
    std::vector<Door> doors;
    for (const Door& door : kDoors)
        if (std::ranges::find(devices, door.device) != devices.end()) doors.push_back(door);
    return doors;
}

std::string shell_word(std::string_view value) {
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,:@%+";
    if (!value.empty() && value.find_first_not_of(kPlain) == std::string_view::npos)
        return std::string(value);
    std::string word = "'";
    for (const char c : value) {
        if (c == '\'')
            word += "'\\''";
        else
            word += c;
    }
    return word + "'";
}

std::string device_command(const Door& door, const Surroundings& surroundings) {
    std::string command =
        fmt::format("{} device --socket-path {} --transport {}", shell_word(surroundings.swede),
                    shell_word(surroundings.socket_path), name_of(door.transport));
    // vhost-user-gpu is shown by QEMU itself.
    if (door.transport != Transport::kVhostUserGpu) command += " --display png:swede-pictures";
    return command;
}

std::string qemu_command(const Door& door, const Surroundings& surroundings) {
    const std::string memory = size_text(surroundings.guest_memory);
    const bool window = door.transport == Transport::kVhostUserGpu && surroundings.desktop;
    return fmt::format(
        "{} -machine q35,accel={},memory-backend=mem0 -cpu {} \\\n"
        "    -m {} -object memory-backend-memfd,id=mem0,size={},share=on \\\n"
        "    {} \\\n"
        "    -vga none -display {}",
        shell_word(surroundings.qemu), surroundings.kvm ? "kvm" : "tcg",
        surroundings.kvm ? "host" : "max", memory, memory,
        device_option(door, surroundings.socket_path),
        // This door insists on a display that takes dma-bufs.
        window ? "gtk,gl=on" : "none");
}

}  // namespace swede::qemu_doors
