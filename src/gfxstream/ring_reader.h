// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/budget.h"
#include "base/result.h"

namespace swede::gfxstream {

/// A command of the guest in private memory.
struct Packet {
    uint32_t opcode = 0;
    std::span<const std::byte> body;  ///< what follows opcode and size
};

/// Takes packets out of a ring's memory, which is hostile: every word is fetched once, then
/// checked; bytes are copied out before they are looked at. No thread and no wait in it: step() is
/// called as long as it makes progress. Its memory holds what has arrived of a packet, so a size
/// that is only announced costs nothing, and is charged to the budget. Owned by a Ring.
class RingReader {
  public:
    static constexpr size_t kMaxPacket = size_t{64} << 20;  ///< bytes, header included
    static constexpr size_t kKept = size_t{1} << 20;  ///< bytes kept when everything is consumed

    enum class Step : uint8_t {
        kIdle,      ///< the guest has written nothing that is new
        kProgress,  ///< bytes were taken, no packet is whole yet
        kPacket,    ///< packet() is the next one
    };

    /// `memory`: of ring_layout::kSize bytes; it outlives the reader. `budget` may be null: tests.
    RingReader(std::byte* memory, std::shared_ptr<Budget> budget)
        : memory_(memory), budget_(std::move(budget)) {}

    /// An Error is the end: the guest broke the protocol, or its budget.
    [[nodiscard]] Result<Step> step();
    /// Until the next step().
    [[nodiscard]] const Packet& packet() const { return packet_; }
    /// Whether step() would take something from the guest.
    [[nodiscard]] bool has_input() const;
    /// Whether the guest has ever written here. Before, it may still be setting up its side.
    [[nodiscard]] bool has_spoken() const {
        return descriptors_read_ != 0 || large_read_ != 0 || has_input();
    }
    /// Consumes all that is there and forgets it: for a guest that is only being answered.
    void discard_input();
    [[nodiscard]] size_t capacity() const { return capacity_; }  ///< bytes held

  private:
    /// Bytes of a type 3 request that can be taken now.
    [[nodiscard]] uint32_t large_available() const;
    [[nodiscard]] Result<bool> take_packet();
    [[nodiscard]] Result<void> take_large(uint32_t size);
    [[nodiscard]] Result<void> take_described();
    /// Where the next `size` bytes of input go.
    [[nodiscard]] Result<std::byte*> room_for(size_t size);
    void received(size_t size);

    std::byte* memory_;
    std::shared_ptr<Budget> budget_;
    // Ours: what the guest writes to its copy changes nothing.
    uint32_t descriptors_read_ = 0;
    uint32_t large_read_ = 0;

    /// Input that was taken and is not consumed: [begin_, end_).
    std::unique_ptr<std::byte[]> input_;
    Budget::Charge charge_;  ///< of input_, if there is a budget
    size_t capacity_ = 0;
    size_t begin_ = 0;
    size_t end_ = 0;
    uint32_t client_flags_left_ = sizeof(uint32_t);  ///< bytes of what a stream begins with
    Packet packet_;
};

}  // namespace swede::gfxstream
