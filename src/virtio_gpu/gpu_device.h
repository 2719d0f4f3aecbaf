// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/event_loop.h"
#include "base/result.h"
#include "rutabaga/display_sink.h"
#include "virtio/device.h"
#include "virtio_gpu/host_visible_window.h"
#include "virtio_gpu/options.h"

namespace swede::virtio_gpu {

/// What `swede control info` and the tests' census read.
struct Census {
    size_t resources = 0;
    size_t contexts = 0;
    size_t mappings = 0;
    size_t pending_commands = 0;
    size_t pending_fences = 0;
    uint64_t host_bytes = 0;  ///< besides the window's
    uint64_t commands = 0;    ///< served since the device was created
};

/// The virtio-gpu device: takes commands from the two queues, runs them on a rutabaga::Gpu, answers
/// in order of their fences. One per client of a transport; lives on the loop's thread. The memory,
/// window, host and sink belong to the transport and the program, and outlive it.
class GpuDevice : public virtio::Device {
  public:
    /// Fails when the renderers cannot be started.
    [[nodiscard]] static Result<std::unique_ptr<GpuDevice>> create(
        EventLoop& loop, const Options& options, const DoorAbilities& door,
        virtio::GuestMemory& memory, HostVisibleWindow& window, virtio::DeviceHost& host,
        rutabaga::DisplaySink& sink);

    // Outputs: size requests of users and sinks. Tells the guest by a config event (5.7.5).
    [[nodiscard]] virtual Result<void> set_output(uint32_t scanout, const OutputSize& size) = 0;
    [[nodiscard]] virtual std::span<const OutputSize> outputs() const = 0;
    [[nodiscard]] virtual Census census() const = 0;
};

/// What a transport needs to make devices, one per client. Owned by the program.
struct DeviceParts {
    EventLoop& loop;
    const Options& options;
    rutabaga::DisplaySink& sink;
    /// Told of the device of the present client, and with null before it dies.
    std::function<void(GpuDevice*)> device_changed = [](GpuDevice*) {};
};

}  // namespace swede::virtio_gpu
