// SPDX-License-Identifier: Apache-2.0
#include "base/sigbus_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <mutex>

#include "base/checked.h"

namespace swede::sigbus_guard {
namespace {

struct Range {
    std::atomic<uintptr_t> start{0};  ///< 0 marks a free slot; written last on add, first on remove
    std::atomic<uintptr_t> end{0};
    std::atomic<int> protection{0};
    std::atomic<bool> hit{false};
};

/// As many as a guest's RAM slots, several guests over, and blobs of peers.
constexpr size_t kRanges = 8192;
std::array<Range, kRanges> ranges;
std::atomic<uint64_t> hit_count{0};
std::mutex mutex;  // guards slot choice and installation; never taken by the handler
size_t used = 0;   // slots below this index may be in use
struct sigaction previous {};
std::atomic<size_t> used_limit{0};

void handle(int number, siginfo_t* info, void* context) {
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    const size_t limit = used_limit.load(std::memory_order_acquire);
    for (size_t i = 0; i < limit; ++i) {
        const uintptr_t start = ranges[i].start.load(std::memory_order_acquire);
        if (start == 0 || address < start || address >= ranges[i].end.load()) continue;
        // mmap is not on POSIX's list of async-signal-safe functions, but on Linux it is a bare
        // system call. The fault is synchronous, so no lock of ours or of libc's allocator is held
        // that it could need.
        void* const page = reinterpret_cast<void*>(address & ~(kPageSize - 1));
        if (::mmap(page, kPageSize, ranges[i].protection.load(),
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        ranges[i].hit.store(true);
        hit_count.fetch_add(1);
        return;
    }
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr)
        return previous.sa_sigaction(number, info, context);
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        return previous.sa_handler(number);
    // Not ours: fault again under the default action, so that the core dump shows the place.
    ::signal(SIGBUS, SIG_DFL);
}

void install() {
    static bool installed = false;
    if (installed) return;
    installed = true;
    struct sigaction action {};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previous);
}

}  // namespace

bool add(void* data, uint64_t size, int protection) {
    const std::scoped_lock lock(mutex);
    install();
    for (size_t i = 0; i < kRanges; ++i) {
        Range& range = ranges[i];
        if (range.start.load(std::memory_order_relaxed) != 0) continue;
        range.end.store(reinterpret_cast<uintptr_t>(data) + size);
        range.protection.store(protection);
        range.hit.store(false);
        range.start.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
        if (i >= used) {
            used = i + 1;
            used_limit.store(used, std::memory_order_release);
        }
        return true;
    }
    return false;
}

void remove(void* data) {
    const std::scoped_lock lock(mutex);
    for (size_t i = 0; i < used; ++i)
        if (ranges[i].start.load(std::memory_order_relaxed) == reinterpret_cast<uintptr_t>(data))
            return ranges[i].start.store(0, std::memory_order_release);
}

bool was_hit(const void* data) {
    const size_t limit = used_limit.load(std::memory_order_acquire);
    for (size_t i = 0; i < limit; ++i)
        if (ranges[i].start.load() == reinterpret_cast<uintptr_t>(data)) return ranges[i].hit.load();
    return false;
}

uint64_t hits() { return hit_count.load(); }

}  // namespace swede::sigbus_guard
