// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <spdlog/common.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

/// Log lines by module on stderr. Levels come from SWEDE_LOG, in spdlog's own notation:
/// `SWEDE_LOG=info,virtio_gpu=debug,vfio_user=trace`. A guest can make us log, so each module has
/// a rate for each level at `info` and above (invariant I15); what is dropped is counted and told.
namespace swede::log {

using Level = spdlog::level::level_enum;

/// One module's logger. Define it once, `static log::Module log_("virtio_gpu");`, at namespace
/// scope of the module's source files (equal names share levels). Thread-safe.
class Module {
  public:
    explicit Module(const char* name) : name_(name) {}

    template <typename... Args>
    void trace(fmt::format_string<Args...> format, Args&&... args) {
        write(spdlog::level::trace, format, std::forward<Args>(args)...);
    }
    template <typename... Args>
    void debug(fmt::format_string<Args...> format, Args&&... args) {
        write(spdlog::level::debug, format, std::forward<Args>(args)...);
    }
    template <typename... Args>
    void info(fmt::format_string<Args...> format, Args&&... args) {
        write(spdlog::level::info, format, std::forward<Args>(args)...);
    }
    template <typename... Args>
    void warn(fmt::format_string<Args...> format, Args&&... args) {
        write(spdlog::level::warn, format, std::forward<Args>(args)...);
    }
    template <typename... Args>
    void error(fmt::format_string<Args...> format, Args&&... args) {
        write(spdlog::level::err, format, std::forward<Args>(args)...);
    }

    [[nodiscard]] bool enabled(Level level);

  private:
    template <typename... Args>
    void write(Level level, fmt::format_string<Args...> format, Args&&... args) {
        if (enabled(level)) submit(level, fmt::format(format, std::forward<Args>(args)...));
    }
    void submit(Level level, std::string_view line);
    [[nodiscard]] spdlog::logger& logger();

    /// A bucket of lines: refilled as time passes.
    struct Rate {
        std::atomic<uint64_t> window{0};  ///< the second that `lines` counts in
        std::atomic<uint32_t> lines{0};
        std::atomic<uint32_t> dropped{0};
    };

    const char* name_;
    std::atomic<spdlog::logger*> logger_{nullptr};
    std::array<Rate, spdlog::level::n_levels> rates_;
};

/// Reads SWEDE_LOG and sets the line format. Called once by each program's main; without it, lines
/// of `warn` and above are shown.
void start();

/// `text` with control and non-ASCII bytes as \xNN, cut at 64 characters: for guest strings.
[[nodiscard]] std::string escaped(std::string_view text);

}  // namespace swede::log
