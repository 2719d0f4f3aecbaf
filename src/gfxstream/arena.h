// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
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
    [[nodiscard]] void* allocate(size_t size, size_t alignment);

    template <typename T>
    [[nodiscard]] T* allocate_array(size_t count) {
        static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
        if (count > kBound / sizeof(T)) return nullptr;
        return static_cast<T*>(allocate(count * sizeof(T), alignof(T)));
    }

    [[nodiscard]] Mark mark() const { return {chunk_, used_, total_}; }
    void rewind(const Mark& mark);
    void reset();

  private:
    struct Chunk {
        std::unique_ptr<std::byte[]> bytes;
        size_t size = 0;
    };

    [[nodiscard]] bool next_chunk(size_t size);

    std::vector<Chunk> chunks_;
    size_t chunk_ = 0;  ///< the one in use; chunks_ may be empty
    size_t used_ = 0;   ///< of that chunk
    size_t total_ = 0;  ///< handed out, padding included
};

}  // namespace swede::gfxstream
