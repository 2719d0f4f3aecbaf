// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "renderer_process/server.h"

namespace swede::renderer_process {
namespace {

log::Module log_("renderer_server");

Result<void> serve(UniqueFd socket, Sandbox sandbox, const ServedRenderers& renderers) {
    SWEDE_TRY(prepare_process(sandbox));
    SWEDE_TRY(set_nonblocking(socket.get()));
    const std::unique_ptr<EventLoop> loop = SWEDE_TRY(EventLoop::create());
    Result<void> result;
    const std::unique_ptr<Server> server =
        SWEDE_TRY(Server::create(*loop, std::move(socket), renderers, [&](const Error& why) {
            if (why.code != ErrorCode::kClosed) result = std::unexpected(why);
            loop->stop();
        }));
    SWEDE_TRY(enter_sandbox(sandbox));
    server->start();
    loop->run();
    return result;
}

}  // namespace

int run_renderer_process(UniqueFd socket, Sandbox sandbox, const ServedRenderers& renderers) {
    log::start();
    const auto served = serve(std::move(socket), sandbox, renderers);
    if (served) return EXIT_SUCCESS;
    log_.error("The renderer process ends: {}", served.error().message);
    return EXIT_FAILURE;
}

}  // namespace swede::renderer_process
