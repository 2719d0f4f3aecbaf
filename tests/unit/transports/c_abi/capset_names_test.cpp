// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/capset_names.h"

#include <gtest/gtest.h>

#include "transports/c_abi/drm_formats.h"
#include "wire/virtio_gpu.h"

namespace swede::c_abi {
namespace {

constexpr uint64_t kCrossDomain = 1 << 5;
constexpr uint64_t kVulkan = 1 << 3;

TEST(CapsetNames, AreSplitAtColons) {
    EXPECT_EQ(capset_mask_of("cross-domain:gfxstream-vulkan"), kCrossDomain | kVulkan);
    EXPECT_EQ(capset_mask_of(":gfxstream-vulkan"), kVulkan);
    EXPECT_EQ(capset_mask_of("cross-domain:"), kCrossDomain);
    EXPECT_EQ(capset_mask_of("cross-domain:cross-domain"), kCrossDomain);
    EXPECT_EQ(capset_mask_of("virgl:virgl2:venus:drm"), 0b1010110u);
    EXPECT_EQ(capset_mask_of("gfxstream-gles:gfxstream-composer"), 0b1100000000u);
}

TEST(CapsetNames, OfMagmaAreTwo) {
    EXPECT_EQ(capset_mask_of("magma"), 1u << 7);
    EXPECT_EQ(capset_mask_of("gfxstream-magma"), 1u << 7);
}

TEST(CapsetNames, OthersAreLeftOut) {
    for (const char* const names : {"", ":", "::::", "fake", "Virgl", "virgl ", " virgl", "virgl3",
                                    "virg", "virgl,venus", "\xff\xfe", "cross_domain"})
        EXPECT_EQ(capset_mask_of(names), 0u) << names;
    EXPECT_EQ(capset_mask_of("fake:virgl:\xff"), 2u);
}

TEST(CapsetNames, AreFoundById) {
    EXPECT_EQ(capset_name(5), "cross-domain");
    EXPECT_EQ(capset_name(7), "magma");
    EXPECT_EQ(capset_name(0), "");
    EXPECT_EQ(capset_name(10), "");
}

TEST(DrmFormats, HaveTheSameBytesInMemory) {
    constexpr auto fourcc = [](const char(&name)[5]) {
        return static_cast<uint32_t>(name[0] | name[1] << 8 | name[2] << 16 | name[3] << 24);
    };
    EXPECT_EQ(virtio_format_of(fourcc("XR24")), wire::kFormatB8G8R8X8);
    EXPECT_EQ(virtio_format_of(fourcc("AB24")), wire::kFormatR8G8B8A8);
    EXPECT_FALSE(virtio_format_of(fourcc("RG16")));
    EXPECT_FALSE(virtio_format_of(fourcc("NV12")));
    EXPECT_FALSE(virtio_format_of(0));
}

}  // namespace
}  // namespace swede::c_abi
