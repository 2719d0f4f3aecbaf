// SPDX-License-Identifier: Apache-2.0
// The device behind its queues: how long a fenced command takes, how many commands it serves.
//
// FencedRoundTrip: a driver on one thread submits a fenced SUBMIT_3D, notifies through an eventfd,
// sleeps in read() until the interrupt's eventfd, and takes the answer; the device lives on an
// event loop of another thread, its renderer reports the fence at once. Beside it, in turns of the
// same run, two threads that do nothing but wake each other through eventfds: `ratio` is our median
// over theirs, and the project asks for at most 2.5 (and about 15 us). The two threads of each pair
// are bound: to one processor, and in a second row to one each. Left to the scheduler, a pair moves
// between the two, and the ratio would compare placements.
//
// The others serve batches on one thread and count the device's time alone, without the driver's:
// items_per_second is commands per second.
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "base/event_fd.h"
#include "base/fd.h"
#include "unit/virtio_gpu/harness.h"

namespace swede::virtio_gpu::testing {
namespace {

using Clock = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

/// Blocks until the event is signalled. False: it cannot be waited for any more.
bool wait_for(const UniqueFd& event) {
    uint64_t count = 0;
    return ::read(event.get(), &count, sizeof(count)) == sizeof(count);
}
UniqueFd blocking_event() {
    return UniqueFd(::eventfd(0, EFD_CLOEXEC));
}

/// The processors that the calling thread may use; it gets them back when this dies.
class Processors {
  public:
    Processors() {
        CPU_ZERO(&all_);
        if (::sched_getaffinity(0, sizeof(all_), &all_) != 0) return;
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
            if (CPU_ISSET(cpu, &all_)) numbers_.push_back(cpu);
    }
    ~Processors() { ::sched_setaffinity(0, sizeof(all_), &all_); }
    Processors(const Processors&) = delete;
    Processors& operator=(const Processors&) = delete;

    /// Binds the thread to the `index`-th of them.
    [[nodiscard]] bool bind(pthread_t thread, size_t index) const {
        if (index >= numbers_.size()) return false;
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(numbers_[index], &set);
        return ::pthread_setaffinity_np(thread, sizeof(set), &set) == 0;
    }

  private:
    cpu_set_t all_;
    std::vector<int> numbers_;
};

/// Two threads that wake each other.
class PingPong {
  public:
    PingPong()
        : thread_([this] {
              while (wait_for(ping_) && !stop_.load()) signal_event(pong_.get());
          }) {}
    ~PingPong() {
        stop_ = true;
        signal_event(ping_.get());
        thread_.join();
    }
    void round_trip() {
        signal_event(ping_.get());
        wait_for(pong_);
    }
    [[nodiscard]] pthread_t thread() { return thread_.native_handle(); }

  private:
    UniqueFd ping_ = blocking_event();
    UniqueFd pong_ = blocking_event();
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

Harness::Setup setup() {
    Harness::Setup setup;
    setup.renderer = true;
    return setup;
}

/// A device on a thread of its own.
class DeviceThread {
  public:
    DeviceThread() : gpu_(setup()) {
        ok_ = gpu_.create_context(1) == wire::kRespOkNodata;
        gpu_.renderer->state.record = false;
        gpu_.host.on_interrupt = [this] { signal_event(interrupt_.get()); };
        kick_ = create_event_fd().value();
        watch_ = gpu_.loop
                     ->watch(kick_.get(), EPOLLIN,
                             [this](uint32_t) {
                                 drain_event(kick_.get());
                                 gpu_.kick();
                             })
                     .value();
        gpu_.control->kick_wanted();  // what was offered up to now is served
        thread_ = std::thread([this] { gpu_.loop->run(); });
    }
    ~DeviceThread() {
        gpu_.loop->stop();
        thread_.join();
        watch_.reset();
    }
    /// False when the answer is not the expected one.
    bool round_trip() {
        gpu_.submit(1, 7, 0);
        if (gpu_.control->kick_wanted()) signal_event(kick_.get());
        for (;;) {
            if (const auto used = gpu_.control->take_used()) return used->written == 24 && ok_;
            if (!wait_for(interrupt_)) return false;
        }
    }
    [[nodiscard]] pthread_t thread() { return thread_.native_handle(); }

  private:
    Harness gpu_;
    UniqueFd kick_;
    UniqueFd interrupt_ = blocking_event();
    EventLoop::Watch watch_;
    bool ok_ = false;
    std::thread thread_;
};

double percentile(std::vector<double>& samples, double part) {
    const auto at =
        samples.begin() + static_cast<ptrdiff_t>(part * static_cast<double>(samples.size() - 1));
    std::ranges::nth_element(samples, at);
    return *at;
}

void FencedRoundTrip(benchmark::State& state) {
    DeviceThread device;
    PingPong ping_pong;
    const Processors processors;
    const auto other = static_cast<size_t>(state.range(0)) - 1;
    if (!processors.bind(::pthread_self(), 0) || !processors.bind(device.thread(), other) ||
        !processors.bind(ping_pong.thread(), other))
        return state.SkipWithError("The threads cannot be bound to processors.");
    std::vector<double> ours;
    std::vector<double> theirs;
    constexpr int kTurn = 200;
    const auto sample = [](std::vector<double>& to, auto round_trip) {
        for (int i = 0; i < kTurn; ++i) {
            const auto start = Clock::now();
            round_trip();
            to.push_back(Micros(Clock::now() - start).count());
        }
    };
    for (auto _ : state) {
        bool ok = true;
        sample(theirs, [&] { ping_pong.round_trip(); });
        sample(ours, [&] { ok &= device.round_trip(); });
        if (!ok) return state.SkipWithError("A submit was not answered as it should be.");
    }
    state.counters["p50_us"] = percentile(ours, 0.5);
    state.counters["p99_us"] = percentile(ours, 0.99);
    state.counters["pingpong_p50_us"] = percentile(theirs, 0.5);
    state.counters["pingpong_p99_us"] = percentile(theirs, 0.99);
    state.counters["ratio"] = percentile(ours, 0.5) / percentile(theirs, 0.5);
}
BENCHMARK(FencedRoundTrip)
    ->ArgName("processors")
    ->Arg(1)
    ->Arg(2)
    ->Iterations(100)
    ->Unit(benchmark::kMillisecond);

/// Serves batches that `offer` puts into the queue; counts the device's time.
template <typename Offer>
void serve(benchmark::State& state, Harness& gpu, Offer offer) {
    constexpr int kBatch = 64;
    for (auto _ : state) {
        for (int i = 0; i < kBatch; ++i) offer(static_cast<uint64_t>(i) + 1);
        const auto start = Clock::now();
        gpu.kick();
        gpu.loop->run_once(std::chrono::milliseconds(0));
        state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
        int answered = 0;
        while (gpu.control->take_used()) ++answered;
        if (answered != kBatch) return state.SkipWithError("Not every command was answered.");
    }
    state.SetItemsProcessed(state.iterations() * kBatch);
}

void GetDisplayInfo(benchmark::State& state) {
    Harness gpu;
    serve(state, gpu, [&](uint64_t) { gpu.send(Header{.type = wire::kCmdGetDisplayInfo}); });
}
BENCHMARK(GetDisplayInfo)->UseManualTime();

void FencedFlush(benchmark::State& state) {
    Harness gpu;
    gpu.create_2d(1, 64, 64);
    serve(state, gpu, [&](uint64_t fence) {
        gpu.send(
            Header{.type = wire::kCmdResourceFlush, .flags = wire::kFlagFence, .fence_id = fence},
            wire::ResourceFlush{{0, 0, 64, 64}, 1, 0});
    });
}
BENCHMARK(FencedFlush)->UseManualTime();

void SmallSubmit(benchmark::State& state) {
    Harness gpu(setup());
    gpu.create_context(1);
    gpu.renderer->state.record = false;
    serve(state, gpu, [&](uint64_t) { gpu.submit(1); });
}
BENCHMARK(SmallSubmit)->UseManualTime();

/// Four contexts, as many as share a queue without one of them meeting its limit.
void FencedSubmit(benchmark::State& state) {
    Harness gpu(setup());
    for (uint32_t context = 1; context <= 4; ++context) gpu.create_context(context);
    gpu.renderer->state.record = false;
    serve(state, gpu,
          [&](uint64_t fence) { gpu.submit(static_cast<uint32_t>(1 + fence % 4), fence, 0); });
}
BENCHMARK(FencedSubmit)->UseManualTime();

}  // namespace
}  // namespace swede::virtio_gpu::testing

BENCHMARK_MAIN();
