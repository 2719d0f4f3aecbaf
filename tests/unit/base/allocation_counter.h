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

inline void* counted(void* memory) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    return memory;
}
inline void* allocate(size_t size) {
    return counted(std::malloc(size == 0 ? 1 : size));
}
inline void* allocate(size_t size, std::align_val_t alignment) {
    const auto align = static_cast<size_t>(alignment);
    return counted(std::aligned_alloc(align, (size + align - 1) / align * align));
}
inline void* or_throw(void* memory) {
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace swede::testing

// All that a program may call, or a sanitizer finds memory of one family given back to another. Not
// inlined: GCC would see free() on what operator new returned, and take it for a mistake.
[[gnu::noinline]] void* operator new(size_t size) {
    return swede::testing::or_throw(swede::testing::allocate(size));
}
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept {
    return swede::testing::allocate(size);
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) {
    return swede::testing::or_throw(swede::testing::allocate(size, alignment));
}
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment,
                                     const std::nothrow_t&) noexcept {
    return swede::testing::allocate(size, alignment);
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
