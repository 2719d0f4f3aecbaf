// SPDX-License-Identifier: Apache-2.0
#include "swede/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "swede/cross_domain.h"
#include "swede/device.h"
#include "swede/service_manager.h"

namespace swede {
namespace {

/// The verb that the line got to: "swede control resize".
struct Verb {
    const CLI::App* app;
    std::string name;
};

Verb verb_of(const CLI::App& app) {
    Verb verb{&app, app.get_name()};
    for (auto parsed = app.get_subcommands(); !parsed.empty();
         parsed = verb.app->get_subcommands()) {
        verb.app = parsed.front();
        verb.name += " " + verb.app->get_name();
    }
    return verb;
}

/// What CLI11 leaves out: what would have been accepted.
std::string explain(const Verb& verb, const CLI::App& app, const CLI::ParseError& error) {
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
        const std::vector<std::string> extras = app.remaining(true);
        const auto option = std::ranges::find_if(
            extras, [](const std::string& word) { return word.starts_with('-'); });
        std::string accepted;
        for (const CLI::Option* const known : verb.app->get_options())
            accepted += (accepted.empty() ? "" : ", ") + known->get_name();
        if (option != extras.end())
            return fmt::format("\"{}\" is no option of it; accepted are {}.", *option, accepted);
        if (!extras.empty())
            return fmt::format("\"{}\" is one word too many; accepted are {}.", extras.front(),
                               accepted);
    }
    // Those without a group are for the program itself.
    const auto verbs = verb.app->get_subcommands(
        [](const CLI::App* known) { return !known->get_group().empty(); });
    if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !verbs.empty() &&
        verb.app->get_subcommands().empty()) {
        std::string accepted;
        for (const CLI::App* const known : verbs)
            accepted += (accepted.empty() ? "" : ", ") + known->get_name();
        const std::vector<std::string> extras = app.remaining(true);
        return extras.empty()
                   ? fmt::format("{}; verbs are {}.", error.what(), accepted)
                   : fmt::format("\"{}\" is no verb; accepted are {}.", extras.front(), accepted);
    }
    return error.what();
}

/// What is wrong with the command line, or else with the machine.
int report_failure(std::string_view program, const Error& error) {
    const bool usage = error.code == ErrorCode::kInvalidParameter;
    return report_error(program, error, usage ? kExitUsage : kExitFailure);
}

}  // namespace

std::optional<int> parse_command_line(CLI::App& app, int argc, const char* const* argv) {
    try {
        app.parse(argc, argv);
        return std::nullopt;
    } catch (const CLI::Success& success) {  // --help, --version
        return app.exit(success);
    } catch (const CLI::ParseError& error) {
        const Verb verb = verb_of(app);
        fmt::print(stderr, "{}: {}\nRun \"{} --help\" for more.\n", verb.name,
                   explain(verb, app, error), verb.name);
        return kExitUsage;
    }
}

int report_error(std::string_view program, const Error& error, int status) {
    fmt::print(stderr, "{}: {}\n", program, error.message);
    return status;
}

int run_checked_device(std::string_view program, const DeviceArguments& arguments,
                       const RendererMaker& maker) {
    auto passed = service_manager::take_passed_socket();
    if (!passed) return report_error(program, passed.error(), kExitUsage);
    const auto options = check_device_options(arguments, static_cast<bool>(*passed));
    if (!options) return report_error(program, options.error(), kExitUsage);
    // Before anything else is open, and before the first thread: drivers run in a child for it.
    const auto offered = maker ? maker(options->gpu, options->limits) : OfferedRenderers();
    if (!offered) return report_failure(program, offered.error());
    const auto served = run_device(*options, *std::move(passed),
                                   with_cross_domain(offered->factory, options->cross_domain));
    return served ? 0 : report_failure(program, served.error());
}

}  // namespace swede
