// SPDX-License-Identifier: Apache-2.0
#include "swede/device_state.h"

#include <dirent.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "swede/version.h"
#include "wire/virtio_gpu.h"

namespace swede {
namespace {

using virtio_gpu::OutputSize;

struct NamedFeature {
    uint64_t bit;
    const char* name;
};
constexpr std::array<NamedFeature, 5> kFeatures{{
    {wire::kFeatureVirgl, "VIRGL"},
    {wire::kFeatureEdid, "EDID"},
    {wire::kFeatureResourceUuid, "RESOURCE_UUID"},
    {wire::kFeatureResourceBlob, "RESOURCE_BLOB"},
    {wire::kFeatureContextInit, "CONTEXT_INIT"},
}};

struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
};

/// Entries of a folder of /proc/self, without "." and ".."; 0 when it cannot be read.
size_t count_entries(const char* path) {
    const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(path));
    if (!directory) return 0;
    size_t count = 0;
    while (const dirent* const entry = ::readdir(directory.get()))
        if (entry->d_name[0] != '.') ++count;
    return count;
}

}  // namespace

DeviceState::DeviceState(const DeviceOptions& options, std::string where,
                         const virtio_gpu::RendererFactory& renderers, display::PngSink& pictures)
    : transport_(options.transport),
      hostmem_(options.transport == Transport::kVhostUserGpu ? 0 : options.hostmem),
      where_(std::move(where)),
      device_options_{options.outputs, options.limits, renderers},
      pictures_(pictures) {}

std::span<const OutputSize> DeviceState::outputs() const {
    return device_ != nullptr ? device_->outputs() : device_options_.outputs;
}

Result<void> DeviceState::check_output(uint32_t output) const {
    if (output < outputs().size()) return {};
    return fail(ErrorCode::kInvalidScanout, "There is no output {}; the device has 0 to {}.",
                output, outputs().size() - 1);
}

Result<void> DeviceState::set_output(uint32_t output, const OutputSize& size) {
    if (device_ != nullptr) SWEDE_TRY(device_->set_output(output, size));
    device_options_.outputs[output] = size;  // the next client finds it so
    return {};
}

Result<void> DeviceState::resize(uint32_t output, uint32_t width, uint32_t height) {
    SWEDE_TRY(check_output(output));
    OutputSize size = outputs()[output];
    size.width = width;
    size.height = height;
    return set_output(output, size);
}

Result<void> DeviceState::set_connected(uint32_t output, bool connected) {
    SWEDE_TRY(check_output(output));
    OutputSize size = outputs()[output];
    size.connected = connected;
    return set_output(output, size);
}

void DeviceState::screenshot(uint32_t output, display::PngSink::ScreenshotDone done) {
    if (auto checked = check_output(output); !checked) {
        done(std::unexpected(std::move(checked).error()));
        return;
    }
    pictures_.screenshot(output, std::move(done));
}

nlohmann::json DeviceState::info() const {
    nlohmann::json info{
        {"version", kVersion},
        {"process", ::getpid()},
        {"transport", name_of(transport_)},
        {"socket", where_},
        {"hostmem", hostmem_},
        {"client_connected", device_ != nullptr},
        {"outputs", nlohmann::json::array()},
    };
    for (const OutputSize& output : outputs())
        info["outputs"].push_back(
            {{"width", output.width}, {"height", output.height}, {"connected", output.connected}});
    virtio_gpu::Census census;
    if (device_ != nullptr) {
        census = device_->census();
        const uint64_t features = device_->features();
        info["features"] = nlohmann::json::array();
        for (const NamedFeature& feature : kFeatures)
            if ((features & feature.bit) != 0) info["features"].push_back(feature.name);
    }
    const size_t files = count_entries("/proc/self/fd");
    info["census"] = {
        {"resources", census.resources},
        {"contexts", census.contexts},
        {"mappings", census.mappings},
        {"pending_commands", census.pending_commands},
        {"pending_fences", census.pending_fences},
        {"host_bytes", census.host_bytes},
        {"commands", census.commands},
        {"files", files == 0 ? 0 : files - 1},  // without the one that is counting
        {"threads", count_entries("/proc/self/task")},
    };
    return info;
}

}  // namespace swede
