// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/result.h"
#include "rutabaga/display_sink.h"

namespace swede::display {

/// Pictures of what a guest shows, as PNG: a file for each scanout, written anew after a flush
/// whenever the encoder is free (about 30 a second at most), and screenshots on demand.
///
/// Owned by the program. The device thread only leaves the latest frame and cursor here; reading
/// pixels and encoding is done by one thread of its own, which sleeps until there is work and ends
/// with the sink.
class PngSink : public rutabaga::DisplaySink {
  public:
    /// Answers a screenshot with a sealed memfd that holds a PNG, read position at its start.
    using ScreenshotDone = std::move_only_function<void(Result<UniqueFd>)>;

    /// Writes DIRECTORY/scanout-N.png; makes the directory if it is missing.
    [[nodiscard]] static Result<std::unique_ptr<PngSink>> create(const std::string& directory);
    /// Makes screenshots on demand only; a flush costs nothing.
    [[nodiscard]] static std::unique_ptr<PngSink> on_demand();

    /// Waits for the picture that is being encoded; screenshots that wait are answered with an
    /// Error.
    ~PngSink() override;
    PngSink(const PngSink&) = delete;
    PngSink& operator=(const PngSink&) = delete;

    void set_scanout(uint32_t scanout, std::shared_ptr<const rutabaga::Frame> frame) override;
    void flush(uint32_t scanout, const rutabaga::Rect& damage) override;
    void set_cursor(uint32_t scanout, std::shared_ptr<const rutabaga::CursorImage> image, int32_t x,
                    int32_t y) override;
    void move_cursor(uint32_t scanout, int32_t x, int32_t y) override;

    /// What the scanout shows when the encoder comes to it, later than this call, cursor included.
    /// `done` runs on the encoder's thread; on the caller's when it is refused at once. Any thread.
    void screenshot(uint32_t scanout, ScreenshotDone done);

  private:
    /// What one scanout shows now.
    struct Shown {
        std::shared_ptr<const rutabaga::Frame> frame;         ///< null: off
        std::shared_ptr<const rutabaga::CursorImage> cursor;  ///< null: hidden
        int32_t cursor_x = 0;                                 ///< px, of the hot spot
        int32_t cursor_y = 0;                                 ///< px
    };
    struct Request {
        uint32_t scanout;
        ScreenshotDone done;
    };

    explicit PngSink(UniqueFd directory);
    void run();
    [[nodiscard]] uint32_t take_flushed();
    void write_file(uint32_t scanout, const Shown& shown);

    const UniqueFd directory_;  ///< empty: on demand only

    std::mutex mutex_;  ///< guards all below but thread_; held for a few moves only
    std::condition_variable work_;
    std::array<Shown, wire::kMaxScanouts> shown_;
    uint32_t flushed_ = 0;  ///< bit N: scanout N was flushed since its file was begun
    uint32_t next_ = 0;     ///< the scanout to look at first, so that none waits for ever
    std::deque<Request> requests_;
    bool ending_ = false;

    std::thread thread_;
};

}  // namespace swede::display
