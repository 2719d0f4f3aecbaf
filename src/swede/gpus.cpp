// SPDX-License-Identifier: Apache-2.0
#include "swede/gpus.h"

#include <fmt/format.h>
#include <vulkan/vulkan_core.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

#include "swede/child_output.h"
#include "swede/command_line.h"

namespace swede {
namespace {

constexpr auto kTimeout = std::chrono::seconds(20);

void print_line(const nlohmann::json& line) {
    // A driver's name may hold any bytes.
    std::printf("%s\n",
                line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void print_gpu(const Gpu& gpu) {
    print_line({{"index", gpu.index},
                {"name", gpu.name},
                {"driver", gpu.driver},
                {"type", gpu.type},
                {"api_version", gpu.api_version},
                {"uuid", gpu.uuid},
                {"pci", gpu.pci},
                {"unusable", gpu.unusable}});
}

void print_error(const Error& error) {
    print_line({{"error", error.message}});
}

/// One line of the child. Drivers print lines of their own, which are none.
std::optional<Result<Gpu>> gpu_in(std::string_view line) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object()) return std::nullopt;
    const auto text = [&](const char* key) {
        const auto found = json.find(key);
        return found != json.end() && found->is_string() ? found->get<std::string>() : "";
    };
    const auto number = [&](const char* key) {
        const auto found = json.find(key);
        return found != json.end() && found->is_number_unsigned() ? found->get<uint32_t>() : 0;
    };
    if (json.contains("error")) return fail(ErrorCode::kUnsupported, "{}", text("error"));
    if (!json.contains("uuid")) return std::nullopt;
    Gpu gpu;
    gpu.index = number("index");
    gpu.name = text("name");
    gpu.driver = text("driver");
    gpu.type = text("type");
    gpu.api_version = number("api_version");
    gpu.uuid = text("uuid");
    gpu.pci = text("pci");
    gpu.unusable = text("unusable");
    return gpu;
}

/// What `function` prints in a child.
Result<std::vector<Gpu>> ask_child(const std::function<void()>& function) {
    const ChildOutput output = SWEDE_TRY(run_for_output(function, kTimeout));
    std::vector<Gpu> gpus;
    std::string_view rest = output.text;
    for (size_t end; (end = rest.find('\n')) != std::string_view::npos;
         rest.remove_prefix(end + 1)) {
        auto gpu = gpu_in(rest.substr(0, end));
        if (gpu) gpus.push_back(SWEDE_TRY(*std::move(gpu)));
    }
    if (!gpus.empty()) return gpus;
    return fail(ErrorCode::kSystem, "A Vulkan driver {}.", output.timed_out ? "hangs" : "crashes");
}

}  // namespace

Result<std::vector<Gpu>> list_gpus() {
    return ask_child([] {
        const auto gpus = gfxstream::vulkan::list_devices();
        if (!gpus) return print_error(gpus.error());
        for (const Gpu& gpu : *gpus) print_gpu(gpu);
        if (gpus->empty())
            print_error({ErrorCode::kUnsupported, "The Vulkan drivers find no device."});
    });
}

Result<Gpu> choose_gpu(const std::string& name) {
    const auto gpus = SWEDE_TRY(ask_child([&] {
        const auto host = gfxstream::vulkan::Host::open(name);
        if (!host) return print_error(host.error());
        print_gpu((*host)->description());
    }));
    return gpus.front();
}

std::string sentence_of(const Gpu& gpu) {
    std::string sentence = fmt::format(
        "{}: {}, Vulkan {}.{}.{}", gpu.name, gpu.type, VK_API_VERSION_MAJOR(gpu.api_version),
        VK_API_VERSION_MINOR(gpu.api_version), VK_API_VERSION_PATCH(gpu.api_version));
    if (!gpu.driver.empty()) sentence += ", " + gpu.driver;
    sentence += ".";
    if (!gpu.unusable.empty()) sentence += " Guests cannot have it: " + gpu.unusable;
    return sentence;
}

int run_devices() {
    const auto gpus = list_gpus();
    if (!gpus) return report_error("swede devices", gpus.error(), kExitFailure);
    bool any = false;
    for (const Gpu& gpu : *gpus) {
        fmt::print("{}: {}\n", gpu.index, sentence_of(gpu));
        fmt::print("   uuid {}{}{}\n", gpu.uuid, gpu.pci.empty() ? "" : ", pci:", gpu.pci);
        any = any || gpu.unusable.empty();
    }
    return any ? 0 : kExitFailure;
}

}  // namespace swede
