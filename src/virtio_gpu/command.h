// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/budget.h"
#include "base/bytes.h"
#include "virtio/virtqueue.h"
#include "virtio_gpu/command_scheduler.h"
#include "wire/virtio_gpu.h"

namespace swede::virtio_gpu {

struct CommandInfo;

/// Bytes of the largest fixed request after its header; asserted against the table.
inline constexpr size_t kMaxRequestSize = 72;

/// One command from the time it is taken from a queue until it is answered. Owned by the
/// Processor's pool and reused, so that its buffers keep their memory. Device thread.
struct Command : Scheduled {
    virtio::Chain chain;  ///< where its tail is read and its answer goes
    uint16_t queue = 0;
    wire::ControlHeader header{};       ///< private copy
    const CommandInfo* info = nullptr;  ///< null: a type that we do not know
    std::array<std::byte, kMaxRequestSize>
        fixed{};                      ///< private copy of the request after the header
    std::vector<std::byte> response;  ///< header and payload, all initialised

    uint64_t ticket = 0;  ///< of its fence until that had its turn; 0: not fenced, or not tracked
    bool ready = false;   ///< executed: only its fence's turn is awaited
    bool renderer_fence = false;  ///< a renderer reports its fence
    bool retained = false;        ///< counted as pending
    bool over_share = false;      ///< refused: its context holds its share of the queue
    Budget::Charge pending_charge;
    Budget::Charge chain_charge;  ///< of a long chain's ranges, while it waits
    Budget::Charge fence_charge;

    /// The request after the header. The dispatcher has checked that it was long enough.
    template <WireStruct T>
    [[nodiscard]] T request() const {
        static_assert(sizeof(T) <= kMaxRequestSize);
        T value;
        std::memcpy(&value, fixed.data(), sizeof(T));
        return value;
    }

    /// Sets a response with a payload; its header but the type is filled in when it is sent.
    template <WireStruct T>
    void respond(uint32_t type, T value) {
        value.header = {};
        value.header.type = type;
        response.resize(sizeof(T));
        std::memcpy(response.data(), &value, sizeof(T));
    }
    void respond(uint32_t type) {
        wire::ControlHeader only{};
        only.type = type;
        response.resize(sizeof(only));
        std::memcpy(response.data(), &only, sizeof(only));
    }
};

}  // namespace swede::virtio_gpu
