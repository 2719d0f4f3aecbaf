// SPDX-License-Identifier: Apache-2.0
#include "base/file_closer.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/blocked_signals.h"
#include "base/fd_link.h"

namespace swede {
namespace {

/// As many files can wait at once; the others wait behind them.
constexpr size_t kMaxThreads = 8;

/// The files and threads of one process. Never destroyed: its threads are not joined.
class Closer {
  public:
    [[nodiscard]] static Closer& of_process();

    void add(UniqueFd fd, Budget::Charge charge) {
        const std::scoped_lock lock(mutex_);
        queue_.push_back({std::move(fd), std::move(charge)});
        ++left_;
        start_if_needed();
    }

    [[nodiscard]] size_t left() {
        const std::scoped_lock lock(mutex_);
        return left_;
    }

  private:
    struct File {
        UniqueFd fd;
        Budget::Charge charge;
    };

    /// Under the lock. While a file is in the queue and there may be one thread more, one is on its
    /// way. It starts the next itself, so that who closes many files starts one thread.
    void start_if_needed() {
        if (queue_.empty() || starting_ || threads_ == kMaxThreads) return;
        const BlockedSignals blocked;
        try {
            std::thread([this] { run(); }).detach();
        } catch (const std::system_error&) {
            return;
        }
        starting_ = true;
        ++threads_;
    }

    void run() {
        ::pthread_setname_np(::pthread_self(), "file-closer");
        std::unique_lock lock(mutex_);
        starting_ = false;
        while (!queue_.empty()) {
            File file = std::move(queue_.front());
            queue_.pop_front();
            start_if_needed();
            lock.unlock();
            file.fd.reset();
            file.charge.release();
            lock.lock();
            --left_;
        }
        --threads_;
    }

    std::mutex mutex_;        ///< guards all
    std::deque<File> queue_;  ///< of no thread yet
    size_t left_ = 0;         ///< in the queue, or with a thread
    size_t threads_ = 0;
    bool starting_ = false;  ///< the newest thread has taken no file yet
};

std::atomic<Closer*>& present() {
    static std::atomic<Closer*> closer = [] {
        // The child has none of the threads, and the lock may be held by one of them.
        ::pthread_atfork(nullptr, nullptr, [] { present() = new Closer; });
        return new Closer;
    }();
    return closer;
}

Closer& Closer::of_process() {
    return *present().load();
}

/// Memory files, events and pipes are the kernel's alone.
bool never_waits(int fd) {
    if (::fcntl(fd, F_GET_SEALS) >= 0) return true;
    std::array<char, 64> buffer;
    const std::string_view link = link_of(fd, buffer);
    return link.starts_with("anon_inode:[eventfd]") || link.starts_with("pipe:[");
}

/// Of a socket that was hung up: nothing arrives any more in the queue of a stream of Unix sockets,
/// and only what lies there can make its end wait. Most have an empty one, and many are closed: one
/// for each fence of a program.
bool closes_at_once(int socket) {
    const auto option = [socket](int name) {
        int value = 0;
        socklen_t size = sizeof(value);
        return ::getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
    };
    int unread = 0;
    return option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == SOCK_STREAM &&
           ::ioctl(socket, FIONREAD, &unread) == 0 && unread == 0;
}

}  // namespace

void close_elsewhere(UniqueFd fd, Budget::Charge charge) {
    if (fd && !never_waits(fd.get())) Closer::of_process().add(std::move(fd), std::move(charge));
}

void close_elsewhere(std::vector<UniqueFd>& fds) {
    for (UniqueFd& fd : fds) close_elsewhere(std::move(fd));
    fds.clear();
}

void hang_up(UniqueFd socket, Budget::Charge charge) {
    if (!socket) return;
    ::shutdown(socket.get(), SHUT_RDWR);
    if (closes_at_once(socket.get())) return;
    close_elsewhere(std::move(socket), std::move(charge));
}

size_t files_to_close() {
    return Closer::of_process().left();
}

}  // namespace swede
