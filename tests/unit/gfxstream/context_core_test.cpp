// SPDX-License-Identifier: Apache-2.0
// Colour buffers that a ring asks for before the control queue has attached them.
#include "gfxstream/context_core.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "gfxstream/color_buffer.h"
#include "unit/rutabaga/recording_sink.h"

namespace swede::gfxstream::testing {
namespace {

class ContextCoreTest : public ::testing::Test {
  protected:
    /// Asks for a colour buffer on a thread of its own, which most likely waits when this returns.
    std::future<std::shared_ptr<ColorBuffer>> ask(uint32_t resource) {
        auto answer = std::async(std::launch::async,
                                 [this, resource] { return core.color_buffer(resource); });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return answer;
    }
    ContextCore core{1, std::make_shared<rutabaga::testing::RecordingSink>(), nullptr};
    std::shared_ptr<ColorBuffer> buffer = std::make_shared<ColorBuffer>();
};

TEST_F(ContextCoreTest, ColorBuffer_IsFoundOnceItIsAttached) {
    core.attach(7, buffer);
    EXPECT_EQ(core.color_buffer(7), buffer);
}

TEST_F(ContextCoreTest, ColorBuffer_IsWaitedForUntilItIsAttached) {
    auto answer = ask(7);
    core.attach(6, std::make_shared<ColorBuffer>());
    core.attach(7, buffer);
    EXPECT_EQ(answer.get(), buffer);
}

TEST_F(ContextCoreTest, ColorBuffer_ThatIsNeverAttachedIsNotFound) {
    core.attach(7, buffer);
    core.detach(7);
    EXPECT_EQ(core.color_buffer(7), nullptr);
}

TEST_F(ContextCoreTest, ColorBuffer_IsNotWaitedForInAContextThatIsOver) {
    auto answer = ask(7);
    core.close();
    EXPECT_EQ(answer.get(), nullptr);
    core.attach(7, buffer);
    EXPECT_EQ(core.color_buffer(7), buffer);
}

}  // namespace
}  // namespace swede::gfxstream::testing
