// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/open_renderer.h"

#include <malloc.h>

#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "gfxstream/renderer.h"
#include "gfxstream/vulkan/host.h"
#include "gfxstream/vulkan/session_executor.h"

namespace swede::gfxstream {
namespace {

log::Module log_("gfxstream");

}  // namespace

Result<std::unique_ptr<rutabaga::Renderer>> open_renderer(
    std::string_view gpu, const Budget::Limits& limits,
    std::shared_ptr<rutabaga::CompletionSink> sink, Process process) {
    const std::shared_ptr<vulkan::Host> host = SWEDE_TRY(vulkan::Host::open(gpu));
    if (process == Process::kOthers) host->share_process();
    // What trying the devices out has left free in the heap would stay with the process.
    if (process == Process::kOwn) ::malloc_trim(0);
    RendererParts parts;
    parts.executors = [host](ExecutorServices& services) {
        return make_session_executor(host, services);
    };
    parts.budget = Budget::create(limits);
    parts.color_buffer_index = host->color_buffer_index();
    parts.color_buffer_layout = [host](uint32_t format, uint32_t width,
                                       uint32_t height) -> Result<ColorBufferLayout> {
        const vulkan::ColorBufferLayout layout =
            SWEDE_TRY(host->color_buffer_layout(format, width, height));
        return ColorBufferLayout{layout.size, layout.stride};
    };
    parts.memory_can_move = host->follows_mappings();
    if (process == Process::kOwn)
        parts.give_up = [] {
            log_.error("The Vulkan driver does not end its work; its process is given up.");
            std::_Exit(EXIT_FAILURE);
        };
    return std::make_unique<GfxstreamRenderer>(std::move(sink), std::move(parts));
}

}  // namespace swede::gfxstream
