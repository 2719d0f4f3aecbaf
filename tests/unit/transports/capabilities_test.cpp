// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/capabilities.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace swede::vfio_user {
namespace {

Result<ClientCapabilities> parse(std::string_view text, bool terminated = true) {
    std::string bytes(text);
    if (terminated) bytes.push_back('\0');
    return parse_capabilities(std::as_bytes(std::span(bytes)));
}

TEST(Capabilities, NothingMeansDefaults) {
    const auto parsed = parse("", false);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->max_msg_fds, 1u);
    EXPECT_FALSE(parsed->write_multiple);
    EXPECT_TRUE(parse(""));
    EXPECT_TRUE(parse("{}"));
    EXPECT_TRUE(parse(R"({"capabilities":{}})"));
}

TEST(Capabilities, QemusTextIsUnderstood) {
    const auto parsed = parse(
        R"({"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576,
            "max_dma_maps": 65535, "pgsizes": 4096, "write_multiple": true,
            "migration": {"pgsize": 4096, "max_bitmap_size": 268435456}}})");
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->max_msg_fds, 16u);
    EXPECT_TRUE(parsed->write_multiple);
}

TEST(Capabilities, WrongOnesAreRefused) {
    for (const std::string_view text : {
             "null",
             "[]",
             "1",
             "\"capabilities\"",
             "{",
             "}",
             "{]",
             "{\"capabilities\":",
             "{\"capabilities\":[]}",
             "{\"capabilities\":null}",
             "{\"capabilities\":1}",
             "{\"capabilities\":{\"max_msg_fds\":-1}}",
             "{\"capabilities\":{\"max_msg_fds\":\"8\"}}",
             "{\"capabilities\":{\"max_msg_fds\":1.5}}",
             "{\"capabilities\":{\"max_msg_fds\":1e400}}",
             "{\"capabilities\":{\"max_msg_fds\":99999999999999999999999}}",
             "{\"capabilities\":{\"max_msg_fds\":[1]}}",
             "{\"capabilities\":{\"max_msg_fds\":null}}",
             "{\"capabilities\":{\"max_data_xfer_size\":\"big\"}}",
             "{\"capabilities\":{\"max_dma_maps\":{}}}",
             "{\"capabilities\":{\"pgsizes\":2097152}}",
             "{\"capabilities\":{\"pgsizes\":0}}",
             "{\"capabilities\":{\"write_multiple\":1}}",
             "{\"capabilities\":{\"write_multiple\":\"true\"}}",
             "{\"capabilities\":{}} tail",
             "{\"capabilities\":{}}{}",
             "\xff\xfe",
             "{\"capabilities\":{\"max_msg_fds\":1,}}",
         })
        EXPECT_FALSE(parse(text)) << text;
}

TEST(Capabilities, TheZeroByteIsNeededAndOnlyAtTheEnd) {
    EXPECT_FALSE(parse("{}", false));
    EXPECT_FALSE(parse(std::string_view("{\0}", 3)));
    EXPECT_FALSE(parse(std::string_view("{}\0", 3)));
}

TEST(Capabilities, DeepAndLongTextIsRefused) {
    EXPECT_FALSE(parse(std::string(2000, '[') + std::string(2000, ']')));
    std::string deep;
    for (int i = 0; i < 400; ++i) deep += "{\"a\":";
    EXPECT_FALSE(parse(deep));
    EXPECT_FALSE(parse("{\"capabilities\":{\"x\":\"" + std::string(5000, 'x') + "\"}}"));
}

TEST(Capabilities, OursAreJsonAndOnlyWhatWasProposed) {
    const auto plain = nlohmann::json::parse(capabilities_text({}), nullptr, false);
    ASSERT_TRUE(plain.contains("capabilities"));
    EXPECT_EQ(plain["capabilities"]["max_msg_fds"], 8);
    EXPECT_EQ(plain["capabilities"]["max_data_xfer_size"], 1 << 20);
    EXPECT_EQ(plain["capabilities"]["pgsizes"], 4096);
    EXPECT_FALSE(plain["capabilities"].contains("write_multiple"));
    const auto multiple = nlohmann::json::parse(
        capabilities_text({.max_msg_fds = 1, .write_multiple = true}), nullptr, false);
    EXPECT_EQ(multiple["capabilities"]["write_multiple"], true);
}

}  // namespace
}  // namespace swede::vfio_user
