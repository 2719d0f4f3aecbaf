// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/log.h"
#include "swede/command_line.h"
#include "swede/device.h"
#include "swede/device_options.h"
#include "swede/version.h"

/// `swede-vhost-user-gpu`: the program of QEMU's descriptor file, with the options that QEMU's
/// docs/interop/vhost-user.rst ("Backend program conventions", "vhost-user-gpu") asks for. The same
/// as `swede device --transport vhost-user-gpu`.
namespace swede {
namespace {

log::Module log_("device");

int run(int argc, const char* const* argv) {
    CLI::App app("A virtio GPU for QEMU's vhost-user-gpu-pci and vhost-user-vga.",
                 "swede-vhost-user-gpu");
    app.set_version_flag("--version", std::string("swede-vhost-user-gpu ") + kVersion);
    DeviceArguments arguments;
    arguments.transport = "vhost-user-gpu";
    app.add_option("-s,--socket-path", arguments.socket_path, "listen at this socket")
        ->type_name("PATH");
    app.add_option("-f,--fd", arguments.fd, "serve the connected socket of this number")
        ->type_name("N");
    bool print_capabilities = false;
    app.add_flag("-c,--print-capabilities", print_capabilities,
                 "print what QEMU asks for, and end");
    std::optional<std::string> render_node;
    app.add_option("-r,--render-node", render_node, "accepted; 2D needs no render node")
        ->type_name("PATH");
    bool virgl = false;
    app.add_flag("-v,--virgl", virgl, "accepted; there is no GL renderer yet");
    if (const auto status = parse_command_line(app, argc, argv)) return *status;

    if (print_capabilities) {
        // VHostUserBackendCapabilities of QEMU's docs/interop/vhost-user.json. Neither "virgl" nor
        // "render-node": a management program may rely on what is listed.
        fmt::print("{{\"type\": \"gpu\", \"features\": []}}\n");
        return 0;
    }
    log::start();
    if (virgl) log_.warn("--virgl: there is no GL renderer yet; the device is 2D.");
    if (render_node) log_.warn("--render-node \"{}\" is not used by a 2D device.", *render_node);
    return run_checked_device(app.get_name(), arguments, {});
}

}  // namespace
}  // namespace swede

int main(int argc, char** argv) {
    return swede::run(argc, argv);
}
