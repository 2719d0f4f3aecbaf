// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cassert>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "base/mapping.h"
#include "virtio/guest_memory.h"
#include "virtio/split_ring.h"
#include "virtio/virtqueue.h"

namespace swede::virtio::testing {

/// A guest's RAM for tests: one memfd, seen by the device through `memory` and by the test through
/// a mapping of its own, as a VM and its device process see it. Gives out pieces of itself.
class TestGuest {
  public:
    static constexpr uint64_t kDefaultBase = 0x10'0000;
    static constexpr uint64_t kDefaultSize = 32 << 20;

    explicit TestGuest(uint64_t base = kDefaultBase, uint64_t size = kDefaultSize)
        : base_(base),
          size_(size),
          fd_(create_memfd("guest-ram", size).value()),
          mapping_(Mapping::own_file(fd_.get(), 0, size, Access::kReadWrite).value()),
          next_(base + 4096) {
        plug();
    }

    GuestMemory memory;

    [[nodiscard]] uint64_t base() const { return base_; }
    [[nodiscard]] uint64_t size() const { return size_; }  ///< bytes
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// Takes the RAM away from the device, or gives it back.
    void unplug() { memory.remove(base_, size_).value(); }
    void plug() { memory.add(base_, size_, fd_.duplicate(), 0, Access::kReadWrite).value(); }

    /// Guest address of `size` fresh or released bytes, 4096-aligned when they fill a page or more,
    /// 16-aligned otherwise.
    [[nodiscard]] uint64_t allocate(uint64_t size) {
        const uint64_t rounded = round(size);
        if (auto& free = free_[rounded]; !free.empty()) {
            const uint64_t address = free.back();
            free.pop_back();
            return address;
        }
        const uint64_t alignment = rounded >= 4096 ? 4096 : 16;
        const uint64_t address = (next_ + alignment - 1) / alignment * alignment;
        if (address + rounded > base_ + size_) throw std::runtime_error("guest RAM is full");
        next_ = address + rounded;
        return address;
    }
    void release(uint64_t address, uint64_t size) { free_[round(size)].push_back(address); }

    /// The test's own view of a guest address.
    [[nodiscard]] std::byte* at(uint64_t address) const {
        if (address < base_ || address >= base_ + size_) throw std::out_of_range("not guest RAM");
        return mapping_.data() + (address - base_);
    }
    template <typename T>
    [[nodiscard]] T load(uint64_t address) const {
        T value;
        std::memcpy(&value, at(address), sizeof(T));
        return value;
    }
    template <typename T>
    void store(uint64_t address, const T& value) {
        std::memcpy(at(address), &value, sizeof(T));
    }
    [[nodiscard]] std::vector<std::byte> bytes(uint64_t address, uint64_t size) const {
        return {at(address), at(address) + size};
    }
    void fill(uint64_t address, std::span<const std::byte> bytes) {
        if (!bytes.empty()) std::memcpy(at(address), bytes.data(), bytes.size());
    }

  private:
    static uint64_t round(uint64_t size) {
        const uint64_t unit = size >= 4096 ? 4096 : 16;
        return size == 0 ? unit : (size + unit - 1) / unit * unit;
    }

    uint64_t base_;
    uint64_t size_;
    UniqueFd fd_;
    Mapping mapping_;
    uint64_t next_;
    std::map<uint64_t, std::vector<uint64_t>> free_;  ///< released pieces by rounded size
};

/// The guest driver's side of a split virtqueue, after virtio 1.3, 2.7.13 and Linux's
/// virtio_ring.c. Sets the queue up and enables it. Fields are reachable one by one, so that a test
/// can also be a driver that breaks the rules.
class DriverQueue {
  public:
    struct Options {
        uint16_t size = 256;
        bool event_idx = true;
        bool indirect = true;  ///< chains of more than one descriptor go to an indirect table
    };
    struct Used {
        uint16_t head;
        uint32_t written;                 ///< bytes, as the device says
        std::vector<std::byte> response;  ///< the first `written` bytes of the writable ranges
    };

    DriverQueue(TestGuest& guest, Virtqueue& queue) : DriverQueue(guest, queue, Options{}) {}
    DriverQueue(TestGuest& guest, Virtqueue& queue, const Options& options)
        : guest_(guest), queue_(queue), options_(options) {
        descriptors_ = guest.allocate(descriptor_table_size(options.size));
        available_ = guest.allocate(available_ring_size(options.size, true));
        used_ = guest.allocate(used_ring_size(options.size, true));
        attach();
    }

    /// Starts the queue anew with empty rings, as a driver does after a reset.
    void attach() {
        const uint16_t size = options_.size;
        std::memset(guest_.at(descriptors_), 0, descriptor_table_size(size));
        std::memset(guest_.at(available_), 0, available_ring_size(size, true));
        std::memset(guest_.at(used_), 0, used_ring_size(size, true));
        free_.clear();
        for (uint16_t i = size; i-- > 0;) free_.push_back(i);
        buffers_.assign(size, {});
        available_index_ = kicked_index_ = used_seen_ = 0;
        queue_.set_size(size).value();
        queue_.set_addresses(descriptors_, available_, used_);
        queue_.set_next_available(0);
        queue_.enable(options_.event_idx).value();
    }

    // Buffers.

    /// Offers a chain of these ranges; gives its head. Empty when the table has too few
    /// descriptors.
    std::optional<uint16_t> add_buffer(std::span<const GuestRange> readable,
                                       std::span<const GuestRange> writable) {
        std::vector<Descriptor> chain;
        for (const GuestRange& range : readable) chain.push_back({range.address, range.size, 0, 0});
        for (const GuestRange& range : writable)
            chain.push_back({range.address, range.size, kDescriptorWrite, 0});
        const bool indirect = options_.indirect && chain.size() > 1;
        if (chain.empty() || free_.size() < (indirect ? 1 : chain.size())) return std::nullopt;
        Buffer buffer;
        buffer.writable.assign(writable.begin(), writable.end());
        if (indirect) {
            buffer.table = {guest_.allocate(chain.size() * sizeof(Descriptor)),
                            static_cast<uint32_t>(chain.size() * sizeof(Descriptor))};
            for (size_t i = 0; i < chain.size(); ++i) {
                if (i + 1 < chain.size()) {
                    chain[i].flags |= kDescriptorNext;
                    chain[i].next = static_cast<uint16_t>(i + 1);
                }
                guest_.store(buffer.table.address + i * sizeof(Descriptor), chain[i]);
            }
            chain = {{buffer.table.address, buffer.table.size, kDescriptorIndirect, 0}};
        }
        for (size_t i = 0; i < chain.size(); ++i) {
            buffer.descriptors.push_back(free_.back());
            free_.pop_back();
        }
        for (size_t i = 0; i < chain.size(); ++i) {
            if (i + 1 < chain.size()) {
                chain[i].flags |= kDescriptorNext;
                chain[i].next = buffer.descriptors[i + 1];
            }
            set_descriptor(buffer.descriptors[i], chain[i]);
        }
        const uint16_t head = buffer.descriptors[0];
        buffers_[head] = std::move(buffer);
        make_available(head);
        return head;
    }

    /// Copies a request into guest memory and offers it with room for a response. The memory goes
    /// back to the guest when the chain comes back.
    std::optional<uint16_t> add_request(std::span<const std::byte> request,
                                        uint32_t response_size) {
        std::vector<GuestRange> readable;
        std::vector<GuestRange> writable;
        if (!request.empty()) {
            readable.push_back(
                {guest_.allocate(request.size()), static_cast<uint32_t>(request.size())});
            guest_.fill(readable[0].address, request);
        }
        if (response_size != 0) writable.push_back({guest_.allocate(response_size), response_size});
        const auto head = add_buffer(readable, writable);
        if (!head) {
            release(readable);
            release(writable);
            return head;
        }
        buffers_[*head].owned = readable;
        buffers_[*head].owned.insert(buffers_[*head].owned.end(), writable.begin(), writable.end());
        return head;
    }
    template <typename Request>
        requires std::is_trivially_copyable_v<Request>
    std::optional<uint16_t> add_request(const Request& request, uint32_t response_size) {
        return add_request(std::as_bytes(std::span(&request, 1)), response_size);
    }

    /// Takes the next chain that the device has given back.
    std::optional<Used> take_used() {
        if (used_seen_ == used_index()) return std::nullopt;
        const uint64_t entry =
            used_ + kRingEntries + used_seen_ % options_.size * sizeof(UsedElement);
        const auto element = guest_.load<UsedElement>(entry);
        ++used_seen_;
        if (interrupts_ && options_.event_idx)
            field(available_ + used_event_offset(options_.size)).store(used_seen_);
        Used used{static_cast<uint16_t>(element.id), element.length, {}};
        if (element.id >= options_.size || buffers_[element.id].descriptors.empty())
            throw std::runtime_error("the device gave back a chain that is not out");
        Buffer buffer = std::exchange(buffers_[element.id], {});
        for (const GuestRange& range : buffer.writable) {
            const uint64_t part =
                std::min<uint64_t>(range.size, element.length - used.response.size());
            if (part == 0) continue;
            const auto bytes = guest_.bytes(range.address, part);
            used.response.insert(used.response.end(), bytes.begin(), bytes.end());
        }
        for (auto it = buffer.descriptors.rbegin(); it != buffer.descriptors.rend(); ++it)
            free_.push_back(*it);
        release(buffer.owned);
        if (buffer.table.size != 0) release(std::span(&buffer.table, 1));
        return used;
    }

    // Notifications.

    /// Whether a driver would notify the device for what it offered since the last call.
    bool kick_wanted() {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const uint16_t before = std::exchange(kicked_index_, available_index_);
        if (before == available_index_) return false;
        if (!options_.event_idx) return (used_flags() & kNoNotify) == 0;
        return passes_event(avail_event(), available_index_, before);
    }
    /// Wants an interrupt for the next used entry, or none.
    void set_interrupts(bool wanted) {
        interrupts_ = wanted;
        if (options_.event_idx)
            set_used_event(wanted ? used_seen_ : static_cast<uint16_t>(used_seen_ - 1));
        else
            set_available_flags(wanted ? 0 : kNoInterrupt);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }

    // The rings, field by field.

    [[nodiscard]] uint64_t descriptors() const { return descriptors_; }  ///< guest addresses
    [[nodiscard]] uint64_t available() const { return available_; }
    [[nodiscard]] uint64_t used() const { return used_; }
    [[nodiscard]] uint16_t size() const { return options_.size; }
    [[nodiscard]] size_t free_descriptors() const { return free_.size(); }
    [[nodiscard]] uint16_t available_index() const { return available_index_; }

    [[nodiscard]] uint16_t used_index() const {
        return field(used_ + kRingIndex).load(std::memory_order_acquire);
    }
    [[nodiscard]] uint16_t used_flags() const { return field(used_ + kRingFlags).load(); }
    [[nodiscard]] uint16_t avail_event() const {
        return field(used_ + avail_event_offset(options_.size)).load();
    }
    void set_used_event(uint16_t index) {
        field(available_ + used_event_offset(options_.size)).store(index);
    }
    void set_available_flags(uint16_t flags) { field(available_ + kRingFlags).store(flags); }
    void set_available_index(uint16_t index) {
        available_index_ = index;
        field(available_ + kRingIndex).store(index, std::memory_order_release);
    }
    void set_available_entry(uint16_t slot, uint16_t head) {
        field(available_ + kRingEntries + slot % options_.size * sizeof(uint16_t)).store(head);
    }
    void set_descriptor(uint16_t index, const Descriptor& descriptor) {
        guest_.store(descriptors_ + index * sizeof(Descriptor), descriptor);
    }
    [[nodiscard]] Descriptor descriptor(uint16_t index) const {
        return guest_.load<Descriptor>(descriptors_ + index * sizeof(Descriptor));
    }
    /// Offers whatever the table holds at `head`.
    void make_available(uint16_t head) {
        set_available_entry(available_index_, head);
        set_available_index(static_cast<uint16_t>(available_index_ + 1));
    }

  private:
    struct Buffer {
        std::vector<uint16_t> descriptors;  ///< empty: not out
        std::vector<GuestRange> writable;
        std::vector<GuestRange> owned;  ///< to release when it comes back
        GuestRange table;               ///< indirect; of size 0 when there is none
    };

    [[nodiscard]] std::atomic_ref<uint16_t> field(uint64_t address) const {
        return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(guest_.at(address)));
    }
    void release(std::span<const GuestRange> ranges) {
        for (const GuestRange& range : ranges) guest_.release(range.address, range.size);
    }

    TestGuest& guest_;
    Virtqueue& queue_;
    Options options_;
    uint64_t descriptors_;
    uint64_t available_;
    uint64_t used_;
    std::vector<uint16_t> free_;
    std::vector<Buffer> buffers_;  ///< by head
    uint16_t available_index_ = 0;
    uint16_t kicked_index_ = 0;  ///< available_index_ at the last kick_wanted()
    uint16_t used_seen_ = 0;
    bool interrupts_ = true;
};

/// What a device does with a chain in most tests: reads the whole request.
inline Result<std::vector<std::byte>> read_request(Virtqueue& queue, const Chain& chain) {
    std::vector<std::byte> request(chain.readable_size);
    SWEDE_TRY(queue.read(chain, 0, request));
    return request;
}

inline std::vector<std::byte> to_bytes(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

}  // namespace swede::virtio::testing
