// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.h"

#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/event_fd.h"

namespace swede {
namespace {
constexpr uint64_t kWakeId = 0;
constexpr int kEventsPerTurn = 64;
/// Tasks that may be posted before one is taken, without an allocation.
constexpr size_t kRoomForTasks = 32;
}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return fail_errno("Cannot create an epoll instance", errno);
    UniqueFd wake = SWEDE_TRY(create_event_fd());
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kWakeId;
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0)
        return fail_errno("Cannot watch the loop's own event", errno);
    return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

EventLoop::EventLoop(UniqueFd epoll, UniqueFd wake)
    : epoll_(std::move(epoll)), wake_(std::move(wake)) {
    // Several threads may post while the loop's does not run: who posts then should not allocate.
    posted_.reserve(kRoomForTasks);
    running_.reserve(kRoomForTasks);
}

EventLoop::~EventLoop() = default;

EventLoop::Watch& EventLoop::Watch::operator=(Watch&& other) noexcept {
    if (this != &other) {
        reset();
        loop_ = std::exchange(other.loop_, nullptr);
        id_ = std::exchange(other.id_, 0);
    }
    return *this;
}

void EventLoop::Watch::reset() {
    if (loop_ == nullptr) return;
    EventLoop& loop = *std::exchange(loop_, nullptr);
    const auto found = loop.entries_.find(id_);
    if (found == loop.entries_.end()) return;
    ::epoll_ctl(loop.epoll_.get(), EPOLL_CTL_DEL, found->second->fd, nullptr);
    loop.entries_.erase(found);
}

void EventLoop::Watch::set_events(uint32_t events) {
    if (loop_ == nullptr) return;
    epoll_event event{};
    event.events = events;
    event.data.u64 = id_;
    ::epoll_ctl(loop_->epoll_.get(), EPOLL_CTL_MOD, loop_->entries_.at(id_)->fd, &event);
}

Result<EventLoop::Watch> EventLoop::watch(int fd, uint32_t events, Callback callback) {
    const uint64_t id = next_id_++;
    epoll_event event{};
    event.events = events;
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        return fail_errno("Cannot watch a file descriptor", errno);
    entries_.emplace(id, std::make_shared<Entry>(fd, std::move(callback)));
    Watch watch;
    watch.loop_ = this;
    watch.id_ = id;
    return watch;
}

EventLoop::Timer::Timer(EventLoop& loop, Task task)
    : loop_(loop), task_(std::make_shared<Task>(std::move(task))) {}

Result<void> EventLoop::Timer::arm(std::chrono::nanoseconds delay) {
    if (!fd_) {
        UniqueFd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
        if (!fd) return fail_errno("Cannot create a timer", errno);
        watch_ =
            SWEDE_TRY(loop_.watch(fd.get(), EPOLLIN, [number = fd.get(), task = task_](uint32_t) {
                uint64_t expirations = 0;
                if (::read(number, &expirations, sizeof(expirations)) == sizeof(expirations))
                    (*task)();
            }));
        fd_ = std::move(fd);
    }
    const auto ns = std::max<int64_t>(delay.count(), 1);  // 0 would disarm
    itimerspec when{};
    when.it_value.tv_sec = ns / 1'000'000'000;
    when.it_value.tv_nsec = ns % 1'000'000'000;
    if (::timerfd_settime(fd_.get(), 0, &when, nullptr) != 0)
        return fail_errno("Cannot arm a timer", errno);
    return {};
}

void EventLoop::Timer::disarm() {
    const itimerspec never{};
    if (fd_) ::timerfd_settime(fd_.get(), 0, &never, nullptr);
}

void EventLoop::post(Task task) {
    bool first;
    {
        const std::scoped_lock lock(mutex_);
        first = posted_.empty();
        posted_.push_back(std::move(task));
    }
    if (first) signal_event(wake_.get());
}

void EventLoop::stop() {
    {
        const std::scoped_lock lock(mutex_);
        stop_ = true;
    }
    signal_event(wake_.get());
}

void EventLoop::run_posted() {
    {
        const std::scoped_lock lock(mutex_);
        running_.swap(posted_);
    }
    for (Task& task : running_) task();
    running_.clear();
}

void EventLoop::run() {
    while (run_once(std::chrono::milliseconds(-1))) {
    }
}

bool EventLoop::run_once(std::chrono::milliseconds timeout) {
    std::array<epoll_event, kEventsPerTurn> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerTurn,
                                   static_cast<int>(timeout.count()));
    for (int i = 0; i < count; ++i) {
        const uint64_t id = events[static_cast<size_t>(i)].data.u64;
        if (id == kWakeId) {
            drain_event(wake_.get());
            run_posted();
            continue;
        }
        // A callback may have ended this watch earlier in the turn; its id is never used again.
        const auto found = entries_.find(id);
        if (found == entries_.end()) continue;
        const std::shared_ptr<Entry> entry = found->second;  // survives its own removal
        entry->callback(events[static_cast<size_t>(i)].events);
    }
    const std::scoped_lock lock(mutex_);
    return !stop_;
}

}  // namespace swede
