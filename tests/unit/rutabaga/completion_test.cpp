// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/completion.h"

#include <gtest/gtest.h>

#include <thread>

#include "unit/rutabaga/queued_sink.h"

namespace swede::rutabaga {
namespace {

using testing::Answer;
using testing::QueuedSink;

TEST(Completion, Answer_ArrivesLaterNotInsideTheCall) {
    const auto sink = std::make_shared<QueuedSink>();
    Answer<int> answer;
    auto done = answer.completion(sink);
    done(7);
    EXPECT_EQ(answer.count(), 0);
    EXPECT_EQ(sink->run_all(), 1u);
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(*answer.result(), 7);
}

TEST(Completion, SecondAnswer_IsDropped) {
    const auto sink = std::make_shared<QueuedSink>();
    Answer<int> answer;
    auto done = answer.completion(sink);
    done(7);
    done(8);
    sink->run_all();
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(*answer.result(), 7);
}

TEST(Completion, DeathUncalled_AnswersDeviceLost) {
    const auto sink = std::make_shared<QueuedSink>();
    Answer<> answer;
    {
        const auto done = answer.completion(sink);
    }
    sink->run_all();
    EXPECT_TRUE(answer.failed(ErrorCode::kDeviceLost));
}

TEST(Completion, Moved_AnswersOnce) {
    const auto sink = std::make_shared<QueuedSink>();
    Answer<> answer;
    {
        auto first = answer.completion(sink);
        Completion<> second(std::move(first));
        second({});
    }
    sink->run_all();
    EXPECT_TRUE(answer.ok());
}

TEST(Completion, AnswerOfAnotherThread_RunsOnTheDeviceThread) {
    const auto sink = std::make_shared<QueuedSink>();
    std::thread::id ran_on;
    std::thread([done = Completion<>(
                     sink, [&](Result<void>) { ran_on = std::this_thread::get_id(); })]() mutable {
        done({});
    }).join();
    sink->run_all();
    EXPECT_EQ(ran_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace swede::rutabaga
