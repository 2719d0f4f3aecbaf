// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/blob_copy.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

namespace swede::cross_domain {
namespace {

/// A turn of the reactor: 50 us of copying.
constexpr uint64_t kPiece = 256 << 10;

/// What is done a piece at a time.
class Work {
  public:
    Work(std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done)
        : cancelled_(std::move(cancelled)), done_(std::move(done)) {}
    virtual ~Work() = default;
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

    /// False once it has answered.
    [[nodiscard]] bool step() {
        if (*cancelled_) {
            done_(fail(ErrorCode::kClosed, "The copy was given up."));
            return false;
        }
        auto more = piece();
        if (more && *more) return true;
        if (more)
            done_({});
        else
            done_(std::unexpected(std::move(more).error()));
        return false;
    }

  private:
    /// True while there is more.
    [[nodiscard]] virtual Result<bool> piece() = 0;

    std::shared_ptr<const std::atomic<bool>> cancelled_;
    rutabaga::Completion<> done_;
};

class Clearing final : public Work {
  public:
    Clearing(Mapping memory, std::shared_ptr<const std::atomic<bool>> cancelled,
             rutabaga::Completion<> done)
        : Work(std::move(cancelled), std::move(done)), memory_(std::move(memory)) {}

  private:
    Result<bool> piece() override {
        const uint64_t size = std::min(kPiece, memory_.size() - cleared_);
        std::memset(memory_.data() + cleared_, 0, size);
        cleared_ += size;
        if (cleared_ < memory_.size()) return true;
        memory_ = {};
        return false;
    }

    Mapping memory_;
    uint64_t cleared_ = 0;
};

class Copy final : public Work {
  public:
    Copy(FilePart from, FilePart to, uint64_t size,
         std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done)
        : Work(std::move(cancelled), std::move(done)),
          from_(std::move(from)),
          to_(std::move(to)),
          left_(size) {}

  private:
    Result<bool> piece() override {
        std::array<std::byte, 32 << 10> buffer;
        for (uint64_t rest = std::min(kPiece, left_); rest > 0;) {
            const ssize_t count =
                ::pread(from_.fd.get(), buffer.data(), std::min<uint64_t>(buffer.size(), rest),
                        static_cast<off_t>(from_.offset));
            if (count < 0 && errno == EINTR) continue;
            if (count < 0) return fail_errno("Cannot read memory to copy", errno);
            if (count == 0) return false;
            SWEDE_TRY(write_all(buffer.data(), static_cast<size_t>(count)));
            from_.offset += static_cast<uint64_t>(count);
            to_.offset += static_cast<uint64_t>(count);
            rest -= static_cast<uint64_t>(count);
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
};

void run(Reactor& reactor, std::unique_ptr<Work> work) {
    reactor.post([&reactor, work = std::move(work)]() mutable {
        if (work->step()) run(reactor, std::move(work));
    });
}

}  // namespace

void copy_later(Reactor& reactor, FilePart from, FilePart to, uint64_t size,
                std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done) {
    run(reactor, std::make_unique<Copy>(std::move(from), std::move(to), size, std::move(cancelled),
                                        std::move(done)));
}

void clear_later(Reactor& reactor, Mapping memory,
                 std::shared_ptr<const std::atomic<bool>> cancelled, rutabaga::Completion<> done) {
    run(reactor,
        std::make_unique<Clearing>(std::move(memory), std::move(cancelled), std::move(done)));
}

}  // namespace swede::cross_domain
