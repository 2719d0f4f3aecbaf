// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/file_closer.h"
#include "transports/vhost_user/memory_table.h"
#include "transports/vhost_user/protocol.h"
#include "virtio/virtqueue.h"

namespace swede::vhost_user {

/// The rings as the front end configures them, each on its way from stopped to running
/// ("Ring states" of the specification): sizes, user addresses, base, and the kick, call and error
/// file descriptors. A ring runs while it is started (it has a kick fd), enabled and addressed, and
/// nothing holds the rings. Owned by the session; device thread.
class Vrings {
  public:
    /// Told that a running ring may have entries.
    using Process = std::function<void(uint16_t index)>;

    Vrings(EventLoop& loop, std::span<virtio::Virtqueue> queues, const MemoryTable& memory,
           Process process);

    [[nodiscard]] Result<void> set_size(uint32_t index, uint32_t size);
    [[nodiscard]] Result<void> set_addresses(const VringAddress& address);
    [[nodiscard]] Result<void> set_base(uint32_t index, uint32_t base);
    /// Starts the ring.
    [[nodiscard]] Result<void> set_kick(uint32_t index, UniqueFd fd);
    /// An empty fd: the front end polls, or does not want to know.
    [[nodiscard]] Result<void> set_call(uint32_t index, UniqueFd fd);
    [[nodiscard]] Result<void> set_error(uint32_t index, UniqueFd fd);
    [[nodiscard]] Result<void> set_enabled(uint32_t index, bool enabled);
    void enable_all();
    /// Stops the ring; its base is the next available entry that it would have taken.
    [[nodiscard]] Result<uint16_t> stop(uint32_t index);

    /// From the next start of a ring on.
    void set_event_idx(bool event_idx) { event_idx_ = event_idx; }
    /// The memory table has changed: rings may have got memory, lost it or been moved.
    void memory_changed();

    /// True when a stopped ring was at another entry than `base`, which is 0, or is broken: the
    /// driver began anew (QEMU does not signal a reset of its generic device, but pausing keeps the
    /// base).
    [[nodiscard]] bool starts_anew(uint32_t index, uint32_t base) const;

    /// Between hold() and the matching release() no ring starts or is processed. They nest.
    void hold() { ++holds_; }
    void release();
    /// The device's queues were reset: running rings start over once nothing holds them.
    void queues_were_reset();
    /// RESET_DEVICE: every ring stopped, disabled and without addresses. The call and error fds
    /// stay: QEMU sends them once.
    void reset();

    void interrupt(uint16_t index);
    /// Signals the ring's error fd, if it has one.
    void report_error(uint16_t index);
    [[nodiscard]] bool running(uint16_t index) const { return rings_[index].running; }
    [[nodiscard]] bool any_started() const;

  private:
    struct Ring {
        uint16_t size = 0;
        std::optional<VringAddress> addresses;  ///< user addresses
        uint16_t base = 0;                      ///< of the next start
        uint16_t stopped_at = 0;                ///< the last stop's base
        PeerFile kick;                          ///< the ring is started
        PeerFile call;
        PeerFile error;
        EventLoop::Watch watch;  ///< of `kick`, which it must not outlive
        bool enabled = false;
        bool running = false;
    };
    /// Where a ring lies in guest memory.
    struct Placement {
        uint64_t descriptors;
        uint64_t available;
        uint64_t used;
    };

    [[nodiscard]] Result<Ring*> ring(uint32_t index);
    [[nodiscard]] Result<Placement> place(const VringAddress& addresses, uint16_t size) const;
    void start_if_ready(uint16_t index);
    void suspend(uint16_t index);
    void drop_kick(Ring& ring);
    void on_kick(uint16_t index, uint32_t events);
    void process(uint16_t index);

    EventLoop& loop_;
    std::span<virtio::Virtqueue> queues_;
    const MemoryTable& memory_;
    Process process_;
    std::vector<Ring> rings_;  ///< one for each queue
    uint32_t holds_ = 0;
    bool event_idx_ = false;
};

}  // namespace swede::vhost_user
