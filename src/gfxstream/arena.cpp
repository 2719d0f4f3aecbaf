// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/arena.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace swede::gfxstream {

namespace {

constexpr size_t kFirstChunk = size_t{64} << 10;

}  // namespace

void* Arena::allocate(size_t size, size_t alignment) {
    if (size > kBound) return nullptr;
    size_t start = (used_ + alignment - 1) & ~(alignment - 1);
    if (chunks_.empty() || start + size > chunks_[chunk_].size) {
        if (total_ + size > kBound || !next_chunk(size)) return nullptr;
        start = 0;
    }
    const size_t taken = start + size - used_;
    if (total_ + taken > kBound) return nullptr;
    total_ += taken;
    used_ = start + size;
    std::byte* const bytes = chunks_[chunk_].bytes.get() + start;
    std::memset(bytes, 0, size);
    return bytes;
}

bool Arena::next_chunk(size_t size) {
    const size_t next = chunks_.empty() ? 0 : chunk_ + 1;
    const auto unused = chunks_.begin() + static_cast<ptrdiff_t>(next);
    const auto fitting = std::find_if(unused, chunks_.end(),
                                      [size](const Chunk& chunk) { return size <= chunk.size; });
    if (fitting != chunks_.end()) {
        std::swap(*unused, *fitting);
    } else {
        // Without those that are too small, whatever sizes a guest asks for one after the other.
        const size_t twice = chunks_.empty() ? kFirstChunk : 2 * chunks_.back().size;
        chunks_.resize(next);
        const size_t room = std::max(size, std::min(twice, kBound / 4));
        std::unique_ptr<std::byte[]> bytes(new (std::nothrow) std::byte[room]);
        if (bytes == nullptr) return false;
        chunks_.push_back({std::move(bytes), room});
    }
    chunk_ = next;
    used_ = 0;
    return true;
}

void Arena::rewind(const Mark& mark) {
    chunk_ = mark.chunk;
    used_ = mark.used;
    total_ = mark.total;
}

void Arena::reset() {
    rewind({});
    size_t kept = 0;
    size_t count = 0;
    while (count < chunks_.size() && kept + chunks_[count].size <= kKept) {
        kept += chunks_[count++].size;
    }
    chunks_.resize(count);
}

}  // namespace swede::gfxstream
