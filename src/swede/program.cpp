// SPDX-License-Identifier: Apache-2.0
#include "swede/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "swede/command_line.h"
#include "swede/control_client.h"
#include "swede/doctor.h"
#include "swede/gpus.h"
#include "swede/renderer_verb.h"
#include "swede/run.h"
#include "swede/size.h"
#include "swede/version.h"

namespace swede {
namespace {

constexpr char kFooter[] =
    "SWEDE_LOG sets log levels, by module if wanted: SWEDE_LOG=info,virtio_gpu=debug.\n"
    "\"swede VERB --help\" tells more; so does the manual page swede(1).";

constexpr char kDeviceFooter[] =
    "Sizes take K, M, G or T. Example:\n"
    "  swede device --socket-path /run/user/1000/gpu.sock --outputs 1920x1080,off --display "
    "png:out";

void add_limit_options(CLI::App& verb,
                       std::array<std::optional<std::string>, kLimitOptions.size()>& limits,
                       const char* group) {
    const Budget::Limits defaults = Budget::default_limits();
    for (size_t i = 0; i < kLimitOptions.size(); ++i) {
        const LimitOption& option = kLimitOptions[i];
        const uint64_t value = defaults[static_cast<size_t>(option.kind)];
        verb.add_option(option.option, limits[i],
                        fmt::format("limit of {}; default {}", option.help,
                                    option.is_size ? size_text(value) : fmt::format("{}", value)))
            ->type_name(option.is_size ? "SIZE" : "COUNT")
            ->group(group);
    }
}

void add_gpu_option(CLI::App& verb, std::optional<std::string>& gpu) {
    verb.add_option("--gpu", gpu,
                    "which GPU guests draw with: a part of its name, its index or its UUID as "
                    "\"swede devices\" lists them, pci: and its address, or none for no Vulkan; "
                    "default: the best one")
        ->type_name("GPU");
}

void add_cross_domain_options(CLI::App& verb, CrossDomainArguments& arguments, const char* who) {
    verb.add_flag("--cross-domain", arguments.wanted,
                  fmt::format("let {} connect to this desktop's Wayland compositor, as "
                              "WAYLAND_DISPLAY names it",
                              who));
    verb.add_option("--wayland-socket-path", arguments.wayland_socket_path,
                    "the same, with the compositor at this socket")
        ->type_name("PATH");
}

void add_device_options(CLI::App& verb, DeviceArguments& arguments) {
    verb.footer(kDeviceFooter);
    verb.add_option("--socket-path", arguments.socket_path, "listen for the VMM at this socket")
        ->type_name("PATH");
    verb.add_option("--fd", arguments.fd,
                    "take this open socket instead: a listening one for vfio-user, a connected one "
                    "for vhost-user and vhost-user-gpu")
        ->type_name("N");
    verb.add_option("--transport", arguments.transport,
                    "how the VMM talks: vfio-user (default), vhost-user or vhost-user-gpu; local "
                    "serves programs of \"swede run\" instead")
        ->type_name("NAME");
    verb.add_option(
            "--hostmem", arguments.hostmem,
            fmt::format("size of the host-visible window, 0 for none; default {}", kDefaultHostmem))
        ->type_name("SIZE");
    verb.add_option("--display", arguments.display,
                    "png:DIR writes DIR/scanout-N.png whenever the guest has drawn; none (default) "
                    "makes pictures on demand only")
        ->type_name("none|png:DIR");
    verb.add_option("--outputs", arguments.outputs,
                    fmt::format("1 to 16 outputs, each WIDTHxHEIGHT, or off for one that is "
                                "unplugged; default {}",
                                kDefaultOutputs))
        ->type_name("LIST");
    verb.add_option("--control-path", arguments.control_path,
                    "serve \"swede control\" at this socket")
        ->type_name("PATH");
    add_gpu_option(verb, arguments.gpu);
    add_cross_domain_options(verb, arguments.cross_domain, "the guest's programs");
    verb.add_option(
            "--max-clients", arguments.max_clients,
            fmt::format("with local: connections served at once; default {}", kDefaultMaxClients))
        ->type_name("COUNT");
    add_limit_options(verb, arguments.limits, "Limits for one guest");
}

constexpr char kRunFooter[] =
    "What follows the program's name is the program's. Example:\n"
    "  swede run -- vkcube --c 100";

void add_run_options(CLI::App& verb, RunArguments& arguments) {
    verb.footer(kRunFooter);
    verb.prefix_command();
    verb.add_option("--socket", arguments.socket,
                    "use the device that \"swede device --transport local\" serves there, instead "
                    "of one of its own")
        ->type_name("PATH");
    verb.add_option("--driver", arguments.driver,
                    "the JSON file of the Vulkan driver for the program, or none to leave the "
                    "choice to it; default: Mesa's gfxstream as it is installed")
        ->type_name("FILE");
    verb.add_option("--shim", arguments.shim,
                    "the library that shows the GPU to the program, if it is not where it was "
                    "installed")
        ->type_name("FILE");
    add_gpu_option(verb, arguments.gpu);
    add_cross_domain_options(verb, arguments.cross_domain, "the program");
    verb.add_option("--max-clients", arguments.max_clients,
                    fmt::format("connections served at once; default {}", kDefaultMaxClients))
        ->type_name("COUNT");
    add_limit_options(verb, arguments.limits, "Limits for one connection");
}

int run_run(const CLI::App& verb, RunArguments& arguments, const RendererMaker& maker) {
    constexpr char kProgram[] = "swede run";
    const std::vector<std::string> before = verb.remaining();
    arguments.command.insert(arguments.command.begin(), before.begin(), before.end());
    const bool is_option = !before.empty() && before.front().starts_with('-');
    const auto options =
        is_option ? Result<RunOptions>(fail(
                        ErrorCode::kInvalidParameter,
                        "\"{}\" is no option of it; the program comes after --.", before.front()))
                  : check_run_arguments(arguments);
    if (!options) {
        const ErrorCode code = options.error().code;
        return report_error(kProgram, options.error(),
                            code == ErrorCode::kInvalidParameter  ? kExitUsage
                            : code == ErrorCode::kInvalidResource ? kExitNoProgram
                                                                  : kExitNotRunnable);
    }
    const auto status = run_with_device(*options, maker);
    if (status) return *status;
    const ErrorCode code = status.error().code;
    return report_error(kProgram, status.error(),
                        code == ErrorCode::kUnsupported        ? kExitNotRunnable
                        : code == ErrorCode::kInvalidParameter ? kExitUsage
                                                               : kExitFailure);
}

/// `swede control`: the words as written.
struct ControlArguments {
    std::string socket;
    std::string file;
    std::string output = "0";
    std::string size;
};

struct ControlVerbs {
    CLI::App* info;
    CLI::App* screenshot;
    CLI::App* resize;
    CLI::App* plug;
    CLI::App* unplug;
};

ControlVerbs add_control_verbs(CLI::App& verb, ControlArguments& arguments) {
    verb.add_option("SOCKET", arguments.socket, "the device's --control-path")->required();
    verb.require_subcommand(1);
    ControlVerbs verbs{};
    verbs.info = verb.add_subcommand("info", "print the device's state as JSON");
    verbs.screenshot =
        verb.add_subcommand("screenshot", "save what an output shows, cursor included, as PNG");
    verbs.screenshot->add_option("FILE", arguments.file, "where to; - is standard output")
        ->required();
    verbs.screenshot->add_option("--output", arguments.output, "which one; default 0")
        ->type_name("N");
    verbs.resize = verb.add_subcommand("resize", "give an output another size");
    verbs.resize->add_option("N", arguments.output, "the output, from 0")->required();
    verbs.resize->add_option("SIZE", arguments.size, "WIDTHxHEIGHT, in pixels")->required();
    verbs.plug = verb.add_subcommand("plug", "plug an output in");
    verbs.plug->add_option("N", arguments.output, "the output, from 0")->required();
    verbs.unplug = verb.add_subcommand("unplug", "unplug an output");
    verbs.unplug->add_option("N", arguments.output, "the output, from 0")->required();
    return verbs;
}

int run_control(const ControlVerbs& verbs, const ControlArguments& arguments) {
    constexpr char kProgram[] = "swede control";
    const auto usage_error = [&](const std::string& message) {
        return report_error(kProgram, {ErrorCode::kInvalidParameter, message}, kExitUsage);
    };
    const auto output = parse_number(arguments.output);
    if (!output || *output >= wire::kMaxScanouts)
        return usage_error(fmt::format("The output \"{}\" is not possible: accepted is 0 to {}.",
                                       arguments.output, wire::kMaxScanouts - 1));
    nlohmann::json request{{"output", *output}};
    if (verbs.info->parsed()) {
        request = {{"command", "info"}};
    } else if (verbs.screenshot->parsed()) {
        const auto saved = control_client::save_screenshot(
            arguments.socket, static_cast<uint32_t>(*output), arguments.file);
        return saved ? 0 : report_error(kProgram, saved.error(), kExitFailure);
    } else if (verbs.resize->parsed()) {
        const auto size = parse_output(arguments.size);
        if (!size)
            return usage_error(
                fmt::format("The size \"{}\" is not possible: accepted is WIDTHxHEIGHT, each 1 to "
                            "{}, such as 1280x800.",
                            arguments.size, kMaxOutputEdge));
        request["command"] = "resize";
        request["width"] = size->width;
        request["height"] = size->height;
    } else {
        request["command"] = verbs.plug->parsed() ? "plug" : "unplug";
    }
    const auto reply = control_client::ask(arguments.socket, request);
    if (!reply) return report_error(kProgram, reply.error(), kExitFailure);
    if (verbs.info->parsed()) fmt::print("{}\n", reply->value.dump(2));
    return 0;
}

}  // namespace

int run_program(int argc, const char* const* argv, const RendererMaker& maker) {
    CLI::App app("A virtual GPU in a process of its own, beside an unmodified QEMU.", "swede");
    app.set_version_flag("--version", std::string("swede ") + kVersion);
    app.footer(kFooter);
    app.require_subcommand(1);

    DeviceArguments device_arguments;
    CLI::App* const device = app.add_subcommand("device", "serve a virtual GPU to one VMM");
    add_device_options(*device, device_arguments);

    RunArguments run_arguments;
    CLI::App* const run = app.add_subcommand(
        "run", "run a program of this machine with a virtual GPU, without any VM");
    add_run_options(*run, run_arguments);

    ControlArguments control_arguments;
    CLI::App* const control = app.add_subcommand("control", "look at and change a running device");
    const ControlVerbs control_verbs = add_control_verbs(*control, control_arguments);

    CLI::App* const devices = app.add_subcommand(
        "devices", "list the GPUs of this machine, and say why guests cannot have one");

    CLI::App* const doctor = app.add_subcommand(
        "doctor", "say what this machine has and lacks, and print a QEMU command line that works");

    RendererArguments renderer_arguments;
    CLI::App* const renderer =
        app.add_subcommand("renderer", "what \"device\" starts for each guest")->group("");
    renderer->add_option("--gpu", renderer_arguments.gpu)->type_name("UUID");
    add_limit_options(*renderer, renderer_arguments.limits, "Limits");

    // What comes after "--" is a program's own, and CLI11 would look for options in it.
    const std::span words(argv, static_cast<size_t>(argc));
    const auto dashes = argc > 1 && std::string_view(argv[1]) == "run"
                            ? std::ranges::find(words, std::string_view("--"))
                            : words.end();
    if (dashes != words.end()) run_arguments.command.assign(dashes + 1, words.end());
    if (const auto status = parse_command_line(app, static_cast<int>(dashes - words.begin()), argv))
        return *status;
    log::start();
    if (device->parsed()) return run_checked_device("swede device", device_arguments, maker);
    if (run->parsed()) return run_run(*run, run_arguments, maker);
    if (control->parsed()) return run_control(control_verbs, control_arguments);
    if (devices->parsed()) return run_devices();
    if (doctor->parsed()) return run_doctor();
    if (renderer->parsed()) return run_renderer(renderer_arguments);
    return kExitUsage;
}

}  // namespace swede
