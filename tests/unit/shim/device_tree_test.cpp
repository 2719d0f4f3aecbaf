// SPDX-License-Identifier: Apache-2.0
#include "device_tree.h"

#include <gtest/gtest.h>

namespace swede::shim {
namespace {

using Kind = Entry::Kind;

constexpr char kFunction[] = "/sys/devices/pci5357:00/5357:00:00.0";

Kind kind_of(const char* path, bool follow = true) {
    const auto entry = look_up(path, follow);
    EXPECT_TRUE(entry) << path << " is left to the real file system";
    return entry ? entry->kind : Kind::kAbsent;
}

TEST(DeviceTree, TwoNodes) {
    for (const auto& [path, minor] : {std::pair{"/dev/dri/card0", kPrimaryMinor},
                                      {"/dev/dri/renderD128", kRenderMinor},
                                      {"//dev/dri//renderD128", kRenderMinor},
                                      {"/dev/./dri/../dri/renderD128", kRenderMinor},
                                      {"/dev/dri/by-path/../card0", kPrimaryMinor}}) {
        ASSERT_EQ(kind_of(path), Kind::kNode) << path;
        EXPECT_EQ(look_up(path)->minor, minor);
    }
    EXPECT_EQ(look_up("/dev/dri")->names, (std::vector<std::string>{"card0", "renderD128"}));
    EXPECT_EQ(kind_of("/dev/dri/"), Kind::kDirectory);
}

TEST(DeviceTree, ARealGpuIsHidden) {
    for (const char* const path :
         {"/dev/dri/card1", "/dev/dri/renderD129", "/dev/dri/by-path", "/dev/dri/card00",
          "/dev/dri/card", "/sys/dev/char/226:1", "/sys/dev/char/226:129",
          "/sys/dev/char/226:129/device", "/sys/dev/char/226:12", "/sys/dev/char/226:",
          "/sys/class/drm/card1", "/sys/class/drm/card0-DP-1", "/sys/class/drm/version"})
        EXPECT_EQ(kind_of(path), Kind::kAbsent) << path;
}

TEST(DeviceTree, AllElseIsTheRealFileSystems) {
    for (const char* const path :
         {"/", "/dev", "/dev/null", "/dev/drip", "/dev/dri0/card0", "/dev/dri/../null",
          "/sys/class/drmx", "/sys/dev/char/1:3", "/sys/devices/pci0000:00", "/sys/bus/pci",
          "/sys/bus/pci/devices/0000:00:00.0", "/home/dev/dri/card0", "dev/dri/card0/x/../../..",
          ""})
        EXPECT_FALSE(look_up(path)) << path;
    EXPECT_FALSE(may_be_ours(nullptr));
    EXPECT_FALSE(may_be_ours(""));
    EXPECT_FALSE(may_be_ours("dev/dri"));
    EXPECT_FALSE(may_be_ours("/home"));
    EXPECT_TRUE(may_be_ours("/dev/dri"));
    EXPECT_TRUE(may_be_ours("//dev/dri"));
    EXPECT_TRUE(may_be_ours("/./dev/dri"));
}

TEST(DeviceTree, EveryWayToTheFunctionIsOne) {
    for (const char* const path :
         {"/sys/dev/char/226:128/device", "/sys/dev/char/226:0/device/",
          "/sys/class/drm/card0/device", "/sys/bus/pci/devices/5357:00:00.0", kFunction,
          "/sys/dev/char/226:128/device/drm/card0/device/drm/renderD128/device"}) {
        ASSERT_EQ(kind_of(path), Kind::kDirectory) << path;
        EXPECT_EQ(look_up(path)->path, kFunction) << path;
    }
    EXPECT_EQ(kind_of("/sys/dev/char/226:128/device", false), Kind::kLink);
    EXPECT_EQ(kind_of("/sys/dev/char/226:128", false), Kind::kLink);
    EXPECT_EQ(kind_of("/sys/class/drm/card0", false), Kind::kLink);
    EXPECT_EQ(kind_of("/sys/class/drm/card0/", false), Kind::kDirectory);
}

TEST(DeviceTree, FilesOfTheFunction) {
    const auto text = [](const std::string& name) {
        const auto entry = look_up("/sys/dev/char/226:128/device/" + name);
        return entry ? entry->content : "none";
    };
    EXPECT_EQ(text("vendor"), "0x1af4\n");
    EXPECT_EQ(text("device"), "0x1050\n");
    EXPECT_NE(text("uevent").find("\nPCI_SLOT_NAME=5357:00:00.0\n"), std::string::npos);
    const std::string config = text("config");
    ASSERT_EQ(config.size(), 64u);
    EXPECT_EQ(config.substr(0, 4), std::string("\xf4\x1a\x50\x10"));
    const auto function = look_up(kFunction);
    for (const std::string& name : function->names)
        EXPECT_NE(kind_of((std::string(kFunction) + "/" + name).c_str(), false), Kind::kAbsent);
    EXPECT_EQ(kind_of("/sys/dev/char/226:128/device/none"), Kind::kAbsent);
    EXPECT_EQ(kind_of("/sys/dev/char/226:128/device/vendor/x"), Kind::kAbsent);
    EXPECT_EQ(look_up("/sys/dev/char/226:128/uevent")->content,
              "MAJOR=226\nMINOR=128\nDEVNAME=dri/renderD128\nDEVTYPE=drm_minor\n");
}

TEST(DeviceTree, LinksOutLeadToTheRealFileSystem) {
    const auto bus = look_up("/sys/dev/char/226:0/device/subsystem");
    ASSERT_TRUE(bus);
    EXPECT_EQ(bus->kind, Kind::kLink);
    EXPECT_EQ(bus->content, "/sys/bus/pci");
    EXPECT_EQ(kind_of("/sys/dev/char/226:0/subsystem"), Kind::kDirectory) << "back to our own";
}

TEST(DeviceTree, InodesTellPathsApart) {
    EXPECT_NE(inode_of("/dev/dri/card0"), inode_of("/dev/dri/renderD128"));
    EXPECT_EQ(inode_of("/dev/dri/card0"), inode_of("/dev/dri/card0"));
    EXPECT_NE(inode_of(""), 0u);
}

}  // namespace
}  // namespace swede::shim
