// SPDX-License-Identifier: Apache-2.0
#include "swede/renderer_verb.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/unix_socket.h"
#include "gfxstream/vulkan/heap.h"
#include "gfxstream/vulkan/open_renderer.h"
#include "renderer_process/child_process.h"
#include "renderer_process/client.h"
#include "renderer_process/server.h"
#include "swede/command_line.h"
#include "swede/gpus.h"

namespace swede {
namespace {

log::Module log_("device");

/// Drivers take their time to load on a machine that has just started.
constexpr auto kStartDeadline = std::chrono::seconds(20);

std::vector<std::string> arguments_of(const std::string& gpu, const Budget::Limits& limits) {
    std::vector<std::string> arguments{"renderer", "--gpu", gpu};
    for (const LimitOption& option : kLimitOptions)
        arguments.push_back(
            fmt::format("{}={}", option.option, limits[static_cast<size_t>(option.kind)]));
    return arguments;
}

}  // namespace

Result<OfferedRenderers> make_gpu_renderers(const GpuChoice& choice, const Budget::Limits& limits) {
    if (choice.none) return OfferedRenderers();
    const auto gpu = choose_gpu(choice.name);
    if (!gpu && choice.is_given)
        return fail(ErrorCode::kInvalidParameter,
                    "--gpu \"{}\" is not possible: {} \"swede devices\" lists what is there.",
                    choice.name, gpu.error().message);
    if (!gpu) {
        log_.warn("Guests get no Vulkan, as this machine has no GPU for them: {}",
                  gpu.error().message);
        return OfferedRenderers();
    }
    log_.info("Guests draw with {}", sentence_of(*gpu));

    renderer_process::ClientOptions options;
    options.start_deadline = kStartDeadline;
    options.reap_in_background = true;
    options.offer = std::make_shared<renderer_process::Offer>();
    options.start = [arguments = arguments_of(gpu->uuid, limits)] {
        return renderer_process::spawn("/proc/self/exe", arguments);
    };
    OfferedRenderers offered;
    offered.factory = [options](const virtio_gpu::RendererSetting& setting)
        -> Result<std::vector<std::unique_ptr<rutabaga::Renderer>>> {
        std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
        renderers.push_back(SWEDE_TRY(renderer_process::RendererProcess::create(
            setting.loop, setting.memory, setting.sink, options)));
        return renderers;
    };
    offered.describe = [name = gpu->name] { return name; };
    return offered;
}

int run_renderer(const RendererArguments& arguments) {
    constexpr char kProgram[] = "swede renderer";
    gfxstream::vulkan::keep_heap_small();
    const auto limits = check_limits(arguments.limits);
    if (!limits) return report_error(kProgram, limits.error(), kExitUsage);
    if (!check_unix_stream(renderer_process::kRendererSocketFd))
        return report_error(kProgram,
                            {ErrorCode::kInvalidParameter,
                             "It is started by \"swede device\", which passes it a socket."},
                            kExitUsage);
    const int status = renderer_process::run_renderer_process(
        UniqueFd(renderer_process::kRendererSocketFd), renderer_process::Sandbox::kGraphics,
        [&](std::shared_ptr<rutabaga::CompletionSink> sink)
            -> Result<std::vector<std::unique_ptr<rutabaga::Renderer>>> {
            std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
            renderers.push_back(SWEDE_TRY(gfxstream::open_renderer(
                arguments.gpu.value_or(""), *limits, std::move(sink), gfxstream::Process::kOwn)));
            return renderers;
        });
    // Not by way of the drivers' own clean-up: a thread of theirs may be stuck.
    std::fflush(nullptr);
    std::_Exit(status);
}

}  // namespace swede
