// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string_view>

#include "renderer_process/child_process.h"
#include "renderer_process/server.h"
#include "test_renderer.h"

/// The tests' program is its own renderer process: RendererTest starts it with "renderer".
int main(int argc, char** argv) {
    if (argc > 1 && std::string_view(argv[1]) == "renderer") {
        using namespace swede;
        return renderer_process::run_renderer_process(
            UniqueFd(renderer_process::kRendererSocketFd), renderer_process::Sandbox::kMemoryOnly,
            [](std::shared_ptr<rutabaga::CompletionSink> sink) {
                return test::only_test_renderer(std::move(sink), test::TestRenderer::Faults::kAll);
            });
    }
    ::testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
