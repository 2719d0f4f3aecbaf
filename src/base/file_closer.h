// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/budget.h"
#include "base/fd.h"

/// Closing files of peers. close() can wait for as long as a peer likes: a TCP socket with unsent
/// data lingers, also one that lies unread in the queue of a Unix socket that is closed, and a FUSE
/// file asks its file system first. So a thread that serves others leaves it to threads that are
/// there for this only, few for the whole process, and none while there is nothing to close.
///
/// For files that cannot wait (our own memory, eventfds, pipes; a peer's file that is known to be
/// memory) a plain close() is right, and cheaper. All functions are for any thread, and none of
/// them waits or fails. Nothing waits for the closing threads either: exit() does not, and a child
/// of fork() has its own (what was still to be closed then stays open in the child).
namespace swede {

/// Closes `fd`, if there is one: at once if it is memory, an event or a pipe, which cannot wait.
/// What it is charged with is given back once it is closed. If no thread is to be had, it stays
/// open until the next call finds one.
void close_elsewhere(UniqueFd fd, Budget::Charge charge = {});
/// The same for each of `fds`, which is empty afterwards. Nothing happens if it is empty before.
void close_elsewhere(std::vector<UniqueFd>& fds);

/// Ends a connection: the other end of `socket`, a connected one, hears of it before this returns,
/// whatever the closing threads wait for. A stream of Unix sockets in which nothing lies unread is
/// closed then, too.
void hang_up(UniqueFd socket, Budget::Charge charge = {});

/// Files of this process that were given to be closed, and are not yet.
[[nodiscard]] size_t files_to_close();
/// With more of them nobody new should be served: what a connection leaves behind may be charged to
/// nobody, and who comes back again and again must not use up this process's file descriptors.
inline constexpr size_t kMostFilesToClose = 1024;

/// Owns a peer's file, and what it is charged with; it is closed elsewhere. Movable, not
/// thread-safe.
class PeerFile {
  public:
    PeerFile() = default;
    explicit PeerFile(UniqueFd fd, Budget::Charge charge = {})
        : fd_(std::move(fd)), charge_(std::move(charge)) {}
    PeerFile(PeerFile&&) noexcept = default;
    PeerFile& operator=(PeerFile&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::move(other.fd_);
            charge_ = std::move(other.charge_);
        }
        return *this;
    }
    ~PeerFile() { reset(); }

    [[nodiscard]] int get() const { return fd_.get(); }
    [[nodiscard]] explicit operator bool() const { return static_cast<bool>(fd_); }
    /// `charge` is given back once the file is closed.
    void hold(Budget::Charge charge) { charge_ = std::move(charge); }
    /// The file without a charge: it is known by now.
    [[nodiscard]] UniqueFd take() {
        charge_.release();
        return std::move(fd_);
    }
    void reset() { close_elsewhere(std::move(fd_), std::move(charge_)); }
    /// As the function of that name.
    void hang_up() { swede::hang_up(std::move(fd_), std::move(charge_)); }

  private:
    UniqueFd fd_;
    Budget::Charge charge_;
};

}  // namespace swede
