// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace swede {

enum class Access : uint8_t { kRead, kReadWrite };

/// Owns one mmap'ed range. A mapping of a peer's fd is entered into the SIGBUS guard, so that a
/// peer that truncates its file shows us zeroes instead of ending the process. Movable; its
/// creation and destruction are thread-safe.
class Mapping {
  public:
    Mapping() = default;
    Mapping(Mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          length_(std::exchange(other.length_, 0)),
          guarded_(std::exchange(other.guarded_, false)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        Mapping(std::move(other)).swap(*this);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    /// Zeroed private memory of `size` bytes; committed lazily by the kernel.
    [[nodiscard]] static Result<Mapping> anonymous(uint64_t size);
    /// MAP_SHARED of our own sealed file: `offset` must be page-aligned.
    [[nodiscard]] static Result<Mapping> own_file(int fd, uint64_t offset, uint64_t size,
                                                  Access access);
    /// MAP_PRIVATE of a file that is sealed against shrinking, for reading and writing: what is
    /// written is seen here alone and is memory of ours. `offset` must be page-aligned.
    [[nodiscard]] static Result<Mapping> private_file(int fd, uint64_t offset, uint64_t size);
    /// MAP_SHARED of a peer's fd, guarded against SIGBUS. Refuses what does not lie inside the file
    /// as it is now. `offset` must be a multiple of page_size_of(fd). The fd is not kept.
    [[nodiscard]] static Result<Mapping> peer_file(int fd, uint64_t offset, uint64_t size,
                                                   Access access);

    /// Bytes that offsets into this file must be a multiple of: a page, or a huge page where the
    /// VMM backs guest RAM with hugetlbfs.
    [[nodiscard]] static uint64_t page_size_of(int fd);

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] uint64_t size() const { return size_; }
    [[nodiscard]] std::span<std::byte> bytes() const { return {data_, size_}; }
    [[nodiscard]] explicit operator bool() const { return data_ != nullptr; }

    void swap(Mapping& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(length_, other.length_);
        std::swap(guarded_, other.guarded_);
    }

  private:
    Mapping(std::byte* data, uint64_t size, uint64_t length, bool guarded)
        : data_(data), size_(size), length_(length), guarded_(guarded) {}
    enum class Way : uint8_t { kShared, kPrivate, kGuarded };
    [[nodiscard]] static Result<Mapping> map_file(int fd, uint64_t offset, uint64_t size,
                                                  Access access, Way way);

    std::byte* data_ = nullptr;
    uint64_t size_ = 0;    ///< bytes
    uint64_t length_ = 0;  ///< bytes to unmap: `size_` in whole pages of the file
    bool guarded_ = false;
};

/// A memfd of `size` bytes, sealed against shrinking and growing, close-on-exec, all zero.
[[nodiscard]] Result<UniqueFd> create_memfd(std::string_view name, uint64_t size);

}  // namespace swede
