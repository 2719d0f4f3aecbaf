// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "virtio_gpu/command.h"

namespace swede::virtio_gpu {

class Processor;

/// What a handler has done with its command when it returns without an Error.
enum class Progress : uint8_t {
    kDone,     ///< the response is set; without one it is RESP_OK_NODATA
    kPending,  ///< Processor::finish() is called later, once
};

using Handler = Result<Progress> (*)(Processor& processor, Command& command);

/// A field of the request that is not there.
inline constexpr uint8_t kNoField = 0xff;

/// One command of virtio 1.3, 5.7.6.7. The table drives dispatch, feature bits, the debug log and
/// the fuzzer: a command without a row is unknown to all of them.
struct CommandInfo {
    uint32_t type = 0;
    const char* name = nullptr;
    uint16_t queue = wire::kControlQueue;  ///< or kCursorQueue
    uint64_t feature = 0;                  ///< the bit that must be negotiated
    uint32_t request_size = 0;             ///< bytes at least after the header
    /// Bytes at least that the driver must leave room for, with the header.
    uint32_t response_size = sizeof(wire::ControlHeader);
    Handler handler = nullptr;

    // What it is serialised on.
    uint8_t resource = kNoField;  ///< offset of resource_id in the request, bytes
    uint8_t scanout = kNoField;   ///< offset of scanout_id in the request, bytes
    bool context = false;         ///< header.ctx_id

    bool may_wait = false;           ///< its handler may answer later: counted before it runs
    bool fence_of_renderer = false;  ///< its fence is the renderer's to report
    bool ends_context = false;       ///< runs also for a context that holds its share of the queue
};

/// All commands, by type.
[[nodiscard]] std::span<const CommandInfo> command_table();
/// Null when the type is unknown.
[[nodiscard]] const CommandInfo* find_command(uint32_t type);
/// The feature bits that rows of the table need: what the device could offer (decision 13).
[[nodiscard]] uint64_t features_with_handlers();

}  // namespace swede::virtio_gpu
