// SPDX-License-Identifier: Apache-2.0
#include "display/png_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <semaphore>

#include "pictures.h"

namespace swede::display {
namespace {

using rutabaga::CursorImage;
using rutabaga::Frame;
using rutabaga::PixelFormat;
using namespace std::chrono_literals;

constexpr auto kPatience = 30s;  // until a test is called hung; nothing depends on the time itself

/// A frame of one colour.
std::shared_ptr<const Frame> flat(Colour colour, uint32_t width = 16, uint32_t height = 8) {
    return std::make_shared<FunctionFrame>(
        width, height, PixelFormat::kB8G8R8X8, [colour](uint32_t, uint32_t) {
            return FunctionFrame::Bytes{colour.blue, colour.green, colour.red, 0};
        });
}

Result<UniqueFd> screenshot(PngSink& sink, uint32_t scanout) {
    std::promise<Result<UniqueFd>> promise;
    auto answer = promise.get_future();
    sink.screenshot(scanout, [&](Result<UniqueFd> file) { promise.set_value(std::move(file)); });
    return answer.get();
}

Picture picture_of(PngSink& sink, uint32_t scanout) {
    const auto file = screenshot(sink, scanout);
    EXPECT_TRUE(file) << file.error().message;
    const auto picture = file ? decode_png(file->get()) : std::nullopt;
    EXPECT_TRUE(picture);
    return picture.value_or(Picture{});
}

/// Reads as a flat frame, but only when the test says so.
class GatedFrame : public Frame {
  public:
    explicit GatedFrame(Colour colour)
        : Frame(16, 8, PixelFormat::kB8G8R8X8), inner_(flat(colour)) {}
    Result<void> read(const rutabaga::Rect& rect, std::byte* to,
                      uint64_t to_stride) const override {
        started.release();
        go.acquire();
        return inner_->read(rect, to, to_stride);
    }
    mutable std::counting_semaphore<> started{0};
    mutable std::counting_semaphore<> go{0};

  private:
    std::shared_ptr<const Frame> inner_;
};

/// A flat frame that counts how often it is read.
class CountedFrame : public Frame {
  public:
    explicit CountedFrame(Colour colour)
        : Frame(16, 8, PixelFormat::kB8G8R8X8), inner_(flat(colour)) {}
    Result<void> read(const rutabaga::Rect& rect, std::byte* to,
                      uint64_t to_stride) const override {
        ++reads;
        return inner_->read(rect, to, to_stride);
    }
    mutable std::atomic<int> reads{0};

  private:
    std::shared_ptr<const Frame> inner_;
};

class RevokedFrame : public Frame {
  public:
    RevokedFrame() : Frame(16, 8, PixelFormat::kB8G8R8X8) {}
    Result<void> read(const rutabaga::Rect&, std::byte*, uint64_t) const override {
        return fail(ErrorCode::kInvalidResource, "The memory is gone.");
    }
};

class PngSinkTest : public testing::Test {
  protected:
    PngSinkTest() {
        std::string name = (std::filesystem::temp_directory_path() / "swede-png-XXXXXX").string();
        directory_ = ::mkdtemp(name.data());
    }
    ~PngSinkTest() override { std::filesystem::remove_all(directory_); }

    [[nodiscard]] std::unique_ptr<PngSink> sink() const { return *PngSink::create(directory_); }
    [[nodiscard]] std::filesystem::path path_of(uint32_t scanout) const {
        return directory_ / fmt::format("scanout-{}.png", scanout);
    }
    [[nodiscard]] std::optional<Picture> file_of(uint32_t scanout) const {
        std::ifstream stream(path_of(scanout), std::ios::binary);
        if (!stream) return std::nullopt;
        const std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(stream), {}};
        auto picture = decode_png(bytes);
        EXPECT_TRUE(picture) << "a file that is not whole is in place";
        return picture;
    }
    /// Waits until the file shows this colour in its first pixel.
    void wait_for(uint32_t scanout, Colour colour) const {
        const auto deadline = std::chrono::steady_clock::now() + kPatience;
        for (;;) {
            const auto picture = file_of(scanout);
            if (picture && picture->at(0, 0) == colour) return;
            ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "the picture never came";
            std::this_thread::sleep_for(5ms);
        }
    }
    [[nodiscard]] size_t files() const {
        return static_cast<size_t>(
            std::distance(std::filesystem::directory_iterator(directory_), {}));
    }

    std::filesystem::path directory_;
    const Colour red_{200, 1, 2};
    const Colour green_{3, 201, 4};
    const rutabaga::Rect damage_{0, 0, 1, 1};
};

TEST_F(PngSinkTest, Flush_WritesThePictureOfItsScanout) {
    const auto sink = this->sink();
    sink->set_scanout(3, flat(green_, 21, 13));
    sink->flush(3, damage_);
    wait_for(3, green_);
    const auto picture = file_of(3);
    EXPECT_EQ(picture->width, 21u);
    EXPECT_EQ(picture->height, 13u);
    for (const Colour& pixel : picture->pixels) ASSERT_EQ(pixel, green_);
}

TEST_F(PngSinkTest, Scanouts_HaveAFileEach) {
    const auto sink = this->sink();
    for (uint32_t n = 0; n < wire::kMaxScanouts; ++n) {
        sink->set_scanout(n, flat({static_cast<uint8_t>(n), 9, 9}));
        sink->flush(n, damage_);
    }
    for (uint32_t n = 0; n < wire::kMaxScanouts; ++n) wait_for(n, {static_cast<uint8_t>(n), 9, 9});
    EXPECT_EQ(files(), wire::kMaxScanouts) << "unfinished files are left";
}

TEST_F(PngSinkTest, WithoutFlush_NothingIsWritten) {
    const auto sink = this->sink();
    sink->set_scanout(0, flat(red_));
    sink->set_cursor(0, std::make_shared<CursorImage>(), 1, 1);
    picture_of(*sink, 0);  // the thread has been round
    EXPECT_EQ(files(), 0u);
}

TEST_F(PngSinkTest, FlushWithoutFrame_WritesNothing) {
    const auto sink = this->sink();
    sink->flush(0, damage_);
    sink->set_scanout(1, flat(red_));
    sink->flush(1, damage_);
    wait_for(1, red_);  // served after scanout 0
    EXPECT_FALSE(file_of(0));
}

TEST_F(PngSinkTest, ScanoutOutOfRange_IsIgnored) {
    const auto sink = this->sink();
    for (const uint32_t scanout : {16u, 32u, 0xffffffffu}) {
        sink->set_scanout(scanout, flat(red_));
        sink->flush(scanout, damage_);
        sink->set_cursor(scanout, nullptr, 0, 0);
        sink->move_cursor(scanout, 0, 0);
    }
    sink->set_scanout(15, flat(red_));
    sink->flush(15, damage_);
    wait_for(15, red_);
    EXPECT_EQ(files(), 1u);
}

TEST_F(PngSinkTest, SlowEncoder_NeverDelaysTheDeviceAndTakesTheLatestFrame) {
    const auto sink = this->sink();
    const auto slow = std::make_shared<GatedFrame>(red_);
    const auto skipped = std::make_shared<CountedFrame>(red_);
    const auto latest = std::make_shared<CountedFrame>(green_);
    sink->set_scanout(0, slow);
    sink->flush(0, damage_);
    slow->started.acquire();  // the encoder now waits for us: no call below may wait for it
    for (int i = 0; i < 1000; ++i) {
        sink->set_scanout(0, skipped);
        sink->flush(0, damage_);
        sink->move_cursor(0, i, i);
    }
    sink->set_scanout(0, latest);
    sink->flush(0, damage_);
    slow->go.release();
    wait_for(0, green_);
    EXPECT_EQ(skipped->reads, 0);
    EXPECT_EQ(latest->reads, 1);
}

TEST_F(PngSinkTest, GuestThatDrawsFast_IsReadAtMostOnceAnInterval) {
    const auto sink = this->sink();
    const auto frame = std::make_shared<CountedFrame>(red_);
    sink->set_scanout(0, frame);
    const auto start = std::chrono::steady_clock::now();
    while (frame->reads < 4) {
        sink->flush(0, damage_);
        std::this_thread::yield();
        ASSERT_LT(std::chrono::steady_clock::now() - start, kPatience);
    }
    // The fourth picture is begun three intervals after the first, or later.
    EXPECT_GE(std::chrono::steady_clock::now() - start, 3 * 30ms);
    sink->set_scanout(0, flat(green_));
    sink->flush(0, damage_);  // inside the interval: it waits, and is not forgotten
    wait_for(0, green_);
}

TEST_F(PngSinkTest, Screenshot_IsFreshWithoutAFlush) {
    const auto sink = this->sink();
    sink->set_scanout(0, flat(red_));
    EXPECT_EQ(picture_of(*sink, 0).at(0, 0), red_);
    sink->set_scanout(0, flat(green_));
    EXPECT_EQ(picture_of(*sink, 0).at(0, 0), green_);
}

TEST_F(PngSinkTest, ScreenshotWithoutFrame_IsASentence) {
    const auto sink = PngSink::on_demand();
    const auto never = screenshot(*sink, 2);
    ASSERT_FALSE(never);
    EXPECT_NE(never.error().message.find("Scanout 2 shows nothing"), std::string::npos);
    sink->set_scanout(2, flat(red_));
    sink->set_scanout(2, nullptr);
    EXPECT_FALSE(screenshot(*sink, 2));
}

TEST_F(PngSinkTest, ScreenshotOfAnUnknownScanout_IsRefused) {
    const auto sink = PngSink::on_demand();
    for (const uint32_t scanout : {16u, 0xffffffffu}) {
        const auto refused = screenshot(*sink, scanout);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::kInvalidScanout);
    }
}

TEST_F(PngSinkTest, ScreenshotOfRevokedMemory_IsTheFramesError) {
    const auto sink = PngSink::on_demand();
    sink->set_scanout(0, std::make_shared<RevokedFrame>());
    const auto refused = screenshot(*sink, 0);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "The memory is gone.");
}

TEST_F(PngSinkTest, FileOfRevokedMemory_IsNotWritten) {
    const auto sink = this->sink();
    sink->set_scanout(0, std::make_shared<RevokedFrame>());
    sink->flush(0, damage_);
    sink->set_scanout(1, flat(red_));
    sink->flush(1, damage_);
    wait_for(1, red_);
    EXPECT_EQ(files(), 1u) << "a broken or unfinished file is left";
}

TEST_F(PngSinkTest, TooManyScreenshots_AreRefusedAtOnce) {
    const auto sink = PngSink::on_demand();
    const auto slow = std::make_shared<GatedFrame>(red_);
    sink->set_scanout(0, slow);
    std::atomic<int> good = 0;
    std::atomic<int> refused = 0;
    const auto count = [&](const Result<UniqueFd>& file) { ++(file ? good : refused); };
    sink->screenshot(0, count);
    slow->started.acquire();
    for (int i = 0; i < 100; ++i) sink->screenshot(0, count);
    EXPECT_EQ(refused, 36) << "64 may wait";
    slow->go.release(1000);
    while (good + refused < 101) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(good, 65);
}

TEST_F(PngSinkTest, Destruction_AnswersScreenshotsThatWait) {
    auto sink = PngSink::on_demand();
    const auto slow = std::make_shared<GatedFrame>(red_);
    sink->set_scanout(0, slow);
    std::atomic<int> good = 0;
    std::atomic<int> closed = 0;
    const auto count = [&](const Result<UniqueFd>& file) {
        ++(file ? good : closed);
        if (!file) {
            EXPECT_EQ(file.error().code, ErrorCode::kClosed);
        }
    };
    sink->screenshot(0, count);
    slow->started.acquire();
    for (int i = 0; i < 3; ++i) sink->screenshot(0, count);
    std::thread opener([&] {
        std::this_thread::sleep_for(50ms);  // the destructor is most likely waiting by now
        slow->go.release(1000);
    });
    sink.reset();
    opener.join();
    EXPECT_EQ(good + closed, 4);
    EXPECT_GE(good, 1);
}

TEST_F(PngSinkTest, Screenshot_IsSealed) {
    const auto sink = PngSink::on_demand();
    sink->set_scanout(0, flat(red_));
    const auto file = screenshot(*sink, 0);
    ASSERT_TRUE(file);
    const int seals = ::fcntl(file->get(), F_GET_SEALS);
    EXPECT_EQ(seals & (F_SEAL_SHRINK | F_SEAL_WRITE), F_SEAL_SHRINK | F_SEAL_WRITE);
    EXPECT_EQ(::lseek(file->get(), 0, SEEK_CUR), 0);
}

TEST_F(PngSinkTest, Formats_KeepTheirColours) {
    // Where red, green and blue lie in memory, by the format's name (virtio 1.3, 5.7.6.8).
    struct Case {
        PixelFormat format;
        size_t red, green, blue;
    };
    const auto sink = PngSink::on_demand();
    for (const Case& c : {Case{PixelFormat::kB8G8R8A8, 2, 1, 0},
                          {PixelFormat::kB8G8R8X8, 2, 1, 0},
                          {PixelFormat::kA8R8G8B8, 1, 2, 3},
                          {PixelFormat::kX8R8G8B8, 1, 2, 3},
                          {PixelFormat::kR8G8B8A8, 0, 1, 2},
                          {PixelFormat::kX8B8G8R8, 3, 2, 1},
                          {PixelFormat::kA8B8G8R8, 3, 2, 1},
                          {PixelFormat::kR8G8B8X8, 0, 1, 2}}) {
        sink->set_scanout(
            0, std::make_shared<FunctionFrame>(65, 33, c.format, [&c](uint32_t x, uint32_t y) {
                FunctionFrame::Bytes bytes{0x55, 0x55, 0x55, 0x55};
                bytes[c.red] = static_cast<uint8_t>(x);
                bytes[c.green] = static_cast<uint8_t>(y);
                bytes[c.blue] = static_cast<uint8_t>(x + y);
                return bytes;
            }));
        const Picture picture = picture_of(*sink, 0);
        ASSERT_EQ(picture.pixels.size(), 65u * 33u);
        for (uint32_t y = 0; y < 33; ++y)
            for (uint32_t x = 0; x < 65; ++x) {
                const Colour expected{static_cast<uint8_t>(x), static_cast<uint8_t>(y),
                                      static_cast<uint8_t>(x + y)};
                ASSERT_EQ(picture.at(x, y), expected)
                    << "format " << static_cast<uint32_t>(c.format) << " at " << x << "," << y;
            }
    }
}

TEST_F(PngSinkTest, Cursor_IsInTheScreenshotUntilHidden) {
    const auto sink = PngSink::on_demand();
    auto image = std::make_shared<CursorImage>();
    image->hot_x = 2;
    image->hot_y = 1;
    image->pixels.fill(0xff0000ff);
    const Colour blue{0, 0, 255};
    sink->set_scanout(0, flat(red_, 200, 100));
    sink->set_cursor(0, image, 12, 11);
    Picture picture = picture_of(*sink, 0);
    EXPECT_EQ(picture.at(10, 10), blue);
    EXPECT_EQ(picture.at(73, 73), blue);
    EXPECT_EQ(picture.at(9, 10), red_);
    EXPECT_EQ(picture.at(10, 9), red_);
    EXPECT_EQ(picture.at(74, 73), red_);
    sink->move_cursor(0, 199, 99);
    picture = picture_of(*sink, 0);
    EXPECT_EQ(picture.at(10, 10), red_);
    EXPECT_EQ(picture.at(197, 98), blue);
    EXPECT_EQ(picture.at(196, 98), red_);
    sink->set_cursor(0, nullptr, 199, 99);
    EXPECT_EQ(picture_of(*sink, 0).at(197, 98), red_);
}

TEST_F(PngSinkTest, CursorOfOneScanout_IsNotOnAnother) {
    const auto sink = PngSink::on_demand();
    auto image = std::make_shared<CursorImage>();
    image->pixels.fill(0xff0000ff);
    sink->set_scanout(0, flat(red_));
    sink->set_scanout(1, flat(red_));
    sink->set_cursor(1, image, 0, 0);
    EXPECT_EQ(picture_of(*sink, 0).at(0, 0), red_);
    EXPECT_NE(picture_of(*sink, 1).at(0, 0), red_);
}

TEST_F(PngSinkTest, LargePicture_IsWholeThoughReadInParts) {
    constexpr uint32_t kSize = 4200;  // 67 MiB of pixels
    const auto sink = PngSink::on_demand();
    sink->set_scanout(0, std::make_shared<FunctionFrame>(
                             kSize, kSize, PixelFormat::kB8G8R8X8, [](uint32_t x, uint32_t y) {
                                 return FunctionFrame::Bytes{static_cast<uint8_t>(x),
                                                             static_cast<uint8_t>(y),
                                                             static_cast<uint8_t>(y >> 8), 0};
                             }));
    const Picture picture = picture_of(*sink, 0);
    ASSERT_EQ(picture.height, kSize);
    for (uint32_t y = 0; y < kSize; y += 3)
        for (uint32_t x = y % 7; x < kSize; x += 101) {
            const Colour expected{static_cast<uint8_t>(y >> 8), static_cast<uint8_t>(y),
                                  static_cast<uint8_t>(x)};
            ASSERT_EQ(picture.at(x, y), expected) << x << "," << y;
        }
}

TEST_F(PngSinkTest, DirectoryThatCannotBe_IsRefusedWithItsName) {
    const auto file = directory_ / "file";
    std::ofstream(file) << "x";
    for (const auto& path : {file, file / "below"}) {
        const auto refused = PngSink::create(path);
        ASSERT_FALSE(refused);
        EXPECT_NE(refused.error().message.find(path.string()), std::string::npos);
    }
    EXPECT_FALSE(PngSink::create(""));
}

TEST_F(PngSinkTest, MissingDirectory_IsMade) {
    const auto below = directory_ / "a" / "b";
    const auto sink = PngSink::create(below);
    ASSERT_TRUE(sink) << sink.error().message;
    EXPECT_TRUE(std::filesystem::is_directory(below));
}

TEST_F(PngSinkTest, VanishedDirectory_EndsNothing) {
    const auto sink = this->sink();
    std::filesystem::remove_all(directory_);
    sink->set_scanout(0, flat(red_));
    sink->flush(0, damage_);
    EXPECT_EQ(picture_of(*sink, 0).at(0, 0), red_);
}

}  // namespace
}  // namespace swede::display
