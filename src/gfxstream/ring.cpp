// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/ring.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "gfxstream/ring_layout.h"

namespace swede::gfxstream {
namespace {

using namespace ring_layout;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// How long we look for the next command before we sleep. A ping costs the guest an exit and us a
/// message, so this is what a guest's thread needs between two calls; it yields to that thread.
constexpr auto kSpin = std::chrono::microseconds(100);
/// A guest's thread reads its reply at once; one that is stopped in a debugger does not. Then it
/// may take its time, but not for ever.
constexpr auto kReplyLimit = std::chrono::seconds(60);
constexpr int kReplyYields = 64;
constexpr milliseconds kLongestReplySleep{16};
/// Between two looks for a reader in a lost context. Its process ends soon.
constexpr milliseconds kFirstLostSleep{4};
constexpr milliseconds kLongestLostSleep{256};

void set_state(std::byte* memory, HostState state) {
    store(memory, kToHost + kState, static_cast<uint32_t>(state));
}

}  // namespace

Ring::Ring(std::shared_ptr<ContextCore> context, std::shared_ptr<HostMemory> memory,
           Budget::Charge charge)
    : context_(std::move(context)),
      memory_(std::move(memory)),
      charge_(std::move(charge)),
      reader_(memory_->data(), context_->budget()),
      replies_(memory_->data()),
      stream_(context_->executor().open_stream()) {}

Result<std::shared_ptr<Ring>> Ring::start(const std::shared_ptr<ContextCore>& context,
                                          std::shared_ptr<HostMemory> memory) {
    if (memory->size() < kSize)
        return fail(ErrorCode::kInvalidParameter, "{} bytes are too few for a ring of {}.",
                    memory->size(), kSize);
    Budget::Charge charge;
    if (context->budget()) charge = SWEDE_TRY(context->budget()->charge(BudgetKind::kRings, 1));
    const std::shared_ptr<Ring> ring(new Ring(context, std::move(memory), std::move(charge)));
    store(ring->memory_->data(), kConfigBufferSize, kBufferSize);
    store(ring->memory_->data(), kConfigFlushInterval, kFlushInterval);
    context->add_doorbell(ring->doorbell_);
    auto started = ContextCore::start_thread(context, "gfxstream ring", [ring] { ring->run(); });
    if (!started) {
        context->remove_doorbell(ring->doorbell_.get());
        return std::unexpected(std::move(started).error());
    }
    return ring;
}

void Ring::stop() {
    stopped_ = true;
    doorbell_->ring();
}

void Ring::run() {
    if (auto served = serve(); !served) context_->lose(std::move(served).error());
    if (!must_end()) answer_lost();
    context_->remove_doorbell(doorbell_.get());
    stream_.reset();  // while the executor is there
}

Result<void> Ring::serve() {
    doorbell_->wait();
    while (!stopped_ && !context_->is_over()) {
        set_state(memory_->data(), HostState::kRendering);
        do {
            SWEDE_TRY(drain());
        } while (spin());
        if (stopped_ || context_->is_over()) break;
        // Before the last look, and both sequentially consistent, as the guest's write and its look
        // at the state are: either we see its bytes or it sees that it must ping.
        set_state(memory_->data(), HostState::kNeedNotify);
        if (!reader_.has_input()) doorbell_->wait();
    }
    return {};
}

bool Ring::spin() const {
    const auto end = Clock::now() + kSpin;
    do {
        if (stopped_ || context_->is_over()) return false;
        if (reader_.has_input()) return true;
        ::sched_yield();
    } while (Clock::now() < end);
    return false;
}

Result<void> Ring::drain() {
    while (!stopped_ && !context_->is_over()) {
        switch (SWEDE_TRY(reader_.step())) {
            case RingReader::Step::kIdle:
                return {};
            case RingReader::Step::kProgress:
                break;
            case RingReader::Step::kPacket:
                SWEDE_TRY(execute(reader_.packet()));
                break;
        }
    }
    return {};
}

Result<void> Ring::execute(const Packet& packet) {
    const auto traits = context_->executor().traits_of(packet.opcode);
    if (!traits)
        return fail(ErrorCode::kProtocol, "Command {} of {} bytes is not known.", packet.opcode,
                    packet.body.size());
    auto parameters = packet.body;
    uint32_t number = 0;
    if (traits->sequenced) {
        if (parameters.size() < sizeof(number))
            return fail(ErrorCode::kProtocol, "Command {} has no number.", packet.opcode);
        std::memcpy(&number, parameters.data(), sizeof(number));
        parameters = parameters.subspan(sizeof(number));
        if (!context_->sequence().wait_for_turn(number)) return {};
        if (traits->relaxed) context_->sequence().pass_on(number);
    }
    const auto reply = SWEDE_TRY(stream_->execute(packet.opcode, parameters));
    if (traits->sequenced && !traits->relaxed) context_->sequence().pass_on(number);
    return send(reply);
}

Result<void> Ring::send(std::span<const std::byte> reply) {
    reply = reply.subspan(replies_.write(reply));
    if (reply.empty()) return {};
    auto limit = Clock::now() + kReplyLimit;
    int yields = 0;
    milliseconds sleep{1};
    while (!stopped_ && !context_->is_over()) {
        if (const size_t written = replies_.write(reply); written != 0) {
            reply = reply.subspan(written);
            if (reply.empty()) return {};
            limit = Clock::now() + kReplyLimit;
            yields = 0;
            sleep = milliseconds(1);
        } else if (++yields < kReplyYields) {
            ::sched_yield();
        } else if (Clock::now() > limit) {
            return fail(ErrorCode::kProtocol, "The guest does not read {} bytes of a reply.",
                        reply.size());
        } else {
            doorbell_->wait_for(sleep);
            sleep = std::min(2 * sleep, kLongestReplySleep);
        }
    }
    return {};
}

void Ring::answer_lost() {
    milliseconds sleep = kFirstLostSleep;
    while (!must_end()) {
        // Replies and requests share their bytes: what was written while the guest sets up its
        // side would be overwritten by its first request, and then read as the reply. Again each
        // time, for requests that came since. Not in_error: with it, Mesa 25.0.7 drops what it
        // reads and reads on for ever (seen with the unmodified driver).
        if (reader_.has_spoken()) {
            reader_.discard_input();
            replies_.fill_with_device_lost();
        }
        if (doorbell_->wait_for(sleep)) sleep = kFirstLostSleep;
        sleep = std::min(2 * sleep, kLongestLostSleep);
    }
}

}  // namespace swede::gfxstream
