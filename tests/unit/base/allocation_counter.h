// SPDX-License-Identifier: Apache-2.0
#pragma once

// Replaces operator new by one that counts: for the one source file of a program of its own. Not
// for TSan, whose runtime has replaced it already.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace swede::testing {

inline std::atomic<uint64_t> allocations{0};  ///< so far, of all threads

/// How many `work` makes.
uint64_t allocations_of(auto work) {
    const uint64_t before = allocations.load();
    work();
    return allocations.load() - before;
}

}  // namespace swede::testing

// Not inlined: GCC would see free() on what operator new returned, and take it for a mistake.
[[gnu::noinline]] void* operator new(size_t size) {
    swede::testing::allocations.fetch_add(1, std::memory_order_relaxed);
    if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
    swede::testing::allocations.fetch_add(1, std::memory_order_relaxed);
    return std::malloc(size == 0 ? 1 : size);
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
    swede::testing::allocations.fetch_add(1, std::memory_order_relaxed);
    const auto align = static_cast<size_t>(alignment);
    if (void* const memory = std::aligned_alloc(align, (size + align - 1) / align * align))
        return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept {
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t, std::align_val_t) noexcept {
    std::free(memory);
}
