// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/ring_reader.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/checked.h"
#include "gfxstream/ring_layout.h"

namespace swede::gfxstream {
namespace {

using namespace ring_layout;

constexpr size_t kHeaderSize = 8;             ///< bytes: opcode, size
constexpr size_t kFirstCapacity = 16 * 1024;  ///< bytes

uint32_t word_at(const std::byte* bytes) {
    uint32_t word;
    std::memcpy(&word, bytes, sizeof(word));
    return word;
}

}  // namespace

bool RingReader::has_input() const {
    const uint32_t written = load(memory_, kToHost + kWritePosition);
    return ((written - descriptors_read_) & (kDescriptorsSize - 1)) >= sizeof(Descriptor) ||
           large_available() != 0;
}

uint32_t RingReader::large_available() const {
    const uint32_t written = load(memory_, kToHostLarge + kWritePosition);
    const uint32_t available = (written - large_read_) & (kBufferSize - 1);
    // The guest sets the size before it writes; without one, these are not bytes of a request.
    return available == 0 ? 0 : std::min(available, load(memory_, kConfigTransferSize));
}

Result<RingReader::Step> RingReader::step() {
    if (SWEDE_TRY(take_packet())) return Step::kPacket;
    // The descriptors' position first: a guest that goes on with type 1 before we have drained its
    // type 3 request has written that one earlier, so we see it now and take it first.
    const uint32_t written = load(memory_, kToHost + kWritePosition);
    if (const uint32_t size = large_available(); size != 0) {
        SWEDE_TRY(take_large(std::min(size, kFlushInterval)));
    } else if (((written - descriptors_read_) & (kDescriptorsSize - 1)) >= sizeof(Descriptor)) {
        SWEDE_TRY(take_described());
    } else {
        return Step::kIdle;
    }
    return SWEDE_TRY(take_packet()) ? Step::kPacket : Step::kProgress;
}

Result<bool> RingReader::take_packet() {
    packet_ = {};
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ - begin_ < kHeaderSize) {
        if (end_ == 0 && capacity_ > kKept) {
            input_.reset();
            charge_.release();
            capacity_ = 0;
        }
        return false;
    }
    const std::byte* const start = input_.get() + begin_;
    const uint32_t opcode = word_at(start);
    const uint32_t size = word_at(start + sizeof(uint32_t));
    if (size < kHeaderSize || size > kMaxPacket)
        return fail(ErrorCode::kProtocol, "A packet with opcode {} announces {} bytes.", opcode,
                    size);
    if (end_ - begin_ < size) return false;
    packet_ = {opcode, {start + kHeaderSize, size - kHeaderSize}};
    begin_ += size;
    return true;
}

Result<void> RingReader::take_large(uint32_t size) {
    std::byte* const to = SWEDE_TRY(room_for(size));
    const uint32_t index = large_read_ & (kBufferSize - 1);
    const uint32_t first = std::min(size, kBufferSize - index);
    std::memcpy(to, memory_ + kBuffer + index, first);
    std::memcpy(to + first, memory_ + kBuffer, size - first);
    received(size);
    // The size before the position: a guest that sees the ring drained may set another size (Mesa
    // 25.0.7, AddressSpaceStream.cpp, writeFullyAsync).
    subtract(memory_, kConfigTransferSize, size);
    large_read_ += size;
    store(memory_, kToHostLarge + kReadPosition, large_read_);
    return {};
}

Result<void> RingReader::take_described() {
    // Positions move by whole descriptors, so none wraps.
    const uint32_t index = descriptors_read_ & (kDescriptorsSize - 1);
    Descriptor descriptor;
    std::memcpy(&descriptor, memory_ + kToHost + kDescriptors + index, sizeof(descriptor));
    if (!range_fits(descriptor.offset, descriptor.size, kBufferSize))
        return fail(ErrorCode::kProtocol, "{} bytes at offset {} are not inside the ring's buffer.",
                    descriptor.size, descriptor.offset);
    std::byte* const to = SWEDE_TRY(room_for(descriptor.size));
    if (descriptor.size != 0)  // an empty one may meet an empty buffer
        std::memcpy(to, memory_ + kBuffer + descriptor.offset, descriptor.size);
    received(descriptor.size);
    descriptors_read_ += sizeof(Descriptor);
    store(memory_, kToHost + kReadPosition, descriptors_read_);
    return {};
}

Result<std::byte*> RingReader::room_for(size_t size) {
    const size_t held = end_ - begin_;
    if (capacity_ - end_ < size && begin_ != 0) {
        // What is left of a packet, less than one step unless the packet is larger than that.
        if (held != 0) std::memmove(input_.get(), input_.get() + begin_, held);
        begin_ = 0;
        end_ = held;
    }
    if (capacity_ - end_ >= size) return input_.get() + end_;
    // take_packet() has checked that what is held belongs to one packet, of a possible size.
    const size_t doubled = std::min(2 * capacity_, kMaxPacket + kBufferSize);
    const size_t capacity = std::max({held + size, doubled, kFirstCapacity});
    Budget::Charge charge;
    if (budget_) charge = SWEDE_TRY(budget_->charge(BudgetKind::kHostBytes, capacity));
    std::unique_ptr<std::byte[]> grown(new (std::nothrow) std::byte[capacity]);
    if (!grown)
        return fail(ErrorCode::kOutOfMemory, "There are no {} bytes for a packet.", capacity);
    if (held != 0) std::memcpy(grown.get(), input_.get(), held);
    input_ = std::move(grown);
    charge_ = std::move(charge);
    capacity_ = capacity;
    return input_.get() + end_;
}

void RingReader::received(size_t size) {
    end_ += size;
    // A stream begins with flags that mean nothing here (GfxStreamConnectionManager.cpp).
    const auto flags = static_cast<uint32_t>(std::min<size_t>(client_flags_left_, end_ - begin_));
    client_flags_left_ -= flags;
    begin_ += flags;
}

void RingReader::discard_input() {
    descriptors_read_ = load(memory_, kToHost + kWritePosition) & ~uint32_t{sizeof(Descriptor) - 1};
    store(memory_, kToHost + kReadPosition, descriptors_read_);
    large_read_ = load(memory_, kToHostLarge + kWritePosition);
    store(memory_, kConfigTransferSize, 0);
    store(memory_, kToHostLarge + kReadPosition, large_read_);
    begin_ = end_ = 0;
    packet_ = {};
}

}  // namespace swede::gfxstream
