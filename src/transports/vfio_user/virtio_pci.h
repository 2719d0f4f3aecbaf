// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "transports/vfio_user/interrupts.h"
#include "transports/vfio_user/pci_config.h"
#include "virtio/device.h"
#include "virtio/guest_memory.h"

namespace swede::vfio_user {

/// The registers of BAR 2: common configuration, ISR, device configuration and doorbells of a
/// modern virtio PCI function (virtio 1.3, 4.1.4 and 2.1). Owned by the session, on the device
/// thread.
///
/// A write only says which queues have work; the session answers the client first and then calls
/// serve(), since a vCPU waits for the answer and not for the work.
class VirtioPci : public virtio::DeviceHost {
  public:
    static constexpr size_t kMaxQueues = 2;
    using QueueMask = uint32_t;  ///< bit n: queue n

    VirtioPci(virtio::GuestMemory& memory, PciConfig& config, Interrupts& interrupts);

    /// The device that the registers drive; before any other call. It is used until detach().
    void attach(virtio::Device& device);
    void detach();

    /// Any offset and size inside BAR 2.
    void read(uint64_t offset, std::span<std::byte> to);
    /// Returns the queues to serve once the client has its answer.
    [[nodiscard]] QueueMask write(uint64_t offset, std::span<const std::byte> from);
    void serve(QueueMask queues);

    /// Device reset. `done` runs when the device is as at start; calls that overlap all wait for
    /// the same reset. Until then the status register shows what it was and writes are dropped.
    void reset(std::move_only_function<void()> done);
    [[nodiscard]] bool resetting() const { return !reset_waiters_.empty(); }

    /// The driver may have changed the command register.
    void update_interrupt_line();

    void queue_interrupt(uint16_t queue) override;
    void config_interrupt() override;
    void queue_broken(uint16_t queue) override;

  private:
    struct Field;
    static const Field kFields[];

    /// What the driver set for a queue; the device's queue takes it over when it is enabled.
    struct Queue {
        uint16_t size = 0;
        uint16_t vector = 0xffff;
        uint64_t descriptors = 0;
        uint64_t available = 0;
        uint64_t used = 0;
    };

    [[nodiscard]] uint64_t get(const Field& field);
    void set(const Field& field, uint64_t value, QueueMask& work);
    void read_common(uint32_t offset, std::span<std::byte> to);
    void write_common(uint32_t offset, std::span<const std::byte> from, QueueMask& work);
    void set_status(uint8_t value, QueueMask& work);
    void enable_queue(uint16_t index, QueueMask& work);
    void explain(const Queue& queue, const Error& error);
    [[nodiscard]] bool is_unreadable(uint64_t address) const;
    void needs_reset();
    void interrupt(uint16_t vector, uint8_t isr);
    void set_isr(uint8_t isr);
    void clear_registers();
    [[nodiscard]] uint64_t offered_features() const;
    [[nodiscard]] Queue* selected();

    virtio::GuestMemory& memory_;
    PciConfig& config_;
    Interrupts& interrupts_;
    virtio::Device* device_ = nullptr;

    uint32_t device_feature_select_ = 0;
    uint32_t driver_feature_select_ = 0;
    uint64_t driver_features_ = 0;
    uint16_t config_vector_ = 0xffff;
    uint8_t status_ = 0;
    uint8_t config_generation_ = 0;
    uint16_t queue_select_ = 0;
    uint8_t isr_ = 0;
    std::array<Queue, kMaxQueues> queues_{};
    bool told_unshared_ = false;  ///< the missing share=on was named

    std::vector<std::move_only_function<void()>> reset_waiters_;
    std::shared_ptr<VirtioPci*> self_;  ///< null inside once we are gone: resets may end late
};

}  // namespace swede::vfio_user
