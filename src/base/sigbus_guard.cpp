// SPDX-License-Identifier: Apache-2.0
#include "base/sigbus_guard.h"

#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <mutex>

namespace swede::sigbus_guard {
namespace {

struct Range {
    std::atomic<uintptr_t> start{0};  ///< 0 marks a free slot; written last on add, first on remove
    std::atomic<uintptr_t> end{0};
    std::atomic<uintptr_t> page_size{0};  ///< bytes
    std::atomic<int> protection{0};
    std::atomic<bool> hit{false};
};

/// As many as a guest's RAM slots, several guests over, and blobs of peers.
constexpr size_t kRanges = 8192;
std::array<Range, kRanges> ranges;
std::atomic<size_t> used{0};  // slots from this index on have never been used
std::atomic<uint64_t> hit_count{0};
std::mutex mutex;  // guards slot choice and installation; never taken by the handler
struct sigaction previous{};

/// The slot that holds `address`, null when none does. A slot that changes while it is read is not
/// the one: an address under access is in a range that nobody removes.
Range* range_of(uintptr_t address) {
    const size_t limit = used.load(std::memory_order_acquire);
    for (size_t i = 0; i < limit; ++i) {
        Range& range = ranges[i];
        const uintptr_t start = range.start.load();
        if (start != 0 && address >= start && address < range.end.load() &&
            range.start.load() == start)
            return &range;
    }
    return nullptr;
}

/// The slot whose range starts at `data`, null when none does.
Range* range_at(const void* data) {
    const size_t limit = used.load();
    for (size_t i = 0; i < limit; ++i)
        if (ranges[i].start.load() == reinterpret_cast<uintptr_t>(data)) return &ranges[i];
    return nullptr;
}

void handle(int number, siginfo_t* info, void* context) {
    const bool is_fault = info->si_code > 0;  // else a process sent it, and there is no address
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    if (Range* const range = is_fault ? range_of(address) : nullptr) {
        // mmap is not on POSIX's list of async-signal-safe functions, but on Linux it is a bare
        // system call. The fault is synchronous, so no lock of ours or of libc's allocator is held
        // that it could need.
        const uintptr_t from = address & ~(range->page_size.load() - 1);
        if (::mmap(reinterpret_cast<void*>(from), range->end.load() - from,
                   range->protection.load(),
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) {
            range->hit.store(true);
            hit_count.fetch_add(1);
            return;
        }
    }
    if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr)
        return previous.sa_sigaction(number, info, context);
    if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        return previous.sa_handler(number);
    if (!is_fault && previous.sa_handler == SIG_IGN) return;
    // Not ours: a fault comes again under the default action, so that the core dump shows the
    // place; a sent signal must be sent again.
    ::signal(SIGBUS, SIG_DFL);
    if (!is_fault) ::raise(SIGBUS);
}

void install() {
    static bool installed = false;
    if (installed) return;
    installed = true;
    struct sigaction action{};
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previous);
}

}  // namespace

bool add(void* data, uint64_t size, uint64_t page_size, int protection) {
    const std::scoped_lock lock(mutex);
    install();
    for (size_t i = 0; i < kRanges; ++i) {
        Range& range = ranges[i];
        if (range.start.load(std::memory_order_relaxed) != 0) continue;
        range.end.store(reinterpret_cast<uintptr_t>(data) + size);
        range.page_size.store(page_size);
        range.protection.store(protection);
        range.hit.store(false);
        range.start.store(reinterpret_cast<uintptr_t>(data));
        if (i >= used.load()) used.store(i + 1);
        return true;
    }
    return false;
}

void remove(void* data) {
    const std::scoped_lock lock(mutex);
    if (Range* const range = range_at(data)) range->start.store(0);
}

bool was_hit(const void* data) {
    const Range* const range = range_at(data);
    return range != nullptr && range->hit.load();
}

uint64_t hits() {
    return hit_count.load();
}

}  // namespace swede::sigbus_guard
