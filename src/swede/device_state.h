// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "base/result.h"
#include "display/png_sink.h"
#include "swede/device_options.h"
#include "virtio_gpu/gpu_device.h"

namespace swede {

/// The running device as `swede control` sees and changes it: the device of the present client if
/// there is one, and what the next client's device starts with. Owned by the program, on the device
/// thread.
class DeviceState {
  public:
    /// `where` is the socket, for people. The sink outlives the state.
    DeviceState(const DeviceOptions& options, std::string where,
                const virtio_gpu::RendererFactory& renderers, display::PngSink& pictures);

    /// What transports make devices with. Outputs change with set_output().
    [[nodiscard]] const virtio_gpu::Options& device_options() const { return device_options_; }
    /// The device of the present client; null when it goes.
    void set_device(virtio_gpu::GpuDevice* device) { device_ = device; }

    [[nodiscard]] std::span<const virtio_gpu::OutputSize> outputs() const;
    [[nodiscard]] Result<void> resize(uint32_t output, uint32_t width, uint32_t height);
    [[nodiscard]] Result<void> set_connected(uint32_t output, bool connected);
    void screenshot(uint32_t output, display::PngSink::ScreenshotDone done);
    /// What `swede control info` prints.
    [[nodiscard]] nlohmann::json info() const;

  private:
    [[nodiscard]] Result<void> check_output(uint32_t output) const;
    [[nodiscard]] Result<void> set_output(uint32_t output, const virtio_gpu::OutputSize& size);

    const Transport transport_;
    const uint64_t hostmem_;  ///< bytes
    const std::string where_;
    virtio_gpu::Options device_options_;
    display::PngSink& pictures_;
    virtio_gpu::GpuDevice* device_ = nullptr;
};

}  // namespace swede
