// SPDX-License-Identifier: Apache-2.0
// A hostile guest on one ring of gfxstream: whatever it writes into the ring's memory between two
// turns of ours, sound or not. A second reader, which takes the guest's bytes one by one, says what
// the next turn must bring. The input is a list of steps (kinds below);
// make_gfxstream_ring_seeds.py writes the seeds in the same form. Parsers:
// src/gfxstream/ring_reader.cpp src/gfxstream/reply_writer.cpp
#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "gfxstream/reply_writer.h"
#include "gfxstream/ring_layout.h"
#include "gfxstream/ring_reader.h"
#include "require.h"
#include "small_limits.h"

namespace {

using namespace swede;
using namespace swede::gfxstream;
using namespace swede::gfxstream::ring_layout;
using fuzz::require;

constexpr int kMaxSteps = 500;
constexpr size_t kMaxTaken = size_t{4} << 20;  ///< bytes, so that one input does not take seconds
constexpr uint64_t kSmallBudget = 100'000;     ///< bytes, of host memory
constexpr uint32_t kMask = kBufferSize - 1;

/// Words that mean something, for steps that set one.
constexpr std::array<uint64_t, 13> kWords{kToHost + kWritePosition,
                                          kToHost + kReadPosition,
                                          kToHostLarge + kWritePosition,
                                          kToHostLarge + kReadPosition,
                                          kFromHostLarge + kWritePosition,
                                          kFromHostLarge + kReadPosition,
                                          kToHost + kState,
                                          kConfigBufferSize,
                                          kConfigFlushInterval,
                                          kConfigTransferMode,
                                          kConfigTransferSize,
                                          kConfigInError,
                                          kToHost + kDescriptors};

/// What a turn must bring, read as the layout says it and as plainly as can be.
class Model {
  public:
    enum class Outcome : uint8_t { kIdle, kProgress, kPacket, kBroken };

    explicit Model(const std::byte* memory) : memory_(memory) {}

    Outcome step() {
        if (const auto known = packet_in_stream()) return *known;
        if (const uint32_t size = std::min(large_available(), kFlushInterval); size != 0) {
            take(large_ & kMask, size);
            large_ += size;
        } else if (const auto descriptor = next_descriptor()) {
            if (uint64_t{descriptor->offset} + descriptor->size > kBufferSize)
                return Outcome::kBroken;
            take(descriptor->offset, descriptor->size);
            descriptors_ += sizeof(Descriptor);
        } else {
            return Outcome::kIdle;
        }
        return packet_in_stream().value_or(Outcome::kProgress);
    }
    void discard() {
        consumed_ = stream_.size();
        descriptors_ = load(memory_, kToHost + kWritePosition) & ~uint32_t{7};
        large_ = load(memory_, kToHostLarge + kWritePosition);
    }

    [[nodiscard]] bool has_input() const {
        return large_available() != 0 || next_descriptor().has_value();
    }
    /// Until the next step().
    [[nodiscard]] std::span<const std::byte> packet() const { return packet_; }
    [[nodiscard]] uint32_t descriptors() const { return descriptors_; }
    [[nodiscard]] uint32_t large() const { return large_; }
    [[nodiscard]] size_t taken() const { return taken_; }

  private:
    /// Bytes of the buffer, which goes on at its beginning.
    void take(uint32_t at, uint32_t size) {
        const std::byte* const buffer = memory_ + kBuffer;
        const uint32_t first = std::min(size, kBufferSize - at);
        stream_.insert(stream_.end(), buffer + at, buffer + at + first);
        stream_.insert(stream_.end(), buffer, buffer + (size - first));
        taken_ += size;
        // Four bytes of flags begin the stream.
        const auto flags = std::min<size_t>(flags_left_, stream_.size() - consumed_);
        flags_left_ -= flags;
        consumed_ += flags;
    }
    std::optional<Outcome> packet_in_stream() {
        const auto left = std::span(stream_).subspan(consumed_);
        uint32_t head[2];
        if (left.size() < sizeof(head)) return std::nullopt;
        std::memcpy(head, left.data(), sizeof(head));
        if (head[1] < sizeof(head) || head[1] > RingReader::kMaxPacket) return Outcome::kBroken;
        if (left.size() < head[1]) return std::nullopt;
        packet_ = left.first(head[1]);
        consumed_ += head[1];
        return Outcome::kPacket;
    }
    [[nodiscard]] uint32_t large_available() const {
        const uint32_t written = load(memory_, kToHostLarge + kWritePosition);
        return std::min((written - large_) & kMask, load(memory_, kConfigTransferSize));
    }
    [[nodiscard]] std::optional<Descriptor> next_descriptor() const {
        const uint32_t written = load(memory_, kToHost + kWritePosition);
        if (((written - descriptors_) & (kDescriptorsSize - 1)) < sizeof(Descriptor))
            return std::nullopt;
        Descriptor descriptor;
        std::memcpy(&descriptor, memory_ + kToHost + kDescriptors + descriptors_ % kDescriptorsSize,
                    sizeof(descriptor));
        return descriptor;
    }

    const std::byte* memory_;
    uint32_t descriptors_ = 0;
    uint32_t large_ = 0;
    size_t taken_ = 0;
    size_t flags_left_ = sizeof(uint32_t);
    std::vector<std::byte> stream_;  ///< all that was taken
    size_t consumed_ = 0;
    std::span<const std::byte> packet_;  ///< in stream_
};

class Run {
  public:
    explicit Run(std::span<const std::byte> input) : input_(input) {
        const bool is_small = take<uint8_t>() % 2 != 0;
        budget_ = is_small
                      ? Budget::create(fuzz::limits_with({{BudgetKind::kHostBytes, kSmallBudget}}))
                      : Budget::create();
        reader_ = std::make_unique<RingReader>(memory(), budget_);
    }

    void run() {
        for (int i = 0; i < kMaxSteps && !broken_ && input_.remaining() != 0; ++i) step();
        reader_.reset();
        require(budget_->used(BudgetKind::kHostBytes) == 0);
    }

  private:
    // Kinds of steps, the first byte of each.
    static constexpr uint8_t kBytes = 'b';       ///< u32 offset, u16 size, bytes: anywhere
    static constexpr uint8_t kWord = 'w';        ///< u8 which, u32 value
    static constexpr uint8_t kDescriptor = 'd';  ///< u32 offset, u32 size: as it is
    static constexpr uint8_t kType1 = 'p';       ///< u16 size, bytes: a sound transfer
    static constexpr uint8_t kType3 = 'l';       ///< u16 size, bytes: a sound transfer
    static constexpr uint8_t kFill = 'f';        ///< u8 value, u32 size: of the buffer
    static constexpr uint8_t kTurns = 't';       ///< u8: how many, at most until all is idle
    static constexpr uint8_t kDiscard = 'x';
    static constexpr uint8_t kReply = 'r';  ///< u32 size, at most twice the buffer
    static constexpr uint8_t kLost = 'e';

    template <typename T>
    T take() {
        const auto value = input_.read<T>();
        return value ? *value : T{};
    }
    std::span<const std::byte> take_bytes() {
        const size_t size = std::min<size_t>(take<uint16_t>(), input_.remaining());
        return *input_.read_bytes(size);
    }
    [[nodiscard]] std::byte* memory() { return reinterpret_cast<std::byte*>(words_.get()); }

    void step() {
        switch (take<uint8_t>()) {
            case kBytes: {
                const size_t at = take<uint32_t>() % kSize;
                const auto bytes = take_bytes();
                const size_t size = std::min<size_t>(bytes.size(), kSize - at);
                if (size != 0) std::memcpy(memory() + at, bytes.data(), size);
                break;
            }
            case kWord: {
                const uint64_t at = kWords[take<uint8_t>() % kWords.size()];
                store(memory(), at, take<uint32_t>());
                break;
            }
            case kDescriptor: {
                Descriptor descriptor{};
                descriptor.offset = take<uint32_t>();
                descriptor.size = take<uint32_t>();
                put(descriptor);
                break;
            }
            case kType1: {
                const auto bytes = take_bytes();
                const Descriptor descriptor{at_ % (kBufferSize / 2),
                                            static_cast<uint32_t>(bytes.size())};
                if (!bytes.empty())
                    std::memcpy(memory() + kBuffer + descriptor.offset, bytes.data(), bytes.size());
                at_ += 4096;
                put(descriptor);
                break;
            }
            case kType3: {
                const auto bytes = take_bytes();
                const uint32_t written = load(memory(), kToHostLarge + kWritePosition);
                for (uint32_t i = 0; i < bytes.size(); ++i)
                    memory()[kBuffer + ((written + i) & kMask)] = bytes[i];
                store(memory(), kConfigTransferSize, static_cast<uint32_t>(bytes.size()));
                store(memory(), kToHostLarge + kWritePosition,
                      written + static_cast<uint32_t>(bytes.size()));
                break;
            }
            case kFill: {
                const auto value = take<uint8_t>();
                std::memset(memory() + kBuffer, value,
                            std::min<size_t>(take<uint32_t>(), kBufferSize));
                break;
            }
            case kTurns:
                for (int left = take<uint8_t>(); left >= 0 && turn(); --left) {
                }
                break;
            case kDiscard:
                reader_->discard_input();
                model_.discard();
                check_positions();
                require(!reader_->has_input());
                break;
            case kReply:
                reply(take<uint32_t>() % (2 * kBufferSize));
                break;
            case kLost:
                replies_.fill_with_device_lost();
                require(room() < sizeof(uint32_t));
                break;
            default:
                break;
        }
    }

    void put(const Descriptor& descriptor) {
        const uint32_t written = load(memory(), kToHost + kWritePosition);
        // A position that is no multiple is the guest's: its descriptor may end outside.
        const size_t at = std::min<size_t>(written % kDescriptorsSize, kDescriptorsSize - 8);
        std::memcpy(memory() + kToHost + kDescriptors + at, &descriptor, sizeof(descriptor));
        store(memory(), kToHost + kWritePosition, written + uint32_t{sizeof(descriptor)});
    }

    /// False: nothing more comes of turns.
    bool turn() {
        if (broken_ || model_.taken() > kMaxTaken) return false;
        require(reader_->has_input() == model_.has_input());
        const uint32_t announced = load(memory(), kConfigTransferSize);
        const uint32_t large_before = model_.large();
        const auto wanted = model_.step();
        const auto step = reader_->step();
        if (!step) {
            broken_ = true;
            const bool is_over_budget = step.error().code == ErrorCode::kOutOfMemory;
            require(is_over_budget || wanted == Model::Outcome::kBroken);
            require(!step.error().message.empty());
            return false;
        }
        require(wanted != Model::Outcome::kBroken);
        require(static_cast<int>(*step) == static_cast<int>(wanted));
        check_positions();
        require(load(memory(), kConfigTransferSize) == announced - (model_.large() - large_before));
        require(budget_->used(BudgetKind::kHostBytes) == reader_->capacity());
        require(reader_->capacity() <= RingReader::kMaxPacket + kBufferSize);
        if (*step == RingReader::Step::kPacket) {
            const std::span<const std::byte> whole = model_.packet();
            uint32_t opcode;
            std::memcpy(&opcode, whole.data(), sizeof(opcode));
            require(reader_->packet().opcode == opcode);
            require(std::ranges::equal(reader_->packet().body, whole.subspan(8)));
        } else {
            require(reader_->packet().body.empty());
        }
        return *step != RingReader::Step::kIdle;
    }
    void check_positions() {
        if (model_.descriptors() != seen_descriptors_)
            require(load(memory(), kToHost + kReadPosition) == model_.descriptors());
        if (model_.large() != seen_large_)
            require(load(memory(), kToHostLarge + kReadPosition) == model_.large());
        seen_descriptors_ = model_.descriptors();
        seen_large_ = model_.large();
    }

    /// Bytes that the guest has left room for.
    [[nodiscard]] uint32_t room() {
        return (load(memory(), kFromHostLarge + kReadPosition) -
                load(memory(), kFromHostLarge + kWritePosition) - 1) &
               kMask;
    }
    void reply(uint32_t size) {
        std::vector<std::byte> bytes(size);
        for (uint32_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i % 251);
        const size_t written = replies_.write(bytes);
        require(written <= size && written < kBufferSize);
        if (written == 0) return;
        const uint32_t end = load(memory(), kFromHostLarge + kWritePosition);
        const uint32_t begin = end - static_cast<uint32_t>(written);
        const std::byte* const buffer = memory() + kBuffer;
        const size_t first = std::min<size_t>(written, kBufferSize - (begin & kMask));
        require(std::memcmp(buffer + (begin & kMask), bytes.data(), first) == 0);
        require(std::memcmp(buffer, bytes.data() + first, written - first) == 0);
        require(written == size || room() == 0);
    }

    ByteReader input_;
    /// As large as a ring and not larger, so that a byte too far is seen.
    std::unique_ptr<uint64_t[]> words_ = std::make_unique<uint64_t[]>(kSize / sizeof(uint64_t));
    std::shared_ptr<Budget> budget_;
    std::unique_ptr<RingReader> reader_;
    ReplyWriter replies_{memory()};
    Model model_{memory()};
    bool broken_ = false;
    uint32_t at_ = 0;  ///< where the next sound type 1 transfer goes
    uint32_t seen_descriptors_ = 0;
    uint32_t seen_large_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Run(std::as_bytes(std::span(data, size))).run();
    return 0;
}
