// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "process_state.h"

namespace swede {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// What `write` puts on stderr.
template <typename Write>
std::string lines_of(Write write) {
    ::testing::internal::CaptureStderr();
    write();
    return ::testing::internal::GetCapturedStderr();
}

size_t count(std::string_view text, std::string_view part) {
    size_t found = 0;
    for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
    return found;
}

void start_with(const char* levels) {
    ::setenv("SWEDE_LOG", levels, 1);
    log::start();
    ::unsetenv("SWEDE_LOG");
}

TEST(Log, Levels_AreByModule) {
    static log::Module quiet("log_test_quiet");
    static log::Module loud("log_test_loud");
    start_with("warn,log_test_loud=debug");
    const std::string lines = lines_of([] {
        quiet.info("one {}", 1);
        quiet.warn("two {}", 2);
        loud.debug("three {}", 3);
        loud.trace("four {}", 4);
    });
    EXPECT_THAT(lines, HasSubstr("warning log_test_quiet: two 2\n"));
    EXPECT_THAT(lines, HasSubstr("debug log_test_loud: three 3\n"));
    EXPECT_EQ(count(lines, "\n"), 2u) << lines;
    EXPECT_FALSE(quiet.enabled(spdlog::level::info));
    EXPECT_TRUE(loud.enabled(spdlog::level::debug));
}

TEST(Log, Start_ShowsInfoByDefault) {
    static log::Module module("log_test_default");
    ::unsetenv("SWEDE_LOG");
    log::start();
    const std::string lines = lines_of([] {
        module.debug("hidden");
        module.info("shown");
    });
    EXPECT_EQ(count(lines, "\n"), 1u) << lines;
    EXPECT_THAT(lines, HasSubstr("info log_test_default: shown"));
}

TEST(Log, UnknownLevels_AreIgnored) {
    static log::Module module("log_test_unknown");
    start_with("nonsense,=,,log_test_unknown=loudest,=debug,\xff=\xff");
    EXPECT_NO_THROW(module.error("still alive"));
}

TEST(Log, EqualNames_ShareLevels) {
    static log::Module first("log_test_shared");
    static log::Module second("log_test_shared");
    start_with("warn,log_test_shared=trace");
    EXPECT_TRUE(first.enabled(spdlog::level::trace));
    EXPECT_TRUE(second.enabled(spdlog::level::trace));
}

// In a process of its own: start() was not called there.
TEST(LogDeathTest, WithoutStart_WarningsAreShownAndInfoIsNot) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    static log::Module module("log_test_unstarted");
    EXPECT_EXIT(
        {
            module.info("line of level info");
            module.warn("line of level warn");
            _exit(module.enabled(spdlog::level::info) ? 1 : 0);
        },
        ::testing::ExitedWithCode(0), "line of level warn");
}

// A VMM that loaded the library calls exit() while our threads are at work. spdlog's registry,
// which is made by the first line, is destroyed before the handler runs that was there earlier.
TEST(LogDeathTest, ThreadsMayLogWhileTheProcessEnds) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    static log::Module module("log_test_exit");
    static log::Module late("log_test_late");
    static std::atomic<uint64_t> lines = 0;
    EXPECT_EXIT(
        {
            std::atexit([] {
                const uint64_t before = lines;
                while (lines < before + 100) std::this_thread::yield();
                late.error("the first line of its module");
            });
            std::thread([] {
                for (;; ++lines) module.warn("line {}", lines.load());
            }).detach();
            while (lines == 0) std::this_thread::yield();
            std::exit(7);
        },
        ::testing::ExitedWithCode(7), "the first line of its module");
}

// Invariant I15: a guest that makes us log cannot fill the disk.
TEST(Log, Lines_AreLimitedByTimeAndTheRestIsCounted) {
    static log::Module module("log_test_rate");
    log::start();
    const std::string lines = lines_of([] {
        for (int i = 0; i < 1000; ++i) module.warn("flood {}", i);
    });
    const size_t shown = count(lines, "flood");
    EXPECT_GE(shown, 1u);
    EXPECT_LE(shown, 100u) << "at most 20 in each second that the loop took";

    std::string later;
    while (count(later, "left out") == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        later += lines_of([] { module.warn("trickle"); });
    }
    EXPECT_THAT(later, HasSubstr("lines of this level were left out)"));
    EXPECT_THAT(later, HasSubstr("trickle")) << "a new second, a new allowance";
}

TEST(Log, Limit_IsByLevelAndModule) {
    static log::Module first("log_test_rate_one");
    static log::Module second("log_test_rate_two");
    log::start();
    const std::string lines = lines_of([] {
        for (int i = 0; i < 1000; ++i) first.warn("flood {}", i);
        first.error("another level");
        second.warn("another module");
    });
    EXPECT_THAT(lines, HasSubstr("another level"));
    EXPECT_THAT(lines, HasSubstr("another module"));
}

TEST(Log, ConcurrentLines_StayWhole) {
    static log::Module module("log_test_threads");
    start_with("warn,log_test_threads=debug");
    const std::string lines = lines_of([] {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i)
            threads.emplace_back([] {
                for (int line = 0; line < 100; ++line) module.debug("<{}>", std::string(50, 'x'));
            });
    });
    EXPECT_EQ(count(lines, "<" + std::string(50, 'x') + ">\n"), 400u);
}

TEST(Log, StartsNoThread) {
    static log::Module module("log_test_no_thread");
    const size_t before = testing::threads();
    log::start();
    lines_of([] {
        for (int i = 0; i < 100; ++i) module.error("line");
    });
    EXPECT_EQ(testing::threads(), before);
}

TEST(LogEscape, ControlAndForeignBytes_AreShownAsNumbers) {
    EXPECT_EQ(log::escaped("vkcube"), "vkcube");
    EXPECT_EQ(log::escaped("a\nb\x1b[2Jc"), "a\\x0ab\\x1b[2Jc");
    EXPECT_EQ(log::escaped("\xc3\xa9\x7f"), "\\xc3\\xa9\\x7f");
    EXPECT_EQ(log::escaped("back\\slash"), "back\\x5cslash") << "an escape cannot be forged";
    EXPECT_EQ(log::escaped(std::string_view("\0", 1)), "\\x00");
    EXPECT_EQ(log::escaped(""), "");
}

TEST(LogEscape, LongText_IsCut) {
    EXPECT_EQ(log::escaped(std::string(64, 'x')), std::string(64, 'x'));
    EXPECT_EQ(log::escaped(std::string(65, 'x')), std::string(64, 'x') + "...");
}

// The braces of a guest's string are text, not a format.
TEST(LogEscape, FormatCharacters_AreText) {
    static log::Module module("log_test_format");
    start_with("info");
    const std::string lines =
        lines_of([] { module.error("name {}", log::escaped("{} {0} %s %n")); });
    EXPECT_THAT(lines, HasSubstr("name {} {0} %s %n\n"));
}

}  // namespace
}  // namespace swede
