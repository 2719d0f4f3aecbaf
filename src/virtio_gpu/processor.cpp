// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/processor.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "base/checked.h"
#include "base/log.h"

namespace swede::virtio_gpu {
namespace {

log::Module log_("virtio_gpu");

using wire::ControlHeader;

/// Commands in one turn of the event loop; then other fds are served.
constexpr size_t kBatch = 256;
/// A turn begins no command later than this: a few may copy gigabytes, and the VMM waits for
/// answers to its messages.
constexpr std::chrono::milliseconds kLongestTurn{8};
/// Bytes behind a command's fixed part: a command buffer (QEMU bounds it at 4 MiB as well) or a
/// list of pages.
constexpr uint64_t kMaxTail = 4 << 20;
/// Entries of one backing: 1 GiB in scattered pages.
constexpr uint32_t kMaxEntries = kMaxTail / sizeof(wire::MemEntry);
/// Turns of the event loop that pass before a context is refused for what it holds: answers may be
/// waiting there, and an answer takes two or three.
constexpr uint32_t kGrace = 4;

// Parts of the control queue, as divisors of its size.
constexpr uint32_t kCrowded = 2;    ///< held by all together from here on it is crowded
constexpr uint32_t kFairShare = 8;  ///< for one context in a crowded queue (decision 11)
constexpr uint32_t kMostOver = 32;  ///< refused ones that wait, before the context is lost
/// A chain of more ranges is charged to the guest while it waits, and its memory is not kept.
constexpr size_t kSmallChain = 256;

uint32_t field_at(const Command& command, uint8_t offset) {
    uint32_t value;
    std::memcpy(&value, command.fixed.data() + offset, sizeof(value));
    return value;
}

const char* name_of(const Command& command) {
    return command.info == nullptr ? "An unknown command" : command.info->name;
}

size_t ranges(const virtio::Chain& chain) {
    return chain.readable.size() + chain.writable.size();
}

/// In steps of the kernel's tick, and for a few nanoseconds: it is asked for every command.
std::chrono::nanoseconds coarse_now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

void drop(std::vector<virtio::GuestRange>& ranges) {
    ranges.clear();
    if (ranges.capacity() > kSmallChain) ranges.shrink_to_fit();
}

}  // namespace

Processor::Processor(const Parts& parts)
    : parts_(parts), timelines_([this](uint64_t ticket) { retired(ticket); }) {}

// Taking commands.

Processor::Served Processor::serve(uint16_t index) {
    virtio::Virtqueue& queue = parts_.queues[index];
    Served served;
    bool notifications = false;
    const auto start = coarse_now();
    queue.set_notifications(false);
    for (;;) {
        if (served.commands == kBatch ||
            (served.commands != 0 && coarse_now() - start > kLongestTurn) ||
            (grace_ != 0 && index == wire::kControlQueue)) {
            if (grace_ != 0) --grace_;
            served.more = true;
            break;
        }
        Command& command = take_command(index);
        const Result<bool> popped = queue.pop(command.chain);
        if (!popped) {
            recycle(command);
            log_.error("Queue {} is broken and is served no more until the driver resets it. {}",
                       index, popped.error().message);
            parts_.host.queue_broken(index);
            break;
        }
        if (!*popped) {
            recycle(command);
            if (notifications) break;
            queue.set_notifications(true);  // and look once more
            notifications = true;
            continue;
        }
        if (std::exchange(notifications, false)) queue.set_notifications(false);
        ++served.commands;
        dispatch(command);
    }
    settle();
    return served;
}

Command& Processor::take_command(uint16_t queue) {
    if (free_.empty()) free_.push_back(pool_.emplace_back(std::make_unique<Command>()).get());
    Command& command = *free_.back();
    free_.pop_back();
    command.queue = queue;
    return command;
}

void Processor::dispatch(Command& command) {
    ++commands_;
    virtio::Virtqueue& queue = parts_.queues[command.queue];
    const virtio::Chain& chain = command.chain;
    if (const auto header =
            queue.read(chain, 0, std::as_writable_bytes(std::span(&command.header, 1)));
        !header) {
        log_.warn("Queue {}: a chain without a command header. {}", command.queue,
                  header.error().message);
        return give_back(command, {});
    }
    command.info = find_command(command.header.type);
    if (log_.enabled(log::Level::debug))
        log_.debug("{} ({:#x}) flags {:#x} fence {} context {} ring {}", name_of(command),
                   command.header.type, command.header.flags, command.header.fence_id,
                   command.header.ctx_id, command.header.ring_idx);
    if (command.queue == wire::kControlQueue && chain.writable_size < sizeof(ControlHeader)) {
        log_.warn("{} leaves {} bytes for a response, which has {} at least.", name_of(command),
                  chain.writable_size, sizeof(ControlHeader));
        return give_back(command, {});
    }
    accept_fence(command);
    if (Result<void> read = read_request(command); !read) return finish(command, std::move(read));
    set_keys(command);
    if (Result<void> admitted = admit(command); !admitted)
        return finish(command, std::move(admitted));
    if (command.scheduled) return retain(command);  // it waits
    execute(command);
}

/// Checks what the table says of the command, and copies its fixed part.
Result<void> Processor::read_request(Command& command) {
    const CommandInfo* const info = command.info;
    const virtio::Chain& chain = command.chain;
    if (info == nullptr)
        return fail(ErrorCode::kUnsupported, "Command type {:#x} is not known.",
                    command.header.type);
    if (info->queue != command.queue)
        return fail(ErrorCode::kUnsupported, "The command does not belong to queue {}.",
                    command.queue);
    if (info->feature != 0 && !has_feature(info->feature))
        return fail(ErrorCode::kUnsupported, "The command needs feature {:#x}, not negotiated.",
                    info->feature);
    if (chain.readable_size < sizeof(ControlHeader) + info->request_size)
        return fail(ErrorCode::kInvalidParameter, "The request has {} bytes, not {} at least.",
                    chain.readable_size, sizeof(ControlHeader) + info->request_size);
    if (chain.writable_size < info->response_size)
        return fail(ErrorCode::kInvalidParameter,
                    "The request leaves {} bytes for a response of {}.", chain.writable_size,
                    info->response_size);
    return parts_.queues[command.queue].read(chain, sizeof(ControlHeader),
                                             std::span(command.fixed).first(info->request_size));
}

void Processor::set_keys(Command& command) {
    command.keys = {};
    const CommandInfo& info = *command.info;
    if (info.resource != kNoField)
        if (const uint32_t id = field_at(command, info.resource))
            command.set_key(KeyKind::kResource, id);
    if (info.context && command.header.ctx_id != 0)
        command.set_key(KeyKind::kContext, command.header.ctx_id);
    if (info.scanout != kNoField)
        command.set_key(info.queue == wire::kCursorQueue ? KeyKind::kCursor : KeyKind::kScanout,
                        field_at(command, info.scanout));
}

/// Sees whether the command may run or wait at all, and puts it behind what it must wait for.
Result<void> Processor::admit(Command& command) {
    const CommandInfo& info = *command.info;
    const auto share = shares_.find(command.header.ctx_id);
    if (share != shares_.end() && command.header.ctx_id != 0) {
        const bool exempt = info.ends_context && !share->second.destroying;
        if (share->second.commands >= share_limit() && !exempt) {
            command.over_share = true;
            return fail(ErrorCode::kOutOfMemory,
                        "Context {} has {} commands waiting, which is its share of the queue.",
                        command.header.ctx_id, share->second.commands);
        }
    }
    const bool free = scheduler_.is_free(command);
    if (free && !info.may_wait) return {};
    Result<Budget::Charge> charge = gpu().budget().charge(BudgetKind::kPendingCommands, 1);
    if (charge) command.pending_charge = *std::move(charge);
    if (charge && ranges(command.chain) > kSmallChain) {
        charge = gpu().budget().charge(BudgetKind::kHostBytes,
                                       ranges(command.chain) * sizeof(virtio::GuestRange));
        if (charge) command.chain_charge = *std::move(charge);
    }
    if (!charge) return std::unexpected(std::move(charge).error());
    if (!free) scheduler_.hold(command);
    return {};
}

void Processor::execute(Command& command) {
    const Result<Progress> progress = command.info->handler(*this, command);
    if (!progress) return finish(command, std::unexpected(progress.error()));
    if (*progress == Progress::kDone) return finish(command, {});
    scheduler_.hold(command);
    retain(command);
}

// Answering.

void Processor::accept_fence(Command& command) {
    if ((command.header.flags & wire::kFlagFence) == 0) return;
    Result<Budget::Charge> charge = gpu().budget().charge(BudgetKind::kPendingFences, 1);
    if (!charge) {  // completed, not refused (decision 6)
        log_.warn("Fence {} is not tracked: {}", command.header.fence_id, charge.error().message);
        return;
    }
    command.fence_charge = *std::move(charge);
    command.ticket = timelines_.accept({command.header.ctx_id, ring_of(command)});
    if (spare_tickets_.empty()) {
        tickets_.emplace(command.ticket, &command);
        return;
    }
    Tickets::node_type node = std::move(spare_tickets_.back());
    spare_tickets_.pop_back();
    node.key() = command.ticket;
    node.mapped() = &command;
    tickets_.insert(std::move(node));
}

void Processor::finish(Command& command, Result<void> result) {
    if (!result) {
        command.respond(virtio_gpu_response(result.error().code));
        log_.warn("{} ({:#x}) fails: {}", name_of(command), command.header.type,
                  result.error().message);
    } else if (command.response.empty()) {
        command.respond(wire::kRespOkNodata);
    }
    scheduler_.release(command);
    command.pending_charge.release();
    command.chain_charge.release();
    drop(command.chain.readable);
    command.ready = true;
    const uint64_t ticket = command.ticket;
    if (ticket == 0) return answer(command);
    const ControlHeader& header = command.header;
    command.renderer_fence =
        result && command.info->fence_of_renderer &&
        gpu().create_fence({ticket, header.fence_id, header.ctx_id, ring_of(command)});
    if (!command.renderer_fence) timelines_.complete(ticket);
    if (!tickets_.contains(ticket)) return;  // it is answered and gone
    // What is not paid for any more is no longer than the answer.
    if (command.chain.writable.size() > kSmallChain)
        command.chain.keep_writable(command.response.size());
    retain(command);
}

void Processor::fence_done(uint64_t ticket) {
    const auto found = tickets_.find(ticket);
    if (found != tickets_.end() && found->second->renderer_fence) timelines_.complete(ticket);
}

/// The fence's turn has come: also before its command is executed, when its context ended.
void Processor::retired(uint64_t ticket) {
    const auto found = tickets_.find(ticket);
    Command& command = *found->second;
    spare_tickets_.push_back(tickets_.extract(found));
    command.ticket = 0;
    if (command.ready) answer(command);
}

void Processor::answer(Command& command) {
    const ControlHeader& request = command.header;
    ControlHeader header{};
    std::memcpy(&header, command.response.data(), sizeof(header));
    if ((request.flags & wire::kFlagFence) != 0) {
        header.flags = request.flags & (wire::kFlagFence | wire::kFlagInfoRingIdx);
        header.fence_id = request.fence_id;
        header.ctx_id = request.ctx_id;
        header.ring_idx = request.ring_idx;
        std::memcpy(command.response.data(), &header, sizeof(header));
    }
    const bool has_room = command.chain.writable_size >= sizeof(header);
    give_back(command, has_room ? std::span<const std::byte>(command.response)
                                : std::span<const std::byte>());
}

void Processor::give_back(Command& command, std::span<const std::byte> response) {
    const auto given = parts_.queues[command.queue].push(command.chain, response);
    if (!given) log_.warn("{}", given.error().message);
    recycle(command);
}

void Processor::retain(Command& command) {
    if (std::exchange(command.retained, true)) return;
    ++retained_;
    const rutabaga::ContextId context = command.header.ctx_id;
    if (context == 0) return;
    Share& share = shares_[context];
    ++share.commands;
    if (command.info != nullptr && command.info->ends_context) share.destroying = true;
    if (share.commands >= share_limit() && !command.over_share) grace_ = kGrace;
    // What is refused waits for its fence's turn, and so holds a slot too.
    if (command.over_share && ++share.over == queue_share(kMostOver)) overfull_.push_back(context);
}

void Processor::recycle(Command& command) {
    if (command.retained) {
        --retained_;
        if (const auto share = shares_.find(command.header.ctx_id); share != shares_.end()) {
            if (command.info != nullptr && command.info->ends_context)
                share->second.destroying = false;
            if (command.over_share) --share->second.over;
            if (--share->second.commands == 0 && !gpu().has_context(share->first))
                shares_.erase(share);
        }
    }
    drop(command.chain.readable);
    drop(command.chain.writable);
    command.pending_charge.release();
    command.chain_charge.release();
    command.fence_charge.release();
    command.response.clear();
    command.info = nullptr;
    command.ticket = 0;
    command.ready = false;
    command.renderer_fence = false;
    command.retained = false;
    command.over_share = false;
    free_.push_back(&command);
}

// Between commands.

void Processor::context_lost(rutabaga::ContextId context, const Error& why) {
    gpu().lose_context(context, why);
    timelines_.complete_context(context);
}

void Processor::settle() {
    for (;;) {
        if (!overfull_.empty()) {
            const rutabaga::ContextId context = overfull_.back();
            overfull_.pop_back();
            context_lost(context, Error{ErrorCode::kOutOfMemory,
                                        "It holds its share of the control queue."});
        } else if (Scheduled* const ready = scheduler_.take_ready()) {
            execute(static_cast<Command&>(*ready));
        } else {
            break;
        }
    }
    for (uint16_t queue = 0; queue < kNumQueues; ++queue)
        if (parts_.queues[queue].take_interrupt())  // also for what was parked while it was stopped
            parts_.host.queue_interrupt(queue);
}

void Processor::reset() {
    ++epoch_;
    scheduler_.clear();
    timelines_.clear();
    tickets_.clear();
    shares_.clear();
    overfull_.clear();
    grace_ = 0;
    free_.clear();
    for (const auto& command : pool_) {
        command->retained = false;
        command->scheduled = false;
        recycle(*command);
    }
    retained_ = 0;
    features_ = 0;
}

/// A divisor's part of the control queue, 1 entry at least.
uint32_t Processor::queue_share(uint32_t divisor) const {
    return std::max<uint32_t>(parts_.queues[wire::kControlQueue].size() / divisor, 1);
}

/// What a context may hold: a driver that submits far ahead may fill much of an empty queue, but
/// once half of it is taken each context has its fair share only.
uint32_t Processor::share_limit() const {
    return retained_ < queue_share(kCrowded) ? queue_share(kCrowded) : queue_share(kFairShare);
}

// For handlers.

std::optional<uint8_t> Processor::ring_of(const Command& command) const {
    if ((command.header.flags & wire::kFlagInfoRingIdx) == 0 ||
        !has_feature(wire::kFeatureContextInit))
        return std::nullopt;
    return command.header.ring_idx;
}

Result<std::span<const std::byte>> Processor::read_tail(const Command& command, uint64_t offset,
                                                        uint64_t size) {
    if (!range_fits(offset, size, command.chain.readable_size))
        return fail(ErrorCode::kInvalidParameter, "{} bytes are announced where {} follow.", size,
                    command.chain.readable_size - offset);
    if (size > kMaxTail)
        return fail(ErrorCode::kOutOfMemory, "{} bytes are more than a command may have ({}).",
                    size, kMaxTail);
    if (scratch_.size() < size) scratch_.resize(size);
    const std::span<std::byte> bytes = std::span(scratch_).first(size);
    SWEDE_TRY(parts_.queues[command.queue].read(command.chain, offset, bytes));
    return bytes;
}

Result<std::shared_ptr<Backing>> Processor::read_backing(const Command& command, uint64_t offset,
                                                         uint32_t count) {
    const uint64_t size = uint64_t{count} * sizeof(wire::MemEntry);
    if (!range_fits(offset, size, command.chain.readable_size))
        return fail(ErrorCode::kInvalidParameter, "{} entries are announced where {} bytes follow.",
                    count, command.chain.readable_size - offset);
    if (count > kMaxEntries)
        return fail(ErrorCode::kOutOfMemory, "{} entries are more than a backing may have ({}).",
                    count, kMaxEntries);
    entries_.resize(count);
    SWEDE_TRY(parts_.queues[command.queue].read(command.chain, offset,
                                                std::as_writable_bytes(std::span(entries_))));
    return parts_.memory.make_backing(entries_);
}

}  // namespace swede::virtio_gpu
