// SPDX-License-Identifier: Apache-2.0
#include "registry.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <vector>

#include "libc.h"

namespace swede::shim::registry {
namespace {

constexpr size_t kMaxNodes = 256;
constexpr int kFirstPause = 1;  ///< ms between two looks at the rings of a lost context
constexpr int kLastPause = 20;  ///< ms
constexpr size_t kWatcherStack = size_t{128} << 10;

/// What minor_of() reads without a lock.
struct Slot {
    std::atomic<uint64_t> inode{0};  ///< 0: free
    std::atomic<uint64_t> device{0};
    std::atomic<unsigned> minor{0};
};

struct Merge {
    Fd first;  ///< empty once readable
    Fd second;
    Fd signal;
};

/// Never destroyed: the watcher's thread runs until the process has ended.
struct State {
    std::array<Slot, kMaxNodes> slots;
    std::atomic<size_t> open{0};

    std::mutex mutex;  ///< guards what follows, and the changing of slots
    std::array<std::shared_ptr<Node>, kMaxNodes> nodes;
    std::vector<Merge> merges;
    std::vector<std::weak_ptr<Node>> lost;  ///< their sockets are not looked at any more
    Fd wake;                                ///< eventfd; empty: no watcher runs
};

State& state() {
    static State* const only = new State;
    return *only;
}

void before_fork() {
    state().mutex.lock();
}
void after_fork_in_parent() {
    state().mutex.unlock();
}
void after_fork_in_child() {
    State& all = state();
    for (auto& node : all.nodes) {
        if (!node) continue;
        node->abandon_in_child();
        const auto own = std::make_shared<Node>(node->identity(), node->minor(), Fd(), nullptr);
        // The parent's object is left alone for ever.
        static_cast<void>(new std::shared_ptr<Node>(std::exchange(node, own)));
    }
    all.wake.reset();
    all.merges.clear();
    all.lost.clear();
    all.mutex.unlock();
}

[[gnu::constructor]] void mind_forks() {
    static_cast<void>(state());
    ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

bool hung_up(int fd) {
    pollfd look{fd, 0, 0};
    return fd >= 0 && ::poll(&look, 1, 0) == 1 && (look.revents & POLLHUP) != 0;
}

/// Takes out the nodes that the program has closed; the mutex is held. They die with the result.
std::vector<std::shared_ptr<Node>> sweep(State& all) {
    std::vector<std::shared_ptr<Node>> gone;
    for (size_t i = 0; i < kMaxNodes; ++i) {
        if (!all.nodes[i] || !hung_up(all.nodes[i]->other_end())) continue;
        all.slots[i].inode = 0;
        --all.open;
        gone.push_back(std::move(all.nodes[i]));
    }
    return gone;
}

bool is_lost(const State& all, const std::shared_ptr<Node>& node) {
    return std::ranges::any_of(all.lost, [&](const auto& other) { return other.lock() == node; });
}

/// One round of the watcher; how long the next may sleep at most, in ms (-1: for ever).
int watch_once(State& all, int pause) {
    std::vector<pollfd> looks;
    std::vector<std::shared_ptr<Node>> nodes;  // of looks[1], looks[3], ... until they end
    std::vector<std::shared_ptr<Node>> gone;
    std::vector<std::shared_ptr<Node>> lost;
    {
        const std::scoped_lock lock(all.mutex);
        looks.push_back({all.wake.get(), POLLIN, 0});
        for (const auto& node : all.nodes) {
            if (!node) continue;
            nodes.push_back(node);
            looks.push_back({node->other_end(), 0, 0});
            looks.push_back({is_lost(all, node) ? -1 : node->socket(), POLLRDHUP, 0});
        }
        for (const Merge& merge : all.merges)
            looks.push_back({merge.first ? merge.first.get() : merge.second.get(), POLLIN, 0});
    }
    static_cast<void>(::poll(looks.data(), looks.size(), pause));
    for (size_t i = 0; i < nodes.size(); ++i)
        if ((looks[2 * i + 2].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) nodes[i]->set_lost();
    {
        const std::scoped_lock lock(all.mutex);
        uint64_t count = 0;
        if ((looks[0].revents & POLLIN) != 0)
            static_cast<void>(!::read(all.wake.get(), &count, sizeof(count)));
        for (size_t i = 0; i < nodes.size(); ++i)
            if ((looks[2 * i + 2].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
                all.lost.emplace_back(nodes[i]);
        // Merges may have been added since, behind the others; nobody else takes any away.
        const size_t first = 2 * nodes.size() + 1;
        for (size_t i = looks.size(); i-- > first;) {
            if (looks[i].revents == 0) continue;
            Merge& merge = all.merges[i - first];
            if (merge.first)
                merge.first.reset();
            else
                all.merges.erase(all.merges.begin() + static_cast<ptrdiff_t>(i - first));
        }
        gone = sweep(all);
        std::erase_if(all.lost, [](const auto& node) { return node.expired(); });
        for (const auto& weak : all.lost)
            if (auto node = weak.lock()) lost.push_back(std::move(node));
    }
    nodes.clear();
    gone.clear();
    bool again = false;
    for (const auto& node : lost) again = node->abort_rings() || again;
    if (!again) return -1;
    return pause < 0 ? kFirstPause : std::min(2 * pause, kLastPause);
}

void* run_watcher(void*) {
    int pause = -1;
    for (;;) pause = watch_once(state(), pause);
}

/// The mutex is held.
void start_watcher(State& all) {
    if (all.wake) return;
    all.wake.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!all.wake)
        return say("No watcher can run (error %d). A lost GPU may hang the program.", errno);
    sigset_t every;
    sigset_t before;
    ::sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before);
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    ::pthread_attr_setstacksize(&attributes, kWatcherStack);
    pthread_t thread;
    const int error = ::pthread_create(&thread, &attributes, run_watcher, nullptr);
    ::pthread_attr_destroy(&attributes);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error == 0) {
        ::pthread_setname_np(thread, "swede-shim");
        return;
    }
    all.wake.reset();
    say("No watcher can run (error %d). A lost GPU may hang the program.", error);
}

void wake_watcher(State& all) {
    const uint64_t one = 1;
    if (all.wake) static_cast<void>(!::write(all.wake.get(), &one, sizeof(one)));
}

}  // namespace

int open_node(unsigned minor, int flags) {
    auto connection = Connection::open();
    if (!connection) {
        errno = connection.error();
        return -1;
    }
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    Fd ours(ends[1]);
    Fd programs(ends[0]);
    struct stat status{};
    if (libc().fstat(programs.get(), &status) != 0) return -1;
    auto node = std::make_shared<Node>(Node::Identity{status.st_dev, status.st_ino}, minor,
                                       std::move(ours), *std::move(connection));
    State& all = state();
    std::vector<std::shared_ptr<Node>> gone;
    {
        const std::scoped_lock lock(all.mutex);
        gone = sweep(all);
        const auto free = std::ranges::find(all.nodes, nullptr);
        if (free == all.nodes.end()) {
            errno = EMFILE;
            return -1;
        }
        Slot& slot = all.slots[static_cast<size_t>(free - all.nodes.begin())];
        slot.device = status.st_dev;
        slot.minor = minor;
        slot.inode = status.st_ino;
        ++all.open;
        *free = std::move(node);
        wake_watcher(all);
    }
    if ((flags & O_CLOEXEC) == 0) ::fcntl(programs.get(), F_SETFD, 0);
    if ((flags & O_NONBLOCK) != 0) ::fcntl(programs.get(), F_SETFL, O_RDWR | O_NONBLOCK);
    return programs.release();
}

bool any_open() {
    return state().open.load(std::memory_order_relaxed) != 0;
}

std::optional<unsigned> minor_of(const Node::Identity& identity) {
    for (const Slot& slot : state().slots)
        if (slot.inode == identity.inode && slot.device == identity.device) return slot.minor;
    return std::nullopt;
}

std::shared_ptr<Node> find(int fd) {
    if (!any_open()) return nullptr;
    const ErrnoKeeper keeper;
    struct stat status{};
    if (libc().fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode)) return nullptr;
    const Node::Identity identity{status.st_dev, status.st_ino};
    if (!minor_of(identity)) return nullptr;
    State& all = state();
    const std::scoped_lock lock(all.mutex);
    for (const auto& node : all.nodes)
        if (node && node->identity() == identity) return node;
    return nullptr;
}

void watch() {
    State& all = state();
    const std::scoped_lock lock(all.mutex);
    start_watcher(all);
    wake_watcher(all);
}

void close_after(Fd first, Fd second, Fd signal) {
    State& all = state();
    const std::scoped_lock lock(all.mutex);
    start_watcher(all);
    all.merges.push_back({std::move(first), std::move(second), std::move(signal)});
    wake_watcher(all);
}

}  // namespace swede::shim::registry
