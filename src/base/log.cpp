// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <spdlog/cfg/helpers.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace swede::log {
namespace {

/// Lines of one module and level that pass in one second.
constexpr uint32_t kLinesPerSecond = 20;
constexpr size_t kMaxEscaped = 64;  // characters: a context's debug name (virtio 1.3, 5.7.6.8)

std::mutex registry_mutex;  // guards the choice of levels and the creation of loggers
bool started = false;
bool registry_is_gone = false;

// Threads of a library log while its program is in exit(), where spdlog's registry is destroyed. So
// what they use is never destroyed, and nobody asks a registry that is not there.

std::shared_ptr<spdlog::sinks::sink> sink() {
    static const auto& shared = *new auto(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    return shared;
}

/// Under the lock.
spdlog::logger* keep(std::shared_ptr<spdlog::logger> logger) {
    static auto& kept = *new std::vector<std::shared_ptr<spdlog::logger>>;
    return kept.emplace_back(std::move(logger)).get();
}

/// Sees to it that the end of the registry is known. Before the lock.
void make_registry() {
    struct End {
        End() { spdlog::details::registry::instance(); }  // so this one is destroyed first
        ~End() {
            const std::scoped_lock lock(registry_mutex);
            registry_is_gone = true;
        }
    };
    static const End end;
}

uint64_t now_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<uint64_t>(now.tv_sec);
}

}  // namespace

void start() {
    make_registry();
    const std::scoped_lock lock(registry_mutex);
    started = true;
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("swede", sink()));
    spdlog::set_level(spdlog::level::info);
    spdlog::set_pattern("%H:%M:%S.%e %l %n: %v");
    if (const char* levels = std::getenv("SWEDE_LOG")) spdlog::cfg::helpers::load_levels(levels);
}

spdlog::logger& Module::logger() {
    if (spdlog::logger* known = logger_.load(std::memory_order_acquire)) return *known;
    make_registry();
    const std::scoped_lock lock(registry_mutex);
    auto named = registry_is_gone ? nullptr : spdlog::get(name_);
    if (!named) {
        named = std::make_shared<spdlog::logger>(name_, sink());
        // Takes the level and pattern that start() set.
        if (!registry_is_gone) spdlog::initialize_logger(named);
        if (!started || registry_is_gone) named->set_level(spdlog::level::warn);
    }
    spdlog::logger* const kept = keep(std::move(named));
    logger_.store(kept, std::memory_order_release);
    return *kept;
}

bool Module::enabled(Level level) {
    return logger().should_log(level);
}

void Module::submit(Level level, std::string_view line) {
    if (level >= spdlog::level::info) {
        Rate& rate = rates_[static_cast<size_t>(level)];
        const uint64_t now = now_seconds();
        uint64_t window = rate.window.load(std::memory_order_relaxed);
        if (window != now && rate.window.compare_exchange_strong(window, now)) {
            rate.lines.store(0, std::memory_order_relaxed);
            if (const uint32_t dropped = rate.dropped.exchange(0))
                logger().log(level, fmt::format("({} lines of this level were left out)", dropped));
        }
        if (rate.lines.fetch_add(1, std::memory_order_relaxed) >= kLinesPerSecond) {
            rate.dropped.fetch_add(1, std::memory_order_relaxed);
            return;
        }
    }
    logger().log(level, line);
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, kMaxEscaped)) {
        if (c >= 0x20 && c < 0x7f && c != '\\')
            out += c;
        else
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
    if (text.size() > kMaxEscaped) out += "...";
    return out;
}

}  // namespace swede::log
