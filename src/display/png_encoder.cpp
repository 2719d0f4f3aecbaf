// SPDX-License-Identifier: Apache-2.0
#include "display/png_encoder.h"

#include <png.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csetjmp>
#include <cstring>

#include "rutabaga/pixel_format.h"

namespace swede::display {

/// libpng reports failure by longjmp, which runs no destructors: the functions that call it below
/// hold nothing but plain values, and what has an owner lives here.
struct PngEncoder::State {
    png_structp png = nullptr;
    png_infop info = nullptr;
    int fd = -1;
    uint32_t width = 0;      ///< px
    uint32_t rows_left = 0;  ///< to be written
    int error_number = 0;    ///< errno of a failed write
    size_t buffered = 0;     ///< bytes in `buffer`
    std::array<char, 64> message{};
    std::array<std::byte, size_t{64} * 1024> buffer;  ///< libpng writes in small pieces

    ~State() { png_destroy_write_struct(&png, &info); }

    /// False with error_number set when the file takes no more.
    [[nodiscard]] bool write_out(const std::byte* data, size_t size) {
        while (size != 0) {
            const ssize_t written = ::write(fd, data, size);
            if (written < 0) {
                if (errno == EINTR) continue;
                error_number = errno;
                return false;
            }
            data += written;
            size -= static_cast<size_t>(written);
        }
        return true;
    }

    [[nodiscard]] bool flush_buffer() {
        const size_t size = buffered;
        buffered = 0;
        return write_out(buffer.data(), size);
    }

    [[nodiscard]] std::unexpected<Error> failure() const {
        if (error_number != 0) return fail_errno("Cannot write the picture", error_number);
        return fail(ErrorCode::kUnspecified, "Cannot encode the picture: {}.", message.data());
    }

    static void on_write(png_structp png, png_bytep data, size_t size) {
        State& state = *static_cast<State*>(png_get_io_ptr(png));
        bool good = true;
        if (size > state.buffer.size() - state.buffered) good = state.flush_buffer();
        if (good && size > state.buffer.size()) {
            good = state.write_out(reinterpret_cast<const std::byte*>(data), size);
        } else if (good) {
            std::memcpy(state.buffer.data() + state.buffered, data, size);
            state.buffered += size;
        }
        if (!good) png_error(png, "the file takes no more");
    }
    static void on_flush(png_structp) {}

    [[noreturn]] static void on_error(png_structp png, png_const_charp message) {
        State& state = *static_cast<State*>(png_get_error_ptr(png));
        std::strncpy(state.message.data(), message, state.message.size() - 1);
        png_longjmp(png, 1);
    }
    static void on_warning(png_structp, png_const_charp) {}
};

namespace {

bool begin(png_structp png, png_infop info, uint32_t width, uint32_t height) {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_user_limits(png, width, height);
    // A desktop at level 1 is encoded several times as fast as at zlib's default, and is little
    // larger; no filter suits flat areas and text.
    png_set_compression_level(png, 1);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_set_IHDR(png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    png_set_filler(png, 0, PNG_FILLER_AFTER);
    png_set_bgr(png);
    return true;
}

bool write_row(png_structp png, const std::byte* row) {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_write_row(png, reinterpret_cast<png_const_bytep>(row));
    return true;
}

bool end(png_structp png) {
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_write_end(png, nullptr);
    return true;
}

}  // namespace

PngEncoder::PngEncoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
PngEncoder::~PngEncoder() = default;

Result<std::unique_ptr<PngEncoder>> PngEncoder::create(int fd, uint32_t width, uint32_t height) {
    auto state = std::make_unique<State>();
    state->fd = fd;
    state->width = width;
    state->rows_left = height;
    state->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, state.get(), State::on_error,
                                         State::on_warning);
    if (state->png != nullptr) state->info = png_create_info_struct(state->png);
    if (state->info == nullptr)
        return fail(ErrorCode::kOutOfMemory, "There is no memory to encode a picture of {}x{}.",
                    width, height);
    png_set_write_fn(state->png, state.get(), State::on_write, State::on_flush);
    if (!begin(state->png, state->info, width, height)) return state->failure();
    return std::unique_ptr<PngEncoder>(new PngEncoder(std::move(state)));
}

Result<void> PngEncoder::write_rows(std::span<const std::byte> rows) {
    const size_t row_size = size_t{state_->width} * rutabaga::kBytesPerPixel;
    if (rows.size() % row_size != 0 || rows.size() / row_size > state_->rows_left)
        return fail(ErrorCode::kInvalidParameter,
                    "{} bytes are no rows of {} bytes, of which {} are missing.", rows.size(),
                    row_size, state_->rows_left);
    for (; !rows.empty(); rows = rows.subspan(row_size)) {
        if (!write_row(state_->png, rows.data())) return state_->failure();
        --state_->rows_left;
    }
    return {};
}

Result<void> PngEncoder::finish() {
    if (state_->rows_left != 0)
        return fail(ErrorCode::kInvalidParameter, "{} rows of the picture are missing.",
                    state_->rows_left);
    if (!end(state_->png) || !state_->flush_buffer()) return state_->failure();
    return {};
}

}  // namespace swede::display
