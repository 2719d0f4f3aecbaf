// SPDX-License-Identifier: Apache-2.0
#include "display/png_sink.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/blocked_signals.h"
#include "base/log.h"
#include "base/mapping.h"
#include "display/cursor_blend.h"
#include "display/png_encoder.h"

namespace swede::display {
namespace {

log::Module log_("png_sink");

/// Screenshots that may wait; the control socket asks for fewer.
constexpr size_t kMaxRequests = 64;
/// A picture up to this size (4096x4096) is copied at once, so that it shows one moment; a larger
/// one is copied in parts of it, so that no guest makes us hold more.
constexpr uint64_t kMaxCopy = uint64_t{64} << 20;  // bytes

/// A guest that draws all the time keeps the encoder busy all the time, on a processor that others
/// want.
constexpr int kNiceness = 10;
/// Files are begun at most this often: no reader of a file sees more than a screen's pictures, and
/// a guest that draws faster keeps the processor for itself. (QEMU's VNC server also sends at most
/// about 30 a second: GUI_REFRESH_INTERVAL_DEFAULT, include/ui/console.h.)
constexpr std::chrono::milliseconds kFileInterval{30};

/// Signals belong to the device thread; faults stay, for the SIGBUS guard.
template <typename Function>
std::thread start_quiet_thread(Function function) {
    const BlockedSignals blocked;
    return std::thread(std::move(function));
}

/// Reads, converts, draws the cursor and encodes.
Result<void> encode(int fd, const rutabaga::Frame& frame, const rutabaga::CursorImage* cursor,
                    int32_t cursor_x, int32_t cursor_y) {
    const uint64_t stride = uint64_t{frame.width()} * rutabaga::kBytesPerPixel;
    if (stride == 0 || frame.height() == 0)
        return fail(ErrorCode::kInvalidParameter, "The scanout is empty ({}x{}).", frame.width(),
                    frame.height());
    const auto encoder = SWEDE_TRY(PngEncoder::create(fd, frame.width(), frame.height()));
    const uint32_t band_rows =
        static_cast<uint32_t>(std::clamp<uint64_t>(kMaxCopy / stride, 1, frame.height()));
    // Given back to the system after each picture: an idle device holds no pixels.
    const Mapping copy = SWEDE_TRY(Mapping::anonymous(stride * band_rows));
    for (uint32_t row = 0; row < frame.height(); row += band_rows) {
        const uint32_t rows = std::min(band_rows, frame.height() - row);
        const PixelBand band{copy.bytes().first(stride * rows), frame.width(), row};
        SWEDE_TRY(frame.read({0, row, frame.width(), rows}, band.pixels.data(), stride));
        rutabaga::convert_to_bgra(frame.format(), band.pixels);
        if (cursor != nullptr) blend_cursor(band, *cursor, cursor_x, cursor_y);
        SWEDE_TRY(encoder->write_rows(band.pixels));
    }
    return encoder->finish();
}

Result<UniqueFd> encode_to_memory(uint32_t scanout,
                                  const std::shared_ptr<const rutabaga::Frame>& frame,
                                  const rutabaga::CursorImage* cursor, int32_t cursor_x,
                                  int32_t cursor_y) {
    if (!frame)
        return fail(ErrorCode::kInvalidScanout,
                    "Scanout {} shows nothing: no guest has turned it on.", scanout);
    UniqueFd file(::memfd_create("swede-screenshot", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) return fail_errno("Cannot create a file for the screenshot", errno);
    SWEDE_TRY(encode(file.get(), *frame, cursor, cursor_x, cursor_y));
    // Whoever takes it may map it without fear.
    ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    ::lseek(file.get(), 0, SEEK_SET);
    return file;
}

}  // namespace

Result<std::unique_ptr<PngSink>> PngSink::create(const std::string& directory) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error)
        return fail_errno(fmt::format("Cannot create the directory \"{}\"", directory),
                          error.value());
    UniqueFd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail_errno(fmt::format("Cannot open the directory \"{}\"", directory), errno);
    if (::faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
        return fail_errno(fmt::format("Cannot write to the directory \"{}\"", directory), errno);
    return std::unique_ptr<PngSink>(new PngSink(std::move(fd)));
}

std::unique_ptr<PngSink> PngSink::on_demand() {
    return std::unique_ptr<PngSink>(new PngSink(UniqueFd()));
}

PngSink::PngSink(UniqueFd directory)
    : directory_(std::move(directory)), thread_(start_quiet_thread([this] { run(); })) {}

PngSink::~PngSink() {
    {
        const std::scoped_lock lock(mutex_);
        ending_ = true;
    }
    work_.notify_one();
    thread_.join();
    for (Request& request : requests_)
        request.done(fail(ErrorCode::kClosed, "The device ended before the screenshot was made."));
}

void PngSink::set_scanout(uint32_t scanout, std::shared_ptr<const rutabaga::Frame> frame) {
    if (scanout >= shown_.size()) return;
    const std::scoped_lock lock(mutex_);
    shown_[scanout].frame.swap(frame);  // the old one may die only after the lock is given up
}

void PngSink::flush(uint32_t scanout, const rutabaga::Rect&) {
    if (!directory_ || scanout >= shown_.size()) return;
    {
        const std::scoped_lock lock(mutex_);
        const bool is_known = flushed_ != 0;
        flushed_ |= uint32_t{1} << scanout;
        if (is_known) return;
    }
    work_.notify_one();
}

void PngSink::set_cursor(uint32_t scanout, std::shared_ptr<const rutabaga::CursorImage> image,
                         int32_t x, int32_t y) {
    if (scanout >= shown_.size()) return;
    const std::scoped_lock lock(mutex_);
    Shown& shown = shown_[scanout];
    shown.cursor.swap(image);
    shown.cursor_x = x;
    shown.cursor_y = y;
}

void PngSink::move_cursor(uint32_t scanout, int32_t x, int32_t y) {
    if (scanout >= shown_.size()) return;
    const std::scoped_lock lock(mutex_);
    shown_[scanout].cursor_x = x;
    shown_[scanout].cursor_y = y;
}

void PngSink::screenshot(uint32_t scanout, ScreenshotDone done) {
    if (scanout >= shown_.size()) {
        done(fail(ErrorCode::kInvalidScanout,
                  "There is no scanout {}; the last possible one is {}.", scanout,
                  shown_.size() - 1));
        return;
    }
    {
        const std::scoped_lock lock(mutex_);
        if (requests_.size() < kMaxRequests) {
            requests_.push_back({scanout, std::move(done)});
            work_.notify_one();
            return;
        }
    }
    done(fail(ErrorCode::kOutOfMemory, "{} screenshots are waiting already.", kMaxRequests));
}

void PngSink::run() {
    ::pthread_setname_np(::pthread_self(), "png-sink");
    // Pictures can wait, the guest's processors and the device thread cannot. (Linux: of this
    // thread.)
    ::setpriority(PRIO_PROCESS, 0, kNiceness);
    std::chrono::steady_clock::time_point next_file{};  // not before
    const auto called = [this] { return ending_ || !requests_.empty(); };
    std::unique_lock lock(mutex_);
    for (;;) {
        work_.wait(lock, [&] { return called() || flushed_ != 0; });
        if (!called()) work_.wait_until(lock, next_file, called);
        if (ending_) return;
        if (!requests_.empty()) {
            Request request = std::move(requests_.front());
            requests_.pop_front();
            const Shown shown = shown_[request.scanout];
            lock.unlock();
            request.done(encode_to_memory(request.scanout, shown.frame, shown.cursor.get(),
                                          shown.cursor_x, shown.cursor_y));
        } else {
            next_file = std::chrono::steady_clock::now() + kFileInterval;
            const uint32_t scanout = take_flushed();
            const Shown shown = shown_[scanout];
            lock.unlock();
            write_file(scanout, shown);
        }
        lock.lock();
    }
}

/// The next flushed scanout in turn. Called with the lock, when there is one.
uint32_t PngSink::take_flushed() {
    const uint32_t not_before = flushed_ & (~uint32_t{0} << next_);
    const uint32_t from = not_before != 0 ? not_before : flushed_;
    const uint32_t scanout = static_cast<uint32_t>(std::countr_zero(from));
    flushed_ &= ~(uint32_t{1} << scanout);
    next_ = (scanout + 1) % wire::kMaxScanouts;
    return scanout;
}

void PngSink::write_file(uint32_t scanout, const Shown& shown) {
    if (!shown.frame) return;  // flushed, then turned off: the last picture stays
    // The process id keeps two devices that share a directory from writing into one another's file.
    const std::string name = fmt::format("scanout-{}.png", scanout);
    const std::string unfinished = fmt::format(".{}.{}", name, ::getpid());
    const UniqueFd file(::openat(directory_.get(), unfinished.c_str(),
                                 O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    Result<void> written;
    if (!file)
        written = fail_errno("Cannot create a file", errno);
    else
        written =
            encode(file.get(), *shown.frame, shown.cursor.get(), shown.cursor_x, shown.cursor_y);
    if (written &&
        ::renameat(directory_.get(), unfinished.c_str(), directory_.get(), name.c_str()) != 0)
        written = fail_errno("Cannot put the finished file in its place", errno);
    if (!written) {
        ::unlinkat(directory_.get(), unfinished.c_str(), 0);
        log_.warn("No picture of scanout {} was written: {}", scanout, written.error().message);
    }
}

}  // namespace swede::display
