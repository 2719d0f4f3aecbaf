// SPDX-License-Identifier: Apache-2.0
#include "swede/child_output.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace swede {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kLong = seconds(60);  // none of these tests waits so long

TEST(ChildOutput, Program_IsHeardToItsEnd) {
    const auto output = run_for_output({"sh", "-c", "echo one; echo two >&2; exit 0"}, kLong);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->text, "one\ntwo\n");
    EXPECT_FALSE(output->failed);
    EXPECT_FALSE(output->timed_out);
}

TEST(ChildOutput, Status_IsTold) {
    const auto output = run_for_output({"sh", "-c", "exit 3"}, kLong);
    ASSERT_TRUE(output);
    EXPECT_TRUE(output->failed);
}

TEST(ChildOutput, MissingProgram_Fails) {
    const auto output = run_for_output({"/nonexistent/program"}, kLong);
    ASSERT_TRUE(output);
    EXPECT_TRUE(output->failed);
    EXPECT_NE(output->text.find("/nonexistent/program"), std::string::npos);
}

TEST(ChildOutput, Program_HasNoInput) {
    const auto output = run_for_output({"cat"}, kLong);
    ASSERT_TRUE(output);
    EXPECT_FALSE(output->timed_out);
}

TEST(ChildOutput, Enough_EndsAProgramThatGoesOn) {
    const auto output =
        run_for_output({"sh", "-c", "echo Linux version; exec sleep 1000"}, kLong,
                       [](std::string_view text) { return text.find("version") != text.npos; });
    ASSERT_TRUE(output);
    EXPECT_FALSE(output->timed_out);
    EXPECT_FALSE(output->failed);
}

TEST(ChildOutput, Silence_TimesOut) {
    const auto output = run_for_output({"sleep", "1000"}, milliseconds(50));
    ASSERT_TRUE(output);
    EXPECT_TRUE(output->timed_out);
}

TEST(ChildOutput, Grandchildren_AreEndedToo) {
    const auto output = run_for_output({"sh", "-c", "sleep 1000 & echo $!; wait"}, kLong,
                                       [](std::string_view text) { return text.ends_with('\n'); });
    ASSERT_TRUE(output);
    const pid_t grandchild = std::atoi(output->text.c_str());
    ASSERT_GT(grandchild, 0);
    // Its parent is gone, so somebody else reaps it, sooner or later; until then it is a zombie.
    for (int i = 0; i < 3000; ++i) {
        const std::string path = "/proc/" + std::to_string(grandchild) + "/stat";
        std::FILE* const file = std::fopen(path.c_str(), "r");
        if (file == nullptr) return;
        char state = 0;
        const int read = std::fscanf(file, "%*d %*s %c", &state);
        std::fclose(file);
        if (read == 1 && state == 'Z') return;
        ::usleep(10000);
    }
    FAIL() << "process " << grandchild << " is still there";
}

TEST(ChildOutput, EndlessTalk_IsCut) {
    const auto output = run_for_output({"yes"}, kLong);
    ASSERT_TRUE(output);
    EXPECT_LE(output->text.size(), (size_t{1} << 20) + 4096);
}

TEST(ChildOutput, Function_IsHeard) {
    const auto output = run_for_output([] { std::puts("from the child"); }, kLong);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->text, "from the child\n");
    EXPECT_FALSE(output->failed);
}

TEST(ChildOutput, CrashingFunction_IsAFailure) {
    const auto output = run_for_output([] { ::raise(SIGKILL); }, kLong);
    ASSERT_TRUE(output);
    EXPECT_TRUE(output->failed);
}

TEST(ChildOutput, HangingFunction_TimesOut) {
    const auto output = run_for_output([] { ::pause(); }, milliseconds(50));
    ASSERT_TRUE(output);
    EXPECT_TRUE(output->timed_out);
}

}  // namespace
}  // namespace swede
