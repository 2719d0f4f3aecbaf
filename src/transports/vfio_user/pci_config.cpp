// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/pci_config.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"
#include "wire/virtio_gpu.h"

namespace swede::vfio_user {
namespace {

// PCI Local Bus 3.0, 6.1 and 6.2.
constexpr size_t kVendorId = 0x00;
constexpr size_t kDeviceId = 0x02;
constexpr size_t kCommand = 0x04;
constexpr size_t kStatus = 0x06;
constexpr size_t kRevision = 0x08;
constexpr size_t kClassCode = 0x09;  // three bytes: interface, subclass, class
constexpr size_t kCacheLineSize = 0x0c;
constexpr size_t kLatencyTimer = 0x0d;
constexpr size_t kBar0 = 0x10;
constexpr size_t kSubsystemVendorId = 0x2c;
constexpr size_t kSubsystemId = 0x2e;
constexpr size_t kCapabilities = 0x34;
constexpr size_t kInterruptLine = 0x3c;
constexpr size_t kInterruptPin = 0x3d;

constexpr uint16_t kCommandMemory = 1 << 1;
constexpr uint16_t kCommandBusMaster = 1 << 2;
constexpr uint16_t kCommandParity = 1 << 6;
constexpr uint16_t kCommandSerr = 1 << 8;
constexpr uint16_t kCommandIntxDisable = 1 << 10;
constexpr uint16_t kStatusInterrupt = 1 << 3;
constexpr uint16_t kStatusCapabilities = 1 << 4;

constexpr uint32_t kBar64Bit = 0x4;
constexpr uint32_t kBarPrefetchable = 0x8;

// PCI Local Bus 3.0, 6.8.2.
constexpr size_t kMsixAt = 0x40;
constexpr uint8_t kCapabilityMsix = 0x11;
constexpr uint16_t kMsixEnable = 1 << 15;
constexpr uint16_t kMsixFunctionMask = 1 << 14;

// virtio 1.3, 4.1.2 and 4.1.4.
constexpr uint16_t kVirtioVendorId = 0x1af4;
constexpr uint16_t kVirtioDeviceIdBase = 0x1040;
constexpr uint16_t kSubsystem = 0x1100;  // QEMU's; the specification asks for 0x40 or more
constexpr uint8_t kRevisionModern = 1;
constexpr uint8_t kCapabilityVendor = 0x09;
constexpr uint8_t kCfgCommon = 1;
constexpr uint8_t kCfgNotify = 2;
constexpr uint8_t kCfgIsr = 3;
constexpr uint8_t kCfgDevice = 4;
constexpr uint8_t kCfgPci = 5;
constexpr uint8_t kCfgSharedMemory = 8;
constexpr size_t kVirtioAt = 0x50;
constexpr size_t kCapabilitySize = 16;
// Offsets in struct virtio_pci_cap and what may follow it.
constexpr size_t kCapBar = 4;
constexpr size_t kCapId = 5;
constexpr size_t kCapOffset = 8;
constexpr size_t kCapLength = 12;
constexpr size_t kCapExtra = 16;

}  // namespace

template <typename T>
void PciConfig::put(size_t offset, T value, T writable) {
    std::memcpy(bytes_.data() + offset, &value, sizeof(T));
    std::memcpy(writable_.data() + offset, &writable, sizeof(T));
}

template <typename T>
T PciConfig::get(size_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
}

void PciConfig::put_bar(size_t index, uint64_t size, uint32_t type, bool wide) {
    const uint64_t mask = ~(size - 1);
    put<uint32_t>(kBar0 + 4 * index, type, static_cast<uint32_t>(mask));
    if (wide) put<uint32_t>(kBar0 + 4 * index + 4, 0, static_cast<uint32_t>(mask >> 32));
}

/// Returns where the next capability goes.
size_t PciConfig::put_virtio_capability(size_t at, uint8_t type, uint8_t bar, uint32_t offset,
                                        uint32_t length, size_t size, bool last) {
    const size_t next = (at + size + 3) & ~size_t{3};
    put<uint8_t>(at, kCapabilityVendor);
    put<uint8_t>(at + 1, last ? 0 : static_cast<uint8_t>(next));
    put<uint8_t>(at + 2, static_cast<uint8_t>(size));
    put<uint8_t>(at + 3, type);
    put<uint8_t>(at + kCapBar, bar);
    put<uint32_t>(at + kCapOffset, offset);
    put<uint32_t>(at + kCapLength, length);
    return next;
}

PciConfig::PciConfig(uint64_t hostmem) {
    put<uint16_t>(kVendorId, kVirtioVendorId);
    put<uint16_t>(kDeviceId, static_cast<uint16_t>(kVirtioDeviceIdBase + wire::kVirtioIdGpu));
    put<uint16_t>(
        kCommand, 0,
        kCommandMemory | kCommandBusMaster | kCommandParity | kCommandSerr | kCommandIntxDisable);
    put<uint16_t>(kStatus, kStatusCapabilities);
    put<uint8_t>(kRevision, kRevisionModern);
    put<uint8_t>(kClassCode + 1, 0x80);  // display controller, other
    put<uint8_t>(kClassCode + 2, 0x03);
    put<uint8_t>(kCacheLineSize, 0, 0xff);
    put<uint8_t>(kLatencyTimer, 0, 0xff);
    put<uint16_t>(kSubsystemVendorId, kVirtioVendorId);
    put<uint16_t>(kSubsystemId, kSubsystem);
    put<uint8_t>(kCapabilities, kMsixAt);
    put<uint8_t>(kInterruptLine, 0, 0xff);
    put<uint8_t>(kInterruptPin, 1);  // INTA

    put_bar(0, kBar0Size, 0, false);
    put_bar(2, kBar2Size, kBar64Bit, true);
    if (hostmem != 0) put_bar(4, hostmem, kBar64Bit | kBarPrefetchable, true);

    put<uint8_t>(kMsixAt, kCapabilityMsix);
    put<uint8_t>(kMsixAt + 1, kVirtioAt);
    put<uint16_t>(kMsixAt + 2, kMsixVectors - 1, kMsixEnable | kMsixFunctionMask);
    put<uint32_t>(kMsixAt + 4, kMsixTableOffset);    // low bits: BAR 0
    put<uint32_t>(kMsixAt + 8, kMsixPendingOffset);  // low bits: BAR 0

    size_t at = kVirtioAt;
    at = put_virtio_capability(at, kCfgCommon, 2, kCommonBlock, kBlockSize, kCapabilitySize, false);
    at = put_virtio_capability(at, kCfgIsr, 2, kIsrBlock, kBlockSize, kCapabilitySize, false);
    at = put_virtio_capability(at, kCfgDevice, 2, kDeviceBlock, kBlockSize, kCapabilitySize, false);
    put<uint32_t>(at + kCapExtra, kNotifyMultiplier);
    at = put_virtio_capability(at, kCfgNotify, 2, kNotifyBlock, kBlockSize, kCapabilitySize + 4,
                               false);
    if (hostmem != 0) {
        // struct virtio_pci_cap64: the high halves of offset and length follow.
        put<uint8_t>(at + kCapId, wire::kShmIdHostVisible);
        put<uint32_t>(at + kCapExtra, 0);
        put<uint32_t>(at + kCapExtra + 4, static_cast<uint32_t>(hostmem >> 32));
        at = put_virtio_capability(at, kCfgSharedMemory, 4, 0, static_cast<uint32_t>(hostmem),
                                   kCapabilitySize + 8, false);
    }
    window_at_ = at;
    put_virtio_capability(at, kCfgPci, 0, 0, 0, kCapabilitySize + 4, true);
    put<uint8_t>(at + kCapBar, 0, 0xff);
    put<uint32_t>(at + kCapOffset, 0, ~0u);
    put<uint32_t>(at + kCapLength, 0, ~0u);
    put<uint32_t>(at + kCapExtra, 0, ~0u);
    initial_ = bytes_;
}

void PciConfig::read(uint64_t offset, std::span<std::byte> to) const {
    std::ranges::fill(to, std::byte{0});
    if (offset >= kSize || to.empty()) return;
    std::memcpy(to.data(), bytes_.data() + offset, std::min<size_t>(to.size(), kSize - offset));
}

void PciConfig::write(uint64_t offset, std::span<const std::byte> from) {
    if (offset >= kSize) return;
    const size_t size = std::min<size_t>(from.size(), kSize - offset);
    for (size_t i = 0; i < size; ++i) {
        const std::byte mask = writable_[offset + i];
        std::byte& byte = bytes_[offset + i];
        byte = (byte & ~mask) | (from[i] & mask);
    }
}

void PciConfig::reset() {
    bytes_ = initial_;
}

bool PciConfig::msix_enabled() const {
    return (get<uint16_t>(kMsixAt + 2) & kMsixEnable) != 0;
}

bool PciConfig::intx_disabled() const {
    return (get<uint16_t>(kCommand) & kCommandIntxDisable) != 0;
}

void PciConfig::set_interrupt_status(bool asserted) {
    std::byte& status = bytes_[kStatus];
    constexpr std::byte kBit{kStatusInterrupt};
    status = asserted ? status | kBit : status & ~kBit;
}

std::optional<PciConfig::Window> PciConfig::window_access(uint64_t offset, size_t size) const {
    if (!ranges_overlap(offset, size, window_at_ + kCapExtra, 4)) return std::nullopt;
    const Window window{get<uint8_t>(window_at_ + kCapBar), get<uint32_t>(window_at_ + kCapOffset),
                        get<uint32_t>(window_at_ + kCapLength)};
    const bool size_is_right = window.length == 1 || window.length == 2 || window.length == 4;
    // 4.1.4.9.2: the offset is a multiple of the length.
    if (!size_is_right || window.offset % window.length != 0) return std::nullopt;
    return window;
}

std::span<std::byte, 4> PciConfig::window_data() {
    return std::span<std::byte, 4>(bytes_.data() + window_at_ + kCapExtra, 4);
}

}  // namespace swede::vfio_user
