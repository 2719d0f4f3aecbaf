// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "virtio/guest_memory.h"
#include "virtio/split_ring.h"

namespace swede::virtio {

/// A range of guest memory that a descriptor names.
struct GuestRange {
    uint64_t address = 0;
    uint32_t size = 0;  ///< bytes
};

/// One descriptor chain as taken from a queue: a private copy of its descriptors (single fetch).
/// Reused by pop(), so that steady state allocates nothing.
struct Chain {
    uint16_t head = 0;
    std::vector<GuestRange> readable;  ///< written by the driver: the request
    std::vector<GuestRange> writable;  ///< for the device: the response
    uint64_t readable_size = 0;        ///< bytes
    uint64_t writable_size = 0;        ///< bytes

    /// Forgets the ranges behind the first `bytes` of the response, with their memory.
    /// writable_size stays what the driver offered.
    void keep_writable(uint64_t bytes);
};

/// A split virtqueue (virtio 1.3, 2.7) with INDIRECT_DESC and EVENT_IDX, up to 1024 entries. Both
/// are always understood: QEMU's vhost-user-gpu negotiates them whatever the back end offers.
/// Device thread only. Everything in the rings is the guest's: a queue that breaks the rules turns
/// broken, is served no more, and recovers at reset.
///
/// A queue whose rings are not in guest memory for a while (a VMM that remaps RAM) or that is
/// disabled (a paused VM) has no chains to pop, and keeps what is pushed until it is served again.
class Virtqueue {
  public:
    static constexpr uint16_t kMaxSize = 1024;
    /// Bytes of request and response that a chain may hold; more breaks the queue.
    static constexpr uint64_t kMaxChainBytes = 64ull << 20;
    /// Entries of an indirect table. The specification's limit is the queue's size (2.7.5.3.1), and
    /// Linux does not keep it: virtio-gpu puts a page list or a command buffer from vmalloc there,
    /// one entry a page. So the limit is a chain of kMaxChainBytes in pages, and some more.
    static constexpr uint32_t kMaxIndirectEntries = kMaxChainBytes / 4096 + 16;

    explicit Virtqueue(GuestMemory& memory) : memory_(memory) {}

    /// A power of two up to kMaxSize.
    [[nodiscard]] Result<void> set_size(uint16_t size);
    /// Guest-physical addresses of descriptor table, available ring, used ring (aligned 16, 2, 4).
    void set_addresses(uint64_t descriptors, uint64_t available, uint64_t used);
    /// Checks that each ring lies in one region of guest memory; only an enabled queue is served.
    /// Chains that were taken before a disable() are still owed, and those pushed meanwhile are
    /// given back now: serve the queue after enabling it, as after a notification.
    [[nodiscard]] Result<void> enable(bool event_idx);
    void disable() { enabled_ = false; }
    /// Back to the state at construction; chains that are out may not be pushed any more.
    void reset();

    [[nodiscard]] uint16_t size() const { return size_; }
    [[nodiscard]] bool enabled() const { return enabled_; }
    [[nodiscard]] bool broken() const { return broken_; }
    [[nodiscard]] uint64_t descriptors() const { return descriptors_; }
    [[nodiscard]] uint64_t available() const { return available_; }
    [[nodiscard]] uint64_t used() const { return used_; }
    /// Index of the next available entry to take: vhost-user's vring base.
    [[nodiscard]] uint16_t next_available() const { return next_available_; }
    void set_next_available(uint16_t index);

    /// Takes the next chain. False: none is there, and the driver will notify when one comes, if
    /// notifications are on. Pop until then. An Error breaks the queue.
    [[nodiscard]] Result<bool> pop(Chain& chain);
    /// Copies `to.size()` bytes of the request, from `offset` of the chain's readable part.
    [[nodiscard]] Result<void> read(const Chain& chain, uint64_t offset, std::span<std::byte> to);
    /// Gives a chain back with a response at the start of its writable part. What does not fit is
    /// cut, and where memory has gone there is none. What is kept for later touches no memory
    /// before: another system may have been started there. Fails for a chain that is not out, so
    /// none completes twice.
    [[nodiscard]] Result<void> push(const Chain& chain, std::span<const std::byte> response);
    /// Whether the driver wants an interrupt for what was pushed since the last call
    /// (2.7.7, 2.7.10).
    [[nodiscard]] bool take_interrupt();

    /// Tells the driver not to notify while we drain, or to notify again. After turning them on,
    /// look for entries once more: one may have come in between.
    void set_notifications(bool wanted);

    /// True when the available ring and the descriptor table are all zero although the driver
    /// notified: the VMM's guest RAM is private (`share=on` is missing).
    [[nodiscard]] bool looks_unshared();

  private:
    struct Rings {
        std::byte* descriptors = nullptr;
        std::byte* available = nullptr;
        std::byte* used = nullptr;
    };
    struct Parked {
        uint16_t head = 0;
        std::vector<GuestRange> writable;  ///< where `response` is to be written
        std::vector<std::byte> response;
    };

    [[nodiscard]] Result<Rings> find_rings() const;
    [[nodiscard]] bool rings_present();
    [[nodiscard]] Result<void> take_back(uint16_t head);
    [[nodiscard]] Result<uint32_t> write(std::span<const GuestRange> writable,
                                         std::span<const std::byte> response);
    void write_and_publish(uint16_t head, std::span<const GuestRange> writable,
                           std::span<const std::byte> response);
    void publish(uint16_t head, uint32_t written);
    void unpark();
    void arm();
    template <typename... Args>
    [[nodiscard]] std::unexpected<Error> break_queue(fmt::format_string<Args...> why,
                                                     Args&&... args);
    [[nodiscard]] Result<void> take_chain(uint16_t head, Chain& chain);
    [[nodiscard]] Result<void> take_indirect(const Descriptor& table, Chain& chain);
    [[nodiscard]] Result<void> take_range(const Descriptor& descriptor, Chain& chain);

    GuestMemory& memory_;
    uint64_t descriptors_ = 0;
    uint64_t available_ = 0;
    uint64_t used_ = 0;
    Rings rings_;              ///< in this process; right while `generation_` is the memory's
    uint64_t generation_ = 0;  ///< of the memory map when `rings_` was looked up; 0: never
    uint16_t size_ = 0;
    uint16_t next_available_ = 0;
    uint16_t seen_available_ = 0;  ///< the driver's index as last read: all before it may be taken
    uint16_t next_used_ = 0;
    uint16_t signalled_used_ = 0;  ///< next_used_ at the last take_interrupt()
    uint16_t out_count_ = 0;       ///< chains taken and not given back
    bool signalled_ = false;       ///< false until the first take_interrupt() after enable()
    bool wants_notifications_ = true;
    bool armed_ = false;  ///< the driver can see that it must notify for next_available_
    bool event_idx_ = false;
    bool enabled_ = false;
    bool broken_ = false;
    std::bitset<kMaxSize> out_;      ///< heads of chains taken and not given back
    std::vector<Parked> parked_;     ///< pushed while the rings could not be written
    std::vector<Descriptor> table_;  ///< private copy of an indirect table
};

}  // namespace swede::virtio
