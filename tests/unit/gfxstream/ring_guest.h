// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>
#include <vector>

#include "gfxstream/ring_layout.h"

namespace swede::gfxstream::testing {

/// The guest's end of a ring, as Mesa 25.0.7's AddressSpaceStream.cpp does it. A wait that does not
/// end throws, so that a test fails instead of hanging.
class RingGuest {
  public:
    RingGuest(std::byte* memory, std::function<void()> ping)
        : memory_(memory), ping_(std::move(ping)) {}

    /// What the guest does once the CONTEXT_CREATE is done.
    void set_up() {
        using namespace ring_layout;
        for (const uint64_t ring : {kToHost, kToHostLarge, kFromHostLarge}) {
            store(memory_, ring + kWritePosition, 0);
            store(memory_, ring + kReadPosition, 0);
        }
        store(memory_, kToHost + kState, 0);
        store(memory_, kConfigTransferMode, 1);
        const uint32_t flags = 0;
        write(std::as_bytes(std::span(&flags, 1)));
    }

    /// Type 1: through steps of the buffer.
    void write(std::span<const std::byte> bytes) {
        using namespace ring_layout;
        while (!bytes.empty()) {
            const auto part = bytes.first(std::min<size_t>(bytes.size(), kFlushInterval));
            wait_until([&] { return outstanding() < 3 * sizeof(Descriptor); });
            std::memcpy(memory_ + kBuffer + step_ * kFlushInterval, part.data(), part.size());
            const Descriptor descriptor{step_ * kFlushInterval, static_cast<uint32_t>(part.size())};
            const uint32_t at = load(memory_, kToHost + kWritePosition);
            std::memcpy(memory_ + kToHost + kDescriptors + (at & (kDescriptorsSize - 1)),
                        &descriptor, sizeof(descriptor));
            store(memory_, kToHost + kWritePosition, at + sizeof(descriptor));
            step_ = (step_ + 1) % (kBufferSize / kFlushInterval);
            bytes = bytes.subspan(part.size());
            ping_if_needed();
        }
    }

    /// Type 3: through the large ring. `chunk` is at most what the ring holds.
    void write_large(std::span<const std::byte> bytes,
                     uint32_t chunk = ring_layout::kBufferSize / 4) {
        using namespace ring_layout;
        wait_until([&] { return outstanding() == 0 && large_used() == 0; });
        store(memory_, kConfigTransferSize, static_cast<uint32_t>(bytes.size()));
        store(memory_, kConfigTransferMode, 3);
        while (!bytes.empty()) {
            const auto part = bytes.first(std::min<size_t>(bytes.size(), chunk));
            wait_until([&] { return kBufferSize - 1 - large_used() >= part.size(); });
            const uint32_t at = load(memory_, kToHostLarge + kWritePosition);
            for (size_t i = 0; i < part.size(); ++i)
                memory_[kBuffer + ((at + i) & (kBufferSize - 1))] = part[i];
            store(memory_, kToHostLarge + kWritePosition, at + static_cast<uint32_t>(part.size()));
            bytes = bytes.subspan(part.size());
            ping_if_needed();
        }
        store(memory_, kConfigTransferMode, 1);
    }

    /// Reads a reply whole.
    std::vector<std::byte> read(size_t size) {
        using namespace ring_layout;
        std::vector<std::byte> reply(size);
        for (size_t done = 0; done < size;) {
            uint32_t available = 0;
            wait_until([&] { return (available = readable()) != 0; });
            const size_t part = std::min<size_t>(available, size - done);
            const uint32_t at = load(memory_, kFromHostLarge + kReadPosition);
            // A lost context's renderer writes while we read.
            for (size_t i = 0; i < part; ++i)
                __atomic_load(memory_ + kBuffer + ((at + i) & (kBufferSize - 1)), &reply[done + i],
                              __ATOMIC_RELAXED);
            store(memory_, kFromHostLarge + kReadPosition, at + static_cast<uint32_t>(part));
            done += part;
        }
        return reply;
    }

    [[nodiscard]] uint32_t readable() const {
        using namespace ring_layout;
        return (load(memory_, kFromHostLarge + kWritePosition) -
                load(memory_, kFromHostLarge + kReadPosition)) &
               (kBufferSize - 1);
    }
    void wait_until_drained() {
        wait_until([&] { return outstanding() == 0 && large_used() == 0; });
    }
    [[nodiscard]] bool in_error() const {
        return ring_layout::load(memory_, ring_layout::kConfigInError) == 1;
    }
    [[nodiscard]] bool must_notify() const {
        return ring_layout::load(memory_, ring_layout::kToHost + ring_layout::kState) == 0;
    }
    [[nodiscard]] int pings() const { return pings_; }

    static void wait_until(const std::function<bool()>& condition) {
        const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (!condition()) {
            if (std::chrono::steady_clock::now() > limit)
                throw std::runtime_error("The host does not do what the guest waits for.");
            ::sched_yield();
        }
    }

  private:
    [[nodiscard]] uint32_t outstanding() const {
        using namespace ring_layout;
        return load(memory_, kToHost + kWritePosition) - load(memory_, kToHost + kReadPosition);
    }
    [[nodiscard]] uint32_t large_used() const {
        using namespace ring_layout;
        return load(memory_, kToHostLarge + kWritePosition) -
               load(memory_, kToHostLarge + kReadPosition);
    }
    void ping_if_needed() {
        using namespace ring_layout;
        if (load(memory_, kToHost + kState) == static_cast<uint32_t>(HostState::kRendering)) return;
        ++pings_;
        ping_();
    }

    std::byte* memory_;
    std::function<void()> ping_;
    uint32_t step_ = 0;
    int pings_ = 0;
};

/// A packet: opcode, size, `words` (the number first, for commands that have one), then zeroes up
/// to `size` bytes.
inline std::vector<std::byte> packet(uint32_t opcode, const std::vector<uint32_t>& words,
                                     size_t size = 0) {
    size = std::max(size, (2 + words.size()) * sizeof(uint32_t));
    std::vector<std::byte> bytes(size);
    const auto put = [&](size_t index, uint32_t word) {
        std::memcpy(bytes.data() + index * sizeof(word), &word, sizeof(word));
    };
    put(0, opcode);
    put(1, static_cast<uint32_t>(size));
    for (size_t i = 0; i < words.size(); ++i) put(2 + i, words[i]);
    return bytes;
}

}  // namespace swede::gfxstream::testing
