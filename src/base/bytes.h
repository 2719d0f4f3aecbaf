// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/result.h"

namespace swede {

template <typename T>
concept WireStruct = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;

/// A structure without padding: its bytes are all initialised, so none of ours leak to a peer (I4).
template <typename T>
concept PackedWireStruct = WireStruct<T> && std::has_unique_object_representations_v<T>;

/// Reads structures from a private copy of a peer's bytes. Pointer and size move together, so no
/// read passes the end; every read consumes, so a loop over a reader ends. Not for shared memory:
/// copy out of it first (single fetch).
class ByteReader {
  public:
    explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    [[nodiscard]] size_t remaining() const { return bytes_.size(); }

    template <WireStruct T>
    [[nodiscard]] Result<T> read() {
        if (bytes_.size() < sizeof(T)) return too_short(sizeof(T));
        T value;
        std::memcpy(&value, bytes_.data(), sizeof(T));
        bytes_ = bytes_.subspan(sizeof(T));
        return value;
    }

    [[nodiscard]] Result<std::span<const std::byte>> read_bytes(size_t size) {
        if (bytes_.size() < size) return too_short(size);
        const auto head = bytes_.first(size);
        bytes_ = bytes_.subspan(size);
        return head;
    }

    [[nodiscard]] std::span<const std::byte> rest() const { return bytes_; }

  private:
    [[nodiscard]] std::unexpected<Error> too_short(size_t wanted) const {
        return fail(ErrorCode::kInvalidParameter,
                    "The message has {} bytes left where {} are needed.", bytes_.size(), wanted);
    }

    std::span<const std::byte> bytes_;
};

/// Writes structures into a bounded private buffer, which is later copied to the peer whole.
class ByteWriter {
  public:
    explicit ByteWriter(std::span<std::byte> buffer) : buffer_(buffer) {}

    [[nodiscard]] size_t written() const { return written_; }

    template <PackedWireStruct T>
    [[nodiscard]] bool write(const T& value) {
        return write_bytes(std::as_bytes(std::span(&value, 1)));
    }

    [[nodiscard]] bool write_bytes(std::span<const std::byte> bytes) {
        if (bytes.size() > buffer_.size() - written_) return false;
        if (!bytes.empty()) std::memcpy(buffer_.data() + written_, bytes.data(), bytes.size());
        written_ += bytes.size();
        return true;
    }

  private:
    std::span<std::byte> buffer_;
    size_t written_ = 0;  ///< bytes
};

template <PackedWireStruct T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

}  // namespace swede
