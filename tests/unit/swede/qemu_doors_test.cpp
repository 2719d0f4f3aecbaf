// SPDX-License-Identifier: Apache-2.0
#include "swede/qemu_doors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "swede/child_output.h"

namespace swede::qemu_doors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Cut from QEMU's answers.
constexpr std::string_view kQemu11 = R"(Controller/Bridge/Hub devices:
name "i82801b11-bridge", bus PCI

Display devices:
name "VGA", bus PCI
name "vhost-user-gpu", bus virtio-bus
name "vhost-user-gpu-pci", bus PCI
name "vhost-user-vga", bus PCI
name "virtio-gpu-pci", bus PCI, alias "virtio-gpu"

Misc devices:
name "vfio-user-pci", bus PCI, desc "VFIO over socket PCI device assignment"
name "vhost-user-test-device-pci", bus PCI
)";
constexpr std::string_view kQemu7 = R"(Display devices:
name "vhost-user-gpu", bus virtio-bus
name "vhost-user-gpu-pci", bus PCI
)";

std::vector<std::string_view> door_names(std::string_view help) {
    std::vector<std::string_view> names;
    for (const Door& door : doors_in(help)) names.push_back(door.device);
    return names;
}

Surroundings surroundings() {
    return {"swede", "/usr/bin/qemu", "/run/gpu.sock", uint64_t{4} << 30, true, true};
}

TEST(QemuDoors, Help_NamesItsDevices) {
    EXPECT_THAT(devices_in(kQemu7), ElementsAre("vhost-user-gpu", "vhost-user-gpu-pci"));
    EXPECT_EQ(devices_in(kQemu11).size(), 8u);
}

TEST(QemuDoors, Best_ComesFirst) {
    EXPECT_THAT(door_names(kQemu11), ElementsAre("vfio-user-pci", "vhost-user-test-device-pci",
                                                 "vhost-user-vga", "vhost-user-gpu-pci"));
    EXPECT_THAT(door_names(kQemu7), ElementsAre("vhost-user-gpu-pci"));
}

TEST(QemuDoors, OtherText_HasNone) {
    for (const std::string_view help :
         {"", "\n\n", "name", "name \"", "name \"vfio-user-pci", "name \"\"", "vfio-user-pci\n",
          "x name \"vfio-user-pci\"", "name \"vfio-user-pci-x\"", "name \"not-vfio-user-pci\"",
          "Name \"vfio-user-pci\"", "bash: qemu: command not found\n"})
        EXPECT_THAT(door_names(help), IsEmpty()) << help;
}

TEST(QemuDoors, LastLineWithoutEnd_Counts) {
    EXPECT_THAT(door_names("name \"vfio-user-pci\", bus PCI"), ElementsAre("vfio-user-pci"));
}

TEST(QemuDoors, CommandLine_SharesTheGuestsMemory) {
    for (const Door& door : doors_in(kQemu11))
        EXPECT_THAT(qemu_command(door, surroundings()),
                    HasSubstr("-m 4G -object memory-backend-memfd,id=mem0,size=4G,share=on"));
}

TEST(QemuDoors, CommandLine_UsesKvmWhereItRuns) {
    Surroundings here = surroundings();
    const Door door = doors_in(kQemu11).front();
    EXPECT_THAT(qemu_command(door, here), HasSubstr("accel=kvm,memory-backend=mem0 -cpu host"));
    here.kvm = false;
    EXPECT_THAT(qemu_command(door, here), HasSubstr("accel=tcg,memory-backend=mem0 -cpu max"));
}

TEST(QemuDoors, VfioUser_IsAJsonDevice) {
    EXPECT_THAT(qemu_command(doors_in(kQemu11)[0], surroundings()),
                HasSubstr(R"(-device '{"driver":"vfio-user-pci","rombar":0,)"
                          R"("socket":{"type":"unix","path":"/run/gpu.sock"}}')"));
}

TEST(QemuDoors, GenericVhostUser_IsAVirtioGpu) {
    EXPECT_THAT(qemu_command(doors_in(kQemu11)[1], surroundings()),
                HasSubstr("-chardev socket,id=gpu,path=/run/gpu.sock "
                          "-device vhost-user-test-device-pci,chardev=gpu,virtio-id=16,num_vqs=2,"
                          "vq_size=256,config_size=16"));
}

TEST(QemuDoors, VhostUserGpu_IsShownByQemuWhereThereIsADesktop) {
    Surroundings here = surroundings();
    const Door door = doors_in(kQemu7).front();
    EXPECT_THAT(qemu_command(door, here), HasSubstr("-display gtk,gl=on"));
    EXPECT_THAT(device_command(door, here), Not(HasSubstr("png:")));
    here.desktop = false;
    EXPECT_THAT(qemu_command(door, here), HasSubstr("-display none"));
}

TEST(QemuDoors, DeviceCommand_SpeaksTheDoorsTransport) {
    const auto doors = doors_in(kQemu11);
    EXPECT_THAT(device_command(doors[0], surroundings()),
                HasSubstr("swede device --socket-path /run/gpu.sock --transport vfio-user "));
    EXPECT_THAT(device_command(doors[1], surroundings()), HasSubstr("--transport vhost-user "));
    EXPECT_THAT(device_command(doors[2], surroundings()), HasSubstr("--transport vhost-user-gpu"));
}

TEST(QemuDoors, CommaInAPath_IsDoubledForQemu) {
    Surroundings here = surroundings();
    here.socket_path = "/run/a,b.sock";
    EXPECT_THAT(qemu_command(doors_in(kQemu7).front(), here), HasSubstr("path=/run/a,,b.sock"));
}

TEST(QemuDoors, ShellWord_IsReadBackByAShell) {
    for (const std::string value : {"plain", "", "two words", "it's", "'", "$HOME `id` \"x\" \\ *",
                                    "a\nb", "{\"json\": 1}"}) {
        const auto echoed = run_for_output({"sh", "-c", "printf %s " + shell_word(value)},
                                           std::chrono::seconds(30));
        ASSERT_TRUE(echoed);
        EXPECT_EQ(echoed->text, value);
    }
}

}  // namespace
}  // namespace swede::qemu_doors
