// SPDX-License-Identifier: Apache-2.0
// The `swede` program with the test renderer registered, for tests with real kernels. Beside the
// verbs of `swede`, which behave as ever, `device` takes:
//   --renderer in-process|process   where the test renderer runs (process)
//   --request-deadline MS           when a renderer process that does not answer is ended
//   --fence-limit MS                after how long a fence makes us ask whether it answers
// and the verb `renderer` is what it starts as the renderer process.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "renderer_process/child_process.h"
#include "renderer_process/client.h"
#include "renderer_process/server.h"
#include "swede/program.h"
#include "test_renderer.h"

namespace {

using namespace swede;  // NOLINT: this file is a program of it
using Renderers = std::vector<std::unique_ptr<rutabaga::Renderer>>;

constexpr int kExitUsage = 2;

struct TestOptions {
    bool in_process = false;
    renderer_process::ClientOptions client;
};

[[noreturn]] void usage_error(std::string_view option, std::string_view value,
                              std::string_view accepted) {
    fmt::print(stderr, "swede-test-device: {} \"{}\" is not possible: accepted is {}.\n", option,
               value, accepted);
    std::exit(kExitUsage);
}

std::chrono::milliseconds milliseconds(std::string_view option, std::string_view value) {
    uint32_t count = 0;
    const auto [end, error] = std::from_chars(value.begin(), value.end(), count);
    if (error != std::errc() || end != value.end())
        usage_error(option, value, "a number of milliseconds");
    return std::chrono::milliseconds(count);
}

/// Takes our options out of the command line; what is left is `swede`'s.
TestOptions take_options(std::vector<const char*>& arguments) {
    TestOptions options;
    std::vector<const char*> rest;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view option = arguments[i];
        constexpr std::array<std::string_view, 3> kOurs{"--renderer", "--request-deadline",
                                                        "--fence-limit"};
        if (std::ranges::find(kOurs, option) == kOurs.end()) {
            rest.push_back(arguments[i]);
            continue;
        }
        const std::string_view value = i + 1 < arguments.size() ? arguments[++i] : "";
        if (option == "--request-deadline") {
            options.client.request_deadline = milliseconds(option, value);
        } else if (option == "--fence-limit") {
            options.client.fence_limit = milliseconds(option, value);
        } else {
            options.in_process = value == "in-process";
            if (!options.in_process && value != "process")
                usage_error(option, value, "in-process or process");
        }
    }
    arguments = std::move(rest);
    return options;
}

int run_renderer() {
    return renderer_process::run_renderer_process(
        UniqueFd(renderer_process::kRendererSocketFd), renderer_process::Sandbox::kMemoryOnly,
        [](std::shared_ptr<rutabaga::CompletionSink> sink) {
            return test::only_test_renderer(std::move(sink), test::TestRenderer::Faults::kAll);
        });
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "renderer") return run_renderer();
    std::vector<const char*> arguments(argv, argv + argc);
    TestOptions options = take_options(arguments);
    options.client.reap_in_background = true;
    options.client.offer = std::make_shared<renderer_process::Offer>();
    options.client.start = [] { return renderer_process::spawn("/proc/self/exe", {"renderer"}); };
    const auto renderers = [&](const virtio_gpu::RendererSetting& setting) -> Result<Renderers> {
        if (options.in_process)
            return test::only_test_renderer(setting.sink, test::TestRenderer::Faults::kNone);
        Renderers made;
        made.push_back(SWEDE_TRY(renderer_process::RendererProcess::create(
            setting.loop, setting.memory, setting.sink, options.client)));
        return made;
    };
    return run_program(static_cast<int>(arguments.size()), arguments.data(),
                       [&](const GpuChoice&, const Budget::Limits&) -> Result<OfferedRenderers> {
                           return OfferedRenderers{renderers,
                                                   [] { return std::string("the test renderer"); }};
                       });
}
