// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/arena.h"

#include <algorithm>
#include <utility>

namespace swede::gfxstream {

namespace {

constexpr size_t kFirstChunk = size_t{64} << 10;

}  // namespace

void* Arena::allocate_in_next_chunk(size_t size) {
    if (size > kBound - total_ || !next_chunk(size)) return nullptr;
    total_ += size;
    used_ = size;
    return std::memset(bytes_, 0, size);
}

void Arena::use(size_t chunk) {
    chunk_ = chunk;
    bytes_ = chunk < chunks_.size() ? chunks_[chunk].bytes.get() : nullptr;
    room_ = chunk < chunks_.size() ? chunks_[chunk].size : 0;
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
    use(next);
    used_ = 0;
    return true;
}

void Arena::reset() {
    rewind({});
    if (chunks_.size() == 1 && chunks_[0].size <= kKept) return;
    size_t kept = 0;
    size_t count = 0;
    while (count < chunks_.size() && kept + chunks_[count].size <= kKept) {
        kept += chunks_[count++].size;
    }
    chunks_.resize(count);
    use(0);
}

}  // namespace swede::gfxstream
