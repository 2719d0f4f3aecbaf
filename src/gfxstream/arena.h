// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace swede::gfxstream {

/// Memory for what one packet decodes to: handed out in order, given back all at once. Owned by a
/// ring, used by its thread only. Keeps a little over reset(), so that steady state allocates
/// nothing.
class Arena {
  public:
    static constexpr size_t kBound = size_t{64} << 20;  ///< bytes that one packet may decode to
    static constexpr size_t kKept = size_t{1} << 20;    ///< bytes kept over reset()

    /// A place to return to: what was allocated since is free again. Nested commands use it.
    struct Mark {
        size_t chunk = 0;
        size_t used = 0;
        size_t total = 0;
    };

    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    /// Zeroed; null when that passes the bound. `alignment` is a power of two, at most 16.
    [[nodiscard]] void* allocate(size_t size, size_t alignment) {
        const size_t start = (used_ + alignment - 1) & ~(alignment - 1);
        const size_t taken = start - used_ + size;
        if (bytes_ == nullptr || start > room_ || size > room_ - start || taken > kBound - total_)
            [[unlikely]]
            return allocate_in_next_chunk(size);
        total_ += taken;
        used_ = start + size;
        return std::memset(bytes_ + start, 0, size);
    }

    template <typename T>
    [[nodiscard]] T* allocate_array(size_t count) {
        static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
        if (count > kBound / sizeof(T)) return nullptr;
        return static_cast<T*>(allocate(count * sizeof(T), alignof(T)));
    }

    [[nodiscard]] Mark mark() const { return {chunk_, used_, total_}; }
    void rewind(const Mark& mark) {
        if (mark.chunk != chunk_) use(mark.chunk);
        used_ = mark.used;
        total_ = mark.total;
    }
    void reset();

  private:
    struct Chunk {
        std::unique_ptr<std::byte[]> bytes;
        size_t size = 0;
    };

    [[nodiscard]] void* allocate_in_next_chunk(size_t size);
    [[nodiscard]] bool next_chunk(size_t size);
    void use(size_t chunk);

    std::vector<Chunk> chunks_;
    size_t chunk_ = 0;            ///< the one in use; chunks_ may be empty
    std::byte* bytes_ = nullptr;  ///< of that chunk
    size_t room_ = 0;             ///< its size
    size_t used_ = 0;             ///< of that chunk
    size_t total_ = 0;            ///< handed out, padding included; at most kBound
};

}  // namespace swede::gfxstream
