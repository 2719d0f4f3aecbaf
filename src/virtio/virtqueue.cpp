// SPDX-License-Identifier: Apache-2.0
#include "virtio/virtqueue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "base/checked.h"
#include "base/log.h"

namespace swede::virtio {
namespace {

log::Module log_("virtio");

// Fields that the driver's CPUs read and write at the same time: one access each, never torn,
// never repeated by the compiler.
template <typename T>
std::atomic_ref<T> field(std::byte* ring, uint64_t offset) {
    return std::atomic_ref<T>(*reinterpret_cast<T*>(ring + offset));
}

uint16_t load(std::byte* ring, uint64_t offset) {
    return field<uint16_t>(ring, offset).load(std::memory_order_relaxed);
}

void store(std::byte* ring, uint64_t offset, uint16_t value) {
    field<uint16_t>(ring, offset).store(value, std::memory_order_relaxed);
}

Descriptor load_descriptor(std::byte* table, uint16_t index) {
    Descriptor descriptor;
    std::memcpy(&descriptor, table + uint64_t{index} * sizeof(Descriptor), sizeof(Descriptor));
    // The copy is what is checked and used: the compiler may not read the guest's bytes again.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return descriptor;
}

bool all_zero(const std::byte* bytes, uint64_t size) {
    return std::all_of(bytes, bytes + size, [](std::byte b) { return b == std::byte{0}; });
}

bool aligned(const void* pointer, uintptr_t to) {
    return reinterpret_cast<uintptr_t>(pointer) % to == 0;
}

/// Those that hold the first `bytes`.
std::span<const GuestRange> first_of(std::span<const GuestRange> ranges, uint64_t bytes) {
    size_t count = 0;
    for (uint64_t held = 0; held < bytes && count < ranges.size(); ++count)
        held += ranges[count].size;
    return ranges.first(count);
}

}  // namespace

void Chain::keep_writable(uint64_t bytes) {
    writable.resize(first_of(writable, bytes).size());
    writable.shrink_to_fit();
}

Result<void> Virtqueue::set_size(uint16_t size) {
    if (!std::has_single_bit(size) || size > kMaxSize)
        return fail(ErrorCode::kInvalidParameter,
                    "A queue of {} entries is not possible: a power of two up to {} is.", size,
                    kMaxSize);
    if (out_count_ != 0 && size != size_)
        return fail(ErrorCode::kInvalidParameter,
                    "The queue's size cannot become {} while {} chains are out.", size, out_count_);
    size_ = size;
    generation_ = 0;
    return {};
}

void Virtqueue::set_addresses(uint64_t descriptors, uint64_t available, uint64_t used) {
    descriptors_ = descriptors;
    available_ = available;
    used_ = used;
    generation_ = 0;
}

void Virtqueue::set_next_available(uint16_t index) {
    next_available_ = index;
    seen_available_ = index;
    armed_ = false;
}

Result<Virtqueue::Rings> Virtqueue::find_rings() const {
    Rings rings;
    rings.descriptors =
        SWEDE_TRY(memory_.host_address(descriptors_, descriptor_table_size(size_), Access::kRead));
    rings.available = SWEDE_TRY(
        memory_.host_address(available_, available_ring_size(size_, event_idx_), Access::kRead));
    rings.used = SWEDE_TRY(
        memory_.host_address(used_, used_ring_size(size_, event_idx_), Access::kReadWrite));
    // Of the guest's addresses 2.7 demands 16, 2 and 4; of ours, what atomic access needs (a VMM
    // may share its file at an odd offset).
    if (descriptors_ % 16 != 0 || available_ % 2 != 0 || used_ % 4 != 0 ||
        !aligned(rings.available, 2) || !aligned(rings.used, 4))
        return fail(ErrorCode::kInvalidParameter,
                    "The rings at {:#x}, {:#x} and {:#x} are not aligned to 16, 2 and 4 bytes.",
                    descriptors_, available_, used_);
    return rings;
}

Result<void> Virtqueue::enable(bool event_idx) {
    if (size_ == 0)
        return fail(ErrorCode::kInvalidParameter, "A queue without a size cannot be enabled.");
    event_idx_ = event_idx;
    rings_ = SWEDE_TRY(find_rings());
    generation_ = memory_.generation();
    enabled_ = true;
    // A driver that goes on with a queue (a resumed VM, a restarted back end) finds its index
    // there.
    next_used_ = load(rings_.used, kRingIndex);
    signalled_used_ = next_used_;
    signalled_ = false;
    seen_available_ = next_available_;
    wants_notifications_ = true;
    armed_ = false;
    store(rings_.used, kRingFlags, 0);
    unpark();
    arm();
    return {};
}

void Virtqueue::reset() {
    GuestMemory& memory = memory_;
    std::destroy_at(this);
    std::construct_at(this, memory);
}

/// Whether the rings can be touched now. Looks their places up only when the map has changed.
bool Virtqueue::rings_present() {
    if (!enabled_ || broken_) return false;
    if (generation_ == memory_.generation()) [[likely]]
        return rings_.used != nullptr;
    generation_ = memory_.generation();
    auto found = find_rings();
    if (!found) {
        log_.warn("The queue waits until its rings are in guest memory again. {}",
                  found.error().message);
        rings_ = {};
        return false;
    }
    rings_ = *found;
    armed_ = false;
    unpark();
    return true;
}

template <typename... Args>
std::unexpected<Error> Virtqueue::break_queue(fmt::format_string<Args...> why, Args&&... args) {
    broken_ = true;
    return fail(ErrorCode::kProtocol, why, std::forward<Args>(args)...);
}

Result<bool> Virtqueue::pop(Chain& chain) {
    if (!rings_present()) return false;
    if (seen_available_ == next_available_) {
        seen_available_ = field<uint16_t>(rings_.available, kRingIndex)
                              .load(std::memory_order_acquire);  // entries before index
        if (seen_available_ == next_available_) {
            if (!wants_notifications_ || armed_) return false;
            arm();  // publishes, fences and looks once more
            if (seen_available_ == next_available_) return false;
        }
    }
    const auto ahead = static_cast<uint16_t>(seen_available_ - next_available_);
    if (ahead > size_)
        return break_queue("The available index ({}) is {} entries ahead of {}, in a queue of {}.",
                           seen_available_, ahead, next_available_, size_);
    const uint64_t slot = next_available_ % size_;
    const uint16_t head = load(rings_.available, kRingEntries + slot * sizeof(uint16_t));
    if (head >= size_)
        return break_queue("Available entry {} names descriptor {} of {}.", next_available_, head,
                           size_);
    if (out_[head])
        return break_queue("Available entry {} names chain {} again, which is not given back yet.",
                           next_available_, head);
    if (const auto taken = take_chain(head, chain); !taken) return std::unexpected(taken.error());
    out_.set(head);
    ++out_count_;
    ++next_available_;
    armed_ = false;
    return true;
}

Result<void> Virtqueue::take_chain(uint16_t head, Chain& chain) {
    chain.head = head;
    chain.readable.clear();
    chain.writable.clear();
    chain.readable_size = 0;
    chain.writable_size = 0;
    uint16_t index = head;
    for (uint16_t count = 0;; ++count) {
        if (count == size_)
            return break_queue("Chain {} is longer than the queue ({}), or a loop.", head, size_);
        const Descriptor descriptor = load_descriptor(rings_.descriptors, index);
        const bool goes_on = (descriptor.flags & kDescriptorNext) != 0;
        if ((descriptor.flags & kDescriptorIndirect) != 0) {
            if (goes_on) return break_queue("Descriptor {} is both indirect and chained.", index);
            return take_indirect(descriptor, chain);
        }
        if (const auto taken = take_range(descriptor, chain); !taken) return taken;
        if (!goes_on) return {};
        index = descriptor.next;
        if (index >= size_)
            return break_queue("Chain {} goes on at descriptor {} of {}.", head, index, size_);
    }
}

Result<void> Virtqueue::take_indirect(const Descriptor& table, Chain& chain) {
    const uint32_t entries = table.length / sizeof(Descriptor);
    if (table.length == 0 || table.length % sizeof(Descriptor) != 0)
        return break_queue("Chain {} has an indirect table of {} bytes, not a multiple of {}.",
                           chain.head, table.length, sizeof(Descriptor));
    if (entries > kMaxIndirectEntries)
        return break_queue("Chain {} has an indirect table of {} entries, more than {}.",
                           chain.head, entries, kMaxIndirectEntries);
    table_.resize(entries);
    if (const auto copied = memory_.read(table.address, std::as_writable_bytes(std::span(table_)));
        !copied)
        return break_queue("Chain {} has an indirect table outside memory. {}", chain.head,
                           copied.error().message);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    uint32_t index = 0;
    for (uint32_t count = 0;; ++count) {
        if (count == entries)
            return break_queue("Chain {} has a loop in its indirect table of {} entries.",
                               chain.head, entries);
        const Descriptor& descriptor = table_[index];
        if ((descriptor.flags & kDescriptorIndirect) != 0)
            return break_queue("Chain {} has an indirect table inside another.", chain.head);
        if (const auto taken = take_range(descriptor, chain); !taken) return taken;
        if ((descriptor.flags & kDescriptorNext) == 0) return {};
        index = descriptor.next;
        if (index >= entries)
            return break_queue("Chain {} goes on at entry {} of an indirect table of {}.",
                               chain.head, index, entries);
    }
}

Result<void> Virtqueue::take_range(const Descriptor& descriptor, Chain& chain) {
    // Nothing forbids an empty descriptor: it holds nothing and is left out.
    if (descriptor.length == 0) return {};
    if (chain.readable_size + chain.writable_size + descriptor.length > kMaxChainBytes)
        return break_queue("Chain {} holds more than {} bytes.", chain.head, kMaxChainBytes);
    if ((descriptor.flags & kDescriptorWrite) != 0) {
        chain.writable_size += descriptor.length;
        chain.writable.push_back({descriptor.address, descriptor.length});
        return {};
    }
    if (!chain.writable.empty())
        return break_queue("Chain {} has a readable descriptor after a writable one.", chain.head);
    chain.readable.push_back({descriptor.address, descriptor.length});
    chain.readable_size += descriptor.length;
    return {};
}

Result<void> Virtqueue::read(const Chain& chain, uint64_t offset, std::span<std::byte> to) {
    if (!range_fits(offset, to.size(), chain.readable_size))
        return fail(ErrorCode::kInvalidParameter,
                    "{} bytes at offset {} are past the end ({}) of the request.", to.size(),
                    offset, chain.readable_size);
    for (const GuestRange& range : chain.readable) {
        if (to.empty()) break;
        if (offset >= range.size) {
            offset -= range.size;
            continue;
        }
        const auto part = std::min<uint64_t>(to.size(), range.size - offset);
        SWEDE_TRY(memory_.read(range.address + offset, to.first(part)));
        to = to.subspan(part);
        offset = 0;
    }
    return {};
}

Result<uint32_t> Virtqueue::write(std::span<const GuestRange> writable,
                                  std::span<const std::byte> response) {
    uint32_t written = 0;
    for (const GuestRange& range : writable) {
        if (response.empty()) break;
        const auto part = std::min<uint64_t>(response.size(), range.size);
        SWEDE_TRY(memory_.write(range.address, response.first(part)));
        response = response.subspan(part);
        written += static_cast<uint32_t>(part);
    }
    return written;
}

/// The chain is not out any more.
Result<void> Virtqueue::take_back(uint16_t head) {
    if (head >= size_ || !out_[head])
        return fail(ErrorCode::kInvalidParameter,
                    "Chain {} is not out, so it cannot be given back.", head);
    out_.reset(head);
    --out_count_;
    if (broken_)
        return fail(ErrorCode::kProtocol, "The queue is broken; chain {} is not given back.", head);
    return {};
}

Result<void> Virtqueue::push(const Chain& chain, std::span<const std::byte> response) {
    SWEDE_TRY(take_back(chain.head));
    if (rings_present()) {
        write_and_publish(chain.head, chain.writable, response);
        return {};
    }
    const auto writable = first_of(chain.writable, response.size());
    parked_.push_back({.head = chain.head,
                       .writable = {writable.begin(), writable.end()},
                       .response = {response.begin(), response.end()}});
    return {};
}

void Virtqueue::write_and_publish(uint16_t head, std::span<const GuestRange> writable,
                                  std::span<const std::byte> response) {
    const Result<uint32_t> written = write(writable, response);
    if (!written) log_.warn("Chain {} gets no response: {}", head, written.error().message);
    publish(head, written.value_or(0));
}

/// Writes one used entry, then the index. Our own index counts, never the one in the ring: a driver
/// that points a response at the used ring changes its own view and nothing of ours.
void Virtqueue::publish(uint16_t head, uint32_t written) {
    const uint64_t entry = kRingEntries + next_used_ % size_ * sizeof(UsedElement);
    field<uint32_t>(rings_.used, entry).store(head, std::memory_order_relaxed);
    field<uint32_t>(rings_.used, entry + sizeof(uint32_t))
        .store(written, std::memory_order_relaxed);
    ++next_used_;
    field<uint16_t>(rings_.used, kRingIndex).store(next_used_, std::memory_order_release);
}

void Virtqueue::unpark() {
    for (const Parked& parked : parked_)
        write_and_publish(parked.head, parked.writable, parked.response);
    parked_.clear();
}

bool Virtqueue::take_interrupt() {
    if (!rings_present()) return false;
    if (next_used_ == signalled_used_) return false;
    // The driver stores used_event or flags, then loads the index; we do the opposite. Without full
    // fences on both sides both could miss the other's store.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const uint16_t before = std::exchange(signalled_used_, next_used_);
    const bool first = !std::exchange(signalled_, true);
    if (!event_idx_) return (load(rings_.available, kRingFlags) & kNoInterrupt) == 0;
    return first ||
           passes_event(load(rings_.available, used_event_offset(size_)), next_used_, before);
}

/// Asks for a notification of the next entry and looks whether it came in between.
void Virtqueue::arm() {
    if (event_idx_)
        store(rings_.used, avail_event_offset(size_), next_available_);
    else
        store(rings_.used, kRingFlags, 0);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    seen_available_ = field<uint16_t>(rings_.available, kRingIndex).load(std::memory_order_acquire);
    armed_ = true;
}

void Virtqueue::set_notifications(bool wanted) {
    wants_notifications_ = wanted;
    if (!rings_present()) return;
    if (wanted) return arm();
    armed_ = false;
    // With EVENT_IDX the flags stay 0 (2.7.10) and the event is put just behind us: 65535 entries
    // must come before the driver passes it.
    if (event_idx_)
        store(rings_.used, avail_event_offset(size_), static_cast<uint16_t>(next_available_ - 1));
    else
        store(rings_.used, kRingFlags, kNoNotify);
}

bool Virtqueue::looks_unshared() {
    return rings_present() && all_zero(rings_.available, available_ring_size(size_, false)) &&
           all_zero(rings_.descriptors, descriptor_table_size(size_));
}

}  // namespace swede::virtio
