// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace swede::vfio_user {

// Where things lie in the function's BARs. BAR 4 is the host-visible window.
inline constexpr uint32_t kBar0Size = 0x1000;
inline constexpr uint32_t kMsixTableOffset = 0;
inline constexpr uint32_t kMsixPendingOffset = 0x800;
inline constexpr uint16_t kMsixVectors = 3;  ///< Linux asks for config, control queue, cursor queue

inline constexpr uint32_t kBar2Size = 0x4000;
inline constexpr uint32_t kBlockSize = 0x1000;  ///< each structure of BAR 2 has a page of its own
inline constexpr uint32_t kCommonBlock = 0x0000;
inline constexpr uint32_t kIsrBlock = 0x1000;
inline constexpr uint32_t kDeviceBlock = 0x2000;
inline constexpr uint32_t kNotifyBlock = 0x3000;
inline constexpr uint32_t kNotifyMultiplier = 4;  ///< bytes from one queue's doorbell to the next

/// PCI configuration space of a modern virtio-gpu function (virtio 1.3, 4.1): bytes and the mask of
/// those that a driver may write. Pure: it performs nothing; the session asks it what is enabled.
/// BARs answer sizing as hardware does, although QEMU emulates them itself.
class PciConfig {
  public:
    static constexpr size_t kSize = 256;

    /// `hostmem` is the size of BAR 4: a power of two of at least a page, or 0 for no window.
    explicit PciConfig(uint64_t hostmem);

    /// Any offset, size and alignment; past the end reads as zero and writes are dropped.
    void read(uint64_t offset, std::span<std::byte> to) const;
    void write(uint64_t offset, std::span<const std::byte> from);
    void reset();

    [[nodiscard]] bool msix_enabled() const;
    [[nodiscard]] bool intx_disabled() const;
    /// The interrupt bit of the status register.
    void set_interrupt_status(bool asserted);

    /// The access that VIRTIO_PCI_CAP_PCI_CFG asks for (4.1.4.9): through its four bytes of data, a
    /// driver reaches a BAR without mapping it.
    struct Window {
        uint32_t bar;
        uint32_t offset;
        uint32_t length;  ///< 1, 2 or 4 bytes
    };
    /// The window, when an access of this range touches its data and what it asks for is possible.
    [[nodiscard]] std::optional<Window> window_access(uint64_t offset, size_t size) const;
    [[nodiscard]] std::span<std::byte, 4> window_data();

  private:
    template <typename T>
    void put(size_t offset, T value, T writable = 0);
    template <typename T>
    [[nodiscard]] T get(size_t offset) const;
    void put_bar(size_t index, uint64_t size, uint32_t type, bool wide);
    size_t put_virtio_capability(size_t at, uint8_t type, uint8_t bar, uint32_t offset,
                                 uint32_t length, size_t size, bool last);

    std::array<std::byte, kSize> bytes_{};
    std::array<std::byte, kSize> writable_{};  ///< bits that a driver may change
    std::array<std::byte, kSize> initial_{};
    size_t window_at_ = 0;  ///< offset of the PCI_CFG capability
};

}  // namespace swede::vfio_user
