// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/blob_copy.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

namespace swede::cross_domain {
namespace {

/// A turn of the reactor: 50 us of copying.
constexpr uint64_t kPiece = 256 << 10;

class Copy {
  public:
    Copy(FilePart from, FilePart to, uint64_t size,
         std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done)
        : from_(std::move(from)),
          to_(std::move(to)),
          left_(size),
          cancelled_(std::move(cancelled)),
          done_(std::move(done)) {}

    /// False once it has answered.
    [[nodiscard]] bool step() {
        if (*cancelled_) {
            done_(fail(ErrorCode::kClosed, "The copy was given up."));
            return false;
        }
        auto copied = copy_piece();
        if (copied && *copied) return true;
        if (copied)
            done_({});
        else
            done_(std::unexpected(std::move(copied).error()));
        return false;
    }

  private:
    /// True while there is more.
    Result<bool> copy_piece() {
        std::array<std::byte, 32 << 10> buffer;
        for (uint64_t piece = std::min(kPiece, left_); piece > 0;) {
            const ssize_t count =
                ::pread(from_.fd.get(), buffer.data(), std::min<uint64_t>(buffer.size(), piece),
                        static_cast<off_t>(from_.offset));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return fail_errno("Cannot read memory to copy", errno);
            if (count == 0) return false;
            SWEDE_TRY(write_all(buffer.data(), static_cast<size_t>(count)));
            from_.offset += static_cast<uint64_t>(count);
            to_.offset += static_cast<uint64_t>(count);
            piece -= static_cast<uint64_t>(count);
            left_ -= static_cast<uint64_t>(count);
        }
        return left_ > 0;
    }
    Result<void> write_all(const std::byte* bytes, size_t size) {
        for (size_t written = 0; written < size;) {
            const ssize_t count = ::pwrite(to_.fd.get(), bytes + written, size - written,
                                           static_cast<off_t>(to_.offset + written));
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) return fail_errno("Cannot write copied memory", errno);
            written += static_cast<size_t>(count);
        }
        return {};
    }

    FilePart from_;
    FilePart to_;
    uint64_t left_;
    std::shared_ptr<const std::atomic<bool>> cancelled_;
    rutabaga::Completion<> done_;
};

void run(Reactor& reactor, std::unique_ptr<Copy> copy) {
    reactor.post([&reactor, copy = std::move(copy)]() mutable {
        if (copy->step()) run(reactor, std::move(copy));
    });
}

}  // namespace

void copy_later(Reactor& reactor, FilePart from, FilePart to, uint64_t size,
                std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done) {
    run(reactor, std::make_unique<Copy>(std::move(from), std::move(to), size, std::move(cancelled),
                                        std::move(done)));
}

}  // namespace swede::cross_domain
