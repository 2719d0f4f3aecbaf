// SPDX-License-Identifier: Apache-2.0
#include "swede/device_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace swede {
namespace {

using testing::HasSubstr;

DeviceArguments least() {
    DeviceArguments arguments;
    arguments.socket_path = "/run/gpu.sock";
    return arguments;
}

DeviceOptions good(const DeviceArguments& arguments) {
    const auto options = check_device_options(arguments, false);
    EXPECT_TRUE(options) << options.error().message;
    return options.value_or(DeviceOptions{});
}

/// The refusal's sentence; it names the option, the value and, in part, what is accepted.
void expect_refused(const DeviceArguments& arguments, std::string_view option,
                    std::string_view value, std::string_view accepted) {
    const auto options = check_device_options(arguments, false);
    ASSERT_FALSE(options) << option << " " << value << " was accepted";
    EXPECT_EQ(options.error().code, ErrorCode::kInvalidParameter);
    EXPECT_THAT(options.error().message, HasSubstr(std::string(option)));
    EXPECT_THAT(options.error().message, HasSubstr(std::string(value)));
    EXPECT_THAT(options.error().message, HasSubstr(std::string(accepted)));
}

TEST(DeviceOptions, Defaults_AreADesktopOnVfioUser) {
    const DeviceOptions options = good(least());
    EXPECT_EQ(options.transport, Transport::kVfioUser);
    EXPECT_EQ(options.hostmem, uint64_t{8} << 30);
    ASSERT_EQ(options.outputs.size(), 1u);
    EXPECT_EQ(options.outputs[0].width, 1280u);
    EXPECT_EQ(options.outputs[0].height, 800u);
    EXPECT_TRUE(options.outputs[0].connected);
    EXPECT_TRUE(options.picture_directory.empty());
    EXPECT_TRUE(options.control_path.empty());
    EXPECT_EQ(options.limits, Budget::default_limits());
}

TEST(DeviceOptions, Socket_IsNeeded) {
    EXPECT_FALSE(check_device_options({}, false));
    EXPECT_TRUE(check_device_options({}, true)) << "the service manager has passed one";
}

TEST(DeviceOptions, Socket_IsGivenOnce) {
    DeviceArguments arguments = least();
    arguments.fd = "3";
    expect_refused(arguments, "--fd", "3", "exclude one another");
}

TEST(DeviceOptions, SocketPath_FitsAnAddress) {
    DeviceArguments arguments;
    arguments.socket_path = std::string(107, 'a');
    good(arguments);
    arguments.socket_path = std::string(108, 'a');
    expect_refused(arguments, "--socket-path", "aaa", "1 to 107");
    arguments.socket_path = "";
    expect_refused(arguments, "--socket-path", "\"\"", "1 to 107");
    arguments = least();
    arguments.control_path = "";
    expect_refused(arguments, "--control-path", "\"\"", "1 to 107");
}

TEST(DeviceOptions, Fd_IsANumber) {
    DeviceArguments arguments;
    arguments.fd = "17";
    EXPECT_EQ(good(arguments).fd, 17);
    for (const char* value : {"", "-1", "x", "2147483648", "3 ", "stdin"}) {
        arguments.fd = value;
        expect_refused(arguments, "--fd", value, "number of an open socket");
    }
}

TEST(DeviceOptions, Transport_IsOneOfFour) {
    DeviceArguments arguments = least();
    for (const Transport transport : {Transport::kVfioUser, Transport::kVhostUser,
                                      Transport::kVhostUserGpu, Transport::kLocal}) {
        arguments.transport = std::string(name_of(transport));
        EXPECT_EQ(good(arguments).transport, transport);
    }
    for (const char* value : {"", "vfio", "VFIO-USER", "vhost-user-gpu-pci"}) {
        arguments.transport = value;
        expect_refused(arguments, "--transport", value,
                       "vfio-user, vhost-user, vhost-user-gpu and local");
    }
}

TEST(DeviceOptions, Hostmem_IsASizeFromOneMegabyte) {
    DeviceArguments arguments = least();
    arguments.hostmem = "0";
    EXPECT_EQ(good(arguments).hostmem, 0u);
    arguments.hostmem = "1M";
    EXPECT_EQ(good(arguments).hostmem, uint64_t{1} << 20);
    for (const char* value : {"1", "1023K", "2T", "1048577"}) {
        arguments.hostmem = value;
        expect_refused(arguments, "--hostmem", value, "1M to 1T");
    }
    for (const char* value : {"", "8GB", "-1", "lots"}) {
        arguments.hostmem = value;
        expect_refused(arguments, "--hostmem", value, "a size such as");
    }
}

TEST(DeviceOptions, Hostmem_IsAPowerOfTwoOnPciOnly) {
    DeviceArguments arguments = least();
    arguments.hostmem = "6G";
    expect_refused(arguments, "--hostmem", "6G", "such as 4G or 8G");
    arguments.transport = "vhost-user";
    EXPECT_EQ(good(arguments).hostmem, uint64_t{6} << 30);
}

TEST(DeviceOptions, Display_IsNoneOrADirectory) {
    DeviceArguments arguments = least();
    arguments.display = "none";
    EXPECT_EQ(good(arguments).picture_directory, "");
    arguments.display = "png:out/pictures";
    EXPECT_EQ(good(arguments).picture_directory, "out/pictures");
    for (const char* value : {"", "png", "png:", "gtk", "PNG:x", "none:"}) {
        arguments.display = value;
        expect_refused(arguments, "--display", value, "accepted are none, and png:");
    }
}

TEST(DeviceOptions, Outputs_AreAListOfSizesAndOff) {
    DeviceArguments arguments = least();
    arguments.outputs = "1920x1080,off,1x16384";
    const DeviceOptions options = good(arguments);
    ASSERT_EQ(options.outputs.size(), 3u);
    EXPECT_EQ(options.outputs[0].width, 1920u);
    EXPECT_EQ(options.outputs[0].height, 1080u);
    EXPECT_FALSE(options.outputs[1].connected);
    EXPECT_EQ(options.outputs[2].width, 1u);
    EXPECT_EQ(options.outputs[2].height, 16384u);
    EXPECT_TRUE(options.outputs[2].connected);
}

TEST(DeviceOptions, Outputs_OfAnotherShapeAreRefused) {
    DeviceArguments arguments = least();
    for (const char* value :
         {"", ",", "1280x800,", ",1280x800", "1280", "1280x", "x800", "1280X800", "1280x800x1",
          "0x800", "1280x0", "16385x800", "1280x16385", "-1x800", "1280 x 800", "on", "offf",
          "99999999999999999999x1"}) {
        arguments.outputs = value;
        expect_refused(arguments, "--outputs", value, "WIDTHxHEIGHT, each 1 to 16384");
    }
}

TEST(DeviceOptions, Outputs_AreAtMost16) {
    DeviceArguments arguments = least();
    std::string list = "off";
    for (int i = 1; i < 16; ++i) list += ",off";
    arguments.outputs = list;
    EXPECT_EQ(good(arguments).outputs.size(), 16u);
    arguments.outputs = list + ",off";
    expect_refused(arguments, "--outputs", "off,off", "1 to 16 outputs");
}

TEST(DeviceOptions, EachLimit_SetsItsOwn) {
    for (size_t i = 0; i < kLimitOptions.size(); ++i) {
        DeviceArguments arguments = least();
        arguments.limits[i] = "12345";
        Budget::Limits expected = Budget::default_limits();
        expected[static_cast<size_t>(kLimitOptions[i].kind)] = 12345;
        EXPECT_EQ(good(arguments).limits, expected) << kLimitOptions[i].option;
    }
}

TEST(DeviceOptions, EachBudget_HasALimitOption) {
    std::array<int, Budget::kKinds> options{};
    for (const LimitOption& option : kLimitOptions) ++options[static_cast<size_t>(option.kind)];
    for (size_t kind = 0; kind < Budget::kKinds; ++kind)
        EXPECT_EQ(options[kind], 1) << name_of(static_cast<BudgetKind>(kind));
}

TEST(DeviceOptions, BadLimits_AreRefused) {
    for (size_t i = 0; i < kLimitOptions.size(); ++i)
        for (const char* value : {"", "0", "-1", "many", "1.5"}) {
            DeviceArguments arguments = least();
            arguments.limits[i] = value;
            expect_refused(arguments, kLimitOptions[i].option, value, "above 0");
        }
    DeviceArguments arguments = least();
    arguments.limits[1] = "4K";  // a count has no suffix
    expect_refused(arguments, "--max-resources", "4K", "whole number");
}

}  // namespace
}  // namespace swede
