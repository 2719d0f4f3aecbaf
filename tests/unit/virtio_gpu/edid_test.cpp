// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/edid.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <random>
#include <string>
#include <utility>

namespace swede::virtio_gpu {
namespace {

/// Runs `edid-decode --check` over the description; gives its exit status and what it printed.
std::pair<int, std::string> decode(const Edid& edid) {
    char path[] = "/tmp/swede-edid-XXXXXX";
    const int fd = ::mkstemp(path);
    EXPECT_EQ(::write(fd, edid.bytes().data(), edid.size), static_cast<ssize_t>(edid.size));
    ::close(fd);
    std::FILE* const pipe = ::popen(fmt::format("edid-decode --check {}", path).c_str(), "r");
    std::string text;
    std::array<char, 4096> part;
    while (const size_t size = std::fread(part.data(), 1, part.size(), pipe))
        text.append(part.data(), size);
    const int status = ::pclose(pipe);
    ::unlink(path);
    return {status, text};
}

void expect_valid(uint32_t width, uint32_t height, uint32_t scanout = 0) {
    const auto [status, text] = decode(make_edid(scanout, width, height));
    EXPECT_EQ(status, 0) << width << "x" << height << "\n" << text;
    EXPECT_NE(text.find("EDID conformity: PASS"), std::string::npos)
        << width << "x" << height << "\n"
        << text;
    // The native mode stands there, in the base block or in the extension.
    const std::string mode = fmt::format(" {}x{} ", width, height);
    EXPECT_NE(text.find(mode), std::string::npos) << mode << "\n" << text;
    EXPECT_NE(text.find("Display Product Name: 'Swede'"), std::string::npos) << text;
}

TEST(Edid, PassesTheConformityCheckAtUsualSizes) {
    for (const auto& [width, height] : {std::pair{640u, 480u},
                                        {800, 600},
                                        {1024, 768},
                                        {1280, 800},
                                        {1366, 768},
                                        {1920, 1080},
                                        {1920, 1200},
                                        {2560, 1440},
                                        {3840, 2160},
                                        {5120, 2880},
                                        {7680, 4320}})
        expect_valid(width, height);
}

TEST(Edid, PassesTheConformityCheckAtTheEdges) {
    constexpr uint32_t kEdges[]{1, 2, 63, 377, 378, 4095, 4096, 9637, 9638, 16383, 16384};
    for (const uint32_t width : kEdges)
        for (const uint32_t height : kEdges) expect_valid(width, height);
}

TEST(Edid, PassesTheConformityCheckAtOddSizes) {
    std::mt19937 random(20261122);
    std::uniform_int_distribution<uint32_t> size(1, kMaxEdidSize);
    for (int i = 0; i < 50; ++i) expect_valid(size(random), size(random), random() % 16);
}

TEST(Edid, NamesItsScanoutInTheSerialNumber) {
    EXPECT_NE(decode(make_edid(0, 1024, 768)).second.find("Serial Number: 1\n"), std::string::npos);
    const std::string last = decode(make_edid(15, 1024, 768)).second;
    EXPECT_NE(last.find("Serial Number: 16\n"), std::string::npos);
    EXPECT_NE(last.find("'scanout 15'"), std::string::npos);
}

TEST(Edid, RefreshesAt60HzAndAboutAt96Dpi) {
    const std::string text = decode(make_edid(0, 1920, 1080)).second;
    EXPECT_NE(text.find("1920x1080   59.99"), std::string::npos) << text;
    EXPECT_NE(text.find("51 cm x 29 cm"), std::string::npos) << text;
}

TEST(Edid, IsOneBlockWhereADetailedTimingDoes) {
    EXPECT_EQ(make_edid(0, 3840, 2160).size, Edid::kBlockSize);
    EXPECT_EQ(make_edid(0, 4096, 2160).size, 2 * Edid::kBlockSize);  // 12 bits of px
    EXPECT_EQ(make_edid(0, 3840, 3840).size, 2 * Edid::kBlockSize);  // 655.35 MHz
}

TEST(Edid, TakesSizesOutsideItsLimitsAsTheLimits) {
    EXPECT_EQ(make_edid(0, 0, 0).blocks, make_edid(0, 1, 1).blocks);
    EXPECT_EQ(make_edid(0, ~0u, ~0u).blocks, make_edid(0, kMaxEdidSize, kMaxEdidSize).blocks);
}

}  // namespace
}  // namespace swede::virtio_gpu
