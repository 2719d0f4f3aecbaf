// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "virtio/virtqueue.h"

namespace swede::virtio {

// virtio 1.3, section 6, and 2.1 (device status).
inline constexpr uint64_t kFeatureIndirectDesc = uint64_t{1} << 28;
inline constexpr uint64_t kFeatureEventIdx = uint64_t{1} << 29;
inline constexpr uint64_t kFeatureVersion1 = uint64_t{1} << 32;

/// What a transport does for a device. Device thread.
class DeviceHost {
  public:
    virtual ~DeviceHost() = default;
    /// The used ring of the queue has new entries that the driver wants to hear of.
    virtual void queue_interrupt(uint16_t queue) = 0;
    /// The configuration space has changed (5.7.5: events_read).
    virtual void config_interrupt() = 0;
    /// The driver broke the rules of the queue, which is served no more until a reset: once for
    /// each time (2.1, DEVICE_NEEDS_RESET).
    virtual void queue_broken(uint16_t queue) = 0;
};

/// A virtio device as a transport drives it. Device thread. Destroying it ends the guest's state.
class Device {
  public:
    virtual ~Device() = default;

    /// Device-specific feature bits (0 to 23); the transport adds its own.
    [[nodiscard]] virtual uint64_t features() const = 0;
    /// The bits that the driver took, the transport's included.
    virtual void set_features(uint64_t features) = 0;
    [[nodiscard]] virtual std::span<Virtqueue> queues() = 0;

    /// Bytes of the configuration space from `offset`; past the end reads as zero.
    virtual void read_config(uint32_t offset, std::span<std::byte> to) = 0;
    virtual void write_config(uint32_t offset, std::span<const std::byte> from) = 0;

    /// The driver notified the queue, or a queue was enabled and may hold entries. Serves it
    /// without blocking.
    virtual void process_queue(uint16_t queue) = 0;

    /// The VMM has stopped all queues, or started one again: in between the device begins no write
    /// to guest memory by itself (vhost-user, "Suspended device state").
    virtual void set_paused(bool paused) = 0;

    /// Back to the state at start (decision 12): queues disabled, nothing of the guest left. `done`
    /// runs on the device thread when a renderer, if any, has let go: at once, or within a second.
    virtual void reset(std::move_only_function<void()> done) = 0;
};

}  // namespace swede::virtio
