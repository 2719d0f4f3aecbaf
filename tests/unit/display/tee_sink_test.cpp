// SPDX-License-Identifier: Apache-2.0
#include "display/tee_sink.h"

#include <gmock/gmock.h>

#include "pictures.h"

namespace swede::display {
namespace {

using ::testing::_;

class MockSink : public rutabaga::DisplaySink {
  public:
    MOCK_METHOD(void, set_scanout, (uint32_t, std::shared_ptr<const rutabaga::Frame>), (override));
    MOCK_METHOD(void, flush, (uint32_t, const rutabaga::Rect&), (override));
    MOCK_METHOD(void, set_cursor,
                (uint32_t, std::shared_ptr<const rutabaga::CursorImage>, int32_t, int32_t),
                (override));
    MOCK_METHOD(void, move_cursor, (uint32_t, int32_t, int32_t), (override));
};

TEST(TeeSink, EverySinkIsToldEverything) {
    MockSink first;
    MockSink second;
    TeeSink tee({&first, &second});
    const auto frame = std::make_shared<FunctionFrame>(
        1, 1, rutabaga::PixelFormat::kB8G8R8X8,
        [](uint32_t, uint32_t) -> FunctionFrame::Bytes { return {}; });
    const auto cursor = std::make_shared<rutabaga::CursorImage>();
    for (MockSink* const sink : {&first, &second}) {
        EXPECT_CALL(*sink, set_scanout(3, std::shared_ptr<const rutabaga::Frame>(frame)));
        EXPECT_CALL(*sink, flush(3, _));
        EXPECT_CALL(*sink,
                    set_cursor(3, std::shared_ptr<const rutabaga::CursorImage>(cursor), 4, -5));
        EXPECT_CALL(*sink, move_cursor(3, 6, 7));
    }
    tee.set_scanout(3, frame);
    tee.flush(3, {0, 0, 1, 1});
    tee.set_cursor(3, cursor, 4, -5);
    tee.move_cursor(3, 6, 7);
}

TEST(TeeSink, NoSinkIsNoError) {
    TeeSink tee({});
    tee.set_scanout(0, nullptr);
    tee.flush(0, {0, 0, 1, 1});
}

}  // namespace
}  // namespace swede::display
