// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/heap.h"

#include <malloc.h>

#include <atomic>

namespace swede::gfxstream::vulkan {
namespace {

constexpr int kSmallMappedFrom = 128 << 10;  ///< bytes; what glibc starts with
// What glibc goes up to by itself (DEFAULT_MMAP_THRESHOLD_MAX, and twice that).
constexpr int kMappedFrom = 32 << 20;
constexpr int kTrimmedFrom = 64 << 20;

std::atomic<bool> is_small = false;

}  // namespace

void keep_heap_small() {
    is_small = true;
    ::mallopt(M_MMAP_THRESHOLD, kSmallMappedFrom);
}

void let_heap_grow() {
    if (!is_small.exchange(false)) return;
    ::mallopt(M_MMAP_THRESHOLD, kMappedFrom);
    ::mallopt(M_TRIM_THRESHOLD, kTrimmedFrom);
}

}  // namespace swede::gfxstream::vulkan
