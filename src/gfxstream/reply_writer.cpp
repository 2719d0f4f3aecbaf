// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/reply_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "gfxstream/ring_layout.h"

namespace swede::gfxstream {

using namespace ring_layout;

void ReplyWriter::copy(std::span<const std::byte> bytes) {
    const uint32_t index = written_ & (kBufferSize - 1);
    const size_t first = std::min<size_t>(bytes.size(), kBufferSize - index);
    std::memcpy(memory_ + kBuffer + index, bytes.data(), first);
    if (bytes.size() != first)
        std::memcpy(memory_ + kBuffer, bytes.data() + first, bytes.size() - first);
    written_ += static_cast<uint32_t>(bytes.size());
}

size_t ReplyWriter::write(std::span<const std::byte> reply) {
    const uint32_t read = load(memory_, kFromHostLarge + kReadPosition);
    const uint32_t room = (read - written_ - 1) & (kBufferSize - 1);
    const auto part = reply.first(std::min<size_t>(reply.size(), room));
    if (part.empty()) return 0;
    copy(part);
    store(memory_, kFromHostLarge + kWritePosition, written_);
    return part.size();
}

void ReplyWriter::fill_with_device_lost() {
    constexpr size_t kWord = sizeof(int32_t);
    constexpr int32_t kDeviceLost = -4;  // VK_ERROR_DEVICE_LOST
    if (!lost_from_) lost_from_ = written_;
    // What is unread is written anew: requests that came since lie in the same buffer.
    const uint32_t read = load(memory_, kFromHostLarge + kReadPosition);
    const uint32_t unread = (written_ - read) & (kBufferSize - 1);
    written_ -= std::min(unread, written_ - *lost_from_) / kWord * kWord;
    // Byte by byte: the guest may be reading what is written anew, and positions are not aligned.
    const uint32_t size = ((read - written_ - 1) & (kBufferSize - 1)) / kWord * kWord;
    const auto word = std::bit_cast<std::array<uint8_t, kWord>>(kDeviceLost);
    auto* const buffer = reinterpret_cast<uint8_t*>(memory_ + kBuffer);
    for (uint32_t i = 0; i < size; ++i)
        __atomic_store_n(buffer + ((written_ + i) & (kBufferSize - 1)), word[i % kWord],
                         __ATOMIC_RELAXED);
    written_ += size;
    // Also for a guest that sets up its side late and has set this back.
    store(memory_, kFromHostLarge + kWritePosition, written_);
}

}  // namespace swede::gfxstream
