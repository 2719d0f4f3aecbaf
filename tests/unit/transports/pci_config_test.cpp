// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/pci_config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <random>
#include <vector>

namespace swede::vfio_user {
namespace {

constexpr uint64_t kHostmem = uint64_t{8} << 30;

template <typename T>
T get(const PciConfig& config, uint64_t offset) {
    std::array<std::byte, sizeof(T)> bytes;
    config.read(offset, bytes);
    return std::bit_cast<T>(bytes);
}

template <typename T>
void put(PciConfig& config, uint64_t offset, T value) {
    config.write(offset, std::as_bytes(std::span(&value, 1)));
}

struct Capability {
    size_t at;
    uint8_t id;
    uint8_t type;  ///< of a virtio capability
    uint8_t size;
};

std::vector<Capability> capabilities(const PciConfig& config) {
    std::vector<Capability> found;
    for (uint8_t at = get<uint8_t>(config, 0x34); at != 0; at = get<uint8_t>(config, at + 1)) {
        if (found.size() > 64) break;
        found.push_back({at, get<uint8_t>(config, at), get<uint8_t>(config, at + 3u),
                         get<uint8_t>(config, at + 2u)});
    }
    return found;
}

const Capability* virtio_capability(const std::vector<Capability>& all, uint8_t type) {
    const auto found = std::ranges::find_if(
        all, [type](const Capability& c) { return c.id == 9 && c.type == type; });
    return found == all.end() ? nullptr : &*found;
}

TEST(PciConfig, IsAModernVirtioGpuDisplayFunction) {
    const PciConfig config(kHostmem);
    EXPECT_EQ(get<uint16_t>(config, 0x00), 0x1af4);
    EXPECT_EQ(get<uint16_t>(config, 0x02), 0x1050);
    EXPECT_GE(get<uint8_t>(config, 0x08), 1);
    EXPECT_EQ(get<uint32_t>(config, 0x08) >> 8, 0x038000u);
    EXPECT_EQ(get<uint8_t>(config, 0x0e), 0);  // header type 0, one function
    EXPECT_GE(get<uint16_t>(config, 0x2e), 0x40);
    EXPECT_NE(get<uint16_t>(config, 0x06) & 0x10, 0);
}

TEST(PciConfig, EveryVirtioCapabilityLiesInsideItsBar) {
    const PciConfig config(kHostmem);
    const auto all = capabilities(config);
    const std::map<uint8_t, uint64_t> bars{{0, kBar0Size}, {2, kBar2Size}, {4, kHostmem}};
    for (const uint8_t type : {1, 2, 3, 4, 5, 8}) {
        const Capability* const found = virtio_capability(all, type);
        ASSERT_NE(found, nullptr) << int{type};
        EXPECT_LE(found->at + found->size, PciConfig::kSize);
        if (type == 5) continue;  // the driver fills it in
        uint64_t offset = get<uint32_t>(config, found->at + 8);
        uint64_t length = get<uint32_t>(config, found->at + 12);
        if (type == 8) {
            offset |= uint64_t{get<uint32_t>(config, found->at + 16)} << 32;
            length |= uint64_t{get<uint32_t>(config, found->at + 20)} << 32;
        }
        const uint8_t bar = get<uint8_t>(config, found->at + 4);
        ASSERT_TRUE(bars.contains(bar));
        EXPECT_NE(length, 0u);
        EXPECT_LE(offset + length, bars.at(bar));
    }
}

TEST(PciConfig, CapabilitiesDoNotOverlap) {
    const PciConfig config(kHostmem);
    std::vector<bool> taken(PciConfig::kSize);
    for (const Capability& c : capabilities(config)) {
        const size_t size = c.id == 0x11 ? 12 : c.size;
        for (size_t i = c.at; i < c.at + size; ++i) {
            EXPECT_FALSE(taken[i]) << i;
            taken[i] = true;
        }
    }
}

TEST(PciConfig, SharedMemoryIsTheHostVisibleWindow) {
    const PciConfig config(kHostmem);
    const auto all = capabilities(config);
    const Capability* const shared = virtio_capability(all, 8);
    ASSERT_NE(shared, nullptr);
    EXPECT_EQ(shared->size, 24);
    EXPECT_EQ(get<uint8_t>(config, shared->at + 4), 4);  // BAR
    EXPECT_EQ(get<uint8_t>(config, shared->at + 5), 1);  // VIRTIO_GPU_SHM_ID_HOST_VISIBLE
    EXPECT_EQ(get<uint32_t>(config, shared->at + 12), static_cast<uint32_t>(kHostmem));
    EXPECT_EQ(get<uint32_t>(config, shared->at + 20), static_cast<uint32_t>(kHostmem >> 32));
}

TEST(PciConfig, WithoutHostmemThereIsNoWindow) {
    PciConfig config(0);
    EXPECT_EQ(virtio_capability(capabilities(config), 8), nullptr);
    EXPECT_NE(virtio_capability(capabilities(config), 5), nullptr);
    put<uint32_t>(config, 0x20, ~0u);
    EXPECT_EQ(get<uint32_t>(config, 0x20), 0u);
}

TEST(PciConfig, MsixHasThreeVectorsInBar0) {
    const PciConfig config(kHostmem);
    EXPECT_EQ(get<uint8_t>(config, 0x40), 0x11);
    EXPECT_EQ(get<uint16_t>(config, 0x42) & 0x7ff, kMsixVectors - 1);
    EXPECT_EQ(get<uint32_t>(config, 0x44) & 7, 0u);
    EXPECT_EQ(get<uint32_t>(config, 0x48) & 7, 0u);
    EXPECT_LE((get<uint32_t>(config, 0x48) & ~7u) + 8, kBar0Size);
}

TEST(PciConfig, BarsAnswerSizing) {
    for (const uint64_t hostmem :
         {uint64_t{4096}, uint64_t{1} << 31, uint64_t{1} << 32, kHostmem}) {
        PciConfig config(hostmem);
        for (uint64_t bar = 0; bar < 6; ++bar) put<uint32_t>(config, 0x10 + 4 * bar, ~0u);
        EXPECT_EQ(get<uint32_t>(config, 0x10), ~(kBar0Size - 1));
        EXPECT_EQ(get<uint32_t>(config, 0x14), 0u);
        EXPECT_EQ(get<uint64_t>(config, 0x18) & ~uint64_t{0xf}, ~uint64_t{kBar2Size - 1});
        EXPECT_EQ(get<uint64_t>(config, 0x18) & 0xf, 0x4u);
        EXPECT_EQ(get<uint64_t>(config, 0x20) & ~uint64_t{0xf}, ~(hostmem - 1));
        EXPECT_EQ(get<uint64_t>(config, 0x20) & 0xf, 0xcu);
    }
}

TEST(PciConfig, IdentityAndCapabilitiesCannotBeWritten) {
    PciConfig config(kHostmem);
    std::array<std::byte, PciConfig::kSize> before;
    config.read(0, before);
    std::array<std::byte, PciConfig::kSize> ones;
    ones.fill(std::byte{0xff});
    config.write(0, ones);
    EXPECT_EQ(get<uint32_t>(config, 0x00), 0x10501af4u);
    EXPECT_EQ(get<uint32_t>(config, 0x08) >> 8, 0x038000u);
    EXPECT_EQ(get<uint8_t>(config, 0x0e), 0);
    EXPECT_EQ(get<uint8_t>(config, 0x3d), 1);
    const auto all = capabilities(config);
    EXPECT_EQ(all.size(), 7u);
    EXPECT_EQ(get<uint32_t>(config, virtio_capability(all, 8)->at + 12),
              static_cast<uint32_t>(kHostmem));
    config.reset();
    std::array<std::byte, PciConfig::kSize> after;
    config.read(0, after);
    EXPECT_EQ(before, after);
}

TEST(PciConfig, MsixEnableAndIntxDisableAreSeen) {
    PciConfig config(kHostmem);
    EXPECT_FALSE(config.msix_enabled());
    put<uint8_t>(config, 0x43, 0x80);
    EXPECT_TRUE(config.msix_enabled());
    EXPECT_FALSE(config.intx_disabled());
    put<uint16_t>(config, 0x04, 0x0406);
    EXPECT_TRUE(config.intx_disabled());
    config.reset();
    EXPECT_FALSE(config.msix_enabled());
    EXPECT_FALSE(config.intx_disabled());
}

TEST(PciConfig, InterruptStatusFollowsTheDeviceAndNotTheDriver) {
    PciConfig config(kHostmem);
    put<uint16_t>(config, 0x06, 0xffff);
    EXPECT_EQ(get<uint16_t>(config, 0x06) & 0x8, 0);
    config.set_interrupt_status(true);
    EXPECT_NE(get<uint16_t>(config, 0x06) & 0x8, 0);
    put<uint16_t>(config, 0x06, 0);
    EXPECT_NE(get<uint16_t>(config, 0x06) & 0x8, 0);
}

TEST(PciConfig, AccessesOutsideReadZeroAndWriteNothing) {
    PciConfig config(kHostmem);
    std::array<std::byte, PciConfig::kSize> before;
    config.read(0, before);
    std::vector<std::byte> bytes(512, std::byte{0xff});
    for (const uint64_t offset :
         {uint64_t{256}, uint64_t{4096}, ~uint64_t{0}, ~uint64_t{0} - 255, uint64_t{1} << 63}) {
        config.write(offset, bytes);
        std::vector<std::byte> read(512, std::byte{0xaa});
        config.read(offset, read);
        EXPECT_TRUE(std::ranges::all_of(read, [](std::byte b) { return b == std::byte{0}; }));
    }
    std::array<std::byte, PciConfig::kSize> after;
    config.read(0, after);
    EXPECT_EQ(before, after);
    config.write(255, bytes);
    config.write(3, {});
    std::vector<std::byte> tail(4, std::byte{0xaa});
    config.read(254, tail);
    EXPECT_EQ(tail[2], std::byte{0});
    EXPECT_EQ(tail[3], std::byte{0});
}

TEST(PciConfig, WindowAsksOnlyForWhatIsPossible) {
    PciConfig config(kHostmem);
    const size_t at = virtio_capability(capabilities(config), 5)->at;
    const auto touch = [&] { return config.window_access(at + 16, 4); };
    EXPECT_FALSE(touch());  // length 0
    put<uint8_t>(config, at + 4, 2);
    put<uint32_t>(config, at + 8, 0x14);
    put<uint32_t>(config, at + 12, 4);
    ASSERT_TRUE(touch());
    EXPECT_EQ(touch()->bar, 2u);
    EXPECT_EQ(touch()->offset, 0x14u);
    EXPECT_EQ(touch()->length, 4u);
    EXPECT_FALSE(config.window_access(at + 12, 4));
    EXPECT_FALSE(config.window_access(at + 20, 4));
    EXPECT_TRUE(config.window_access(at + 12, 5));
    EXPECT_TRUE(config.window_access(at + 19, 100));
    for (const uint32_t length : {3u, 5u, 8u, 0u, ~0u}) {
        put<uint32_t>(config, at + 12, length);
        EXPECT_FALSE(touch()) << length;
    }
    put<uint32_t>(config, at + 12, 4);
    put<uint32_t>(config, at + 8, 0x16);
    EXPECT_FALSE(touch());  // unaligned
}

TEST(PciConfig, RandomWritesChangeOnlyWritableBits) {
    PciConfig config(kHostmem);
    std::mt19937 random(1);
    PciConfig ones(kHostmem);
    std::array<std::byte, PciConfig::kSize> all;
    all.fill(std::byte{0xff});
    ones.write(0, all);
    PciConfig zeros(kHostmem);
    all.fill(std::byte{0});
    zeros.write(0, all);
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> bytes(random() % 32);
        for (std::byte& b : bytes) b = static_cast<std::byte>(random());
        config.write(random() % 300, bytes);
    }
    for (size_t i = 0; i < PciConfig::kSize; ++i) {
        const uint8_t fixed =
            static_cast<uint8_t>(~(get<uint8_t>(ones, i) ^ get<uint8_t>(zeros, i)));
        EXPECT_EQ(get<uint8_t>(config, i) & fixed, get<uint8_t>(ones, i) & fixed) << i;
    }
}

}  // namespace
}  // namespace swede::vfio_user
