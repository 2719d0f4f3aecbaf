// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/vrings.h"

#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

#include "base/event_fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "virtio/split_ring.h"

namespace swede::vhost_user {
namespace {

log::Module log_("vhost_user");

/// An eventfd, or a pipe or socket in its place ("Support for platforms other than Linux"; User
/// Mode Linux hands out pipes). A regular file is refused: on a FUSE file system every access to it
/// may block, whatever O_NONBLOCK says.
Result<void> make_notifier(int fd) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail_errno("Cannot examine a notifier", errno);
    const auto type = status.st_mode & S_IFMT;  // 0: an anonymous inode, as eventfds have
    if (type != 0 && type != S_IFIFO && type != S_IFSOCK)
        return fail(ErrorCode::kInvalidParameter,
                    "A file of type {:#o} is neither an eventfd nor a pipe.", type);
    return set_nonblocking(fd);
}

enum class Drained : uint8_t { kKicked, kNothing, kUseless };

Drained drain_kick(int fd) {
    uint64_t count = 0;
    iovec part{&count, sizeof(count)};
    // The front end shares O_NONBLOCK with us and could take it back: ask not to wait.
    ssize_t size = ::preadv2(fd, &part, 1, -1, RWF_NOWAIT);
    if (size < 0 && errno == EOPNOTSUPP) size = ::read(fd, &count, sizeof(count));
    if (size > 0) return Drained::kKicked;
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return Drained::kNothing;
    return Drained::kUseless;
}

}  // namespace

Vrings::Vrings(EventLoop& loop, std::span<virtio::Virtqueue> queues, const MemoryTable& memory,
               Process process)
    : loop_(loop),
      queues_(queues),
      memory_(memory),
      process_(std::move(process)),
      rings_(queues.size()) {}

Result<Vrings::Ring*> Vrings::ring(uint32_t index) {
    if (index >= rings_.size())
        return fail(ErrorCode::kInvalidParameter, "Ring {} does not exist; there are {}.", index,
                    rings_.size());
    return &rings_[index];
}

Result<void> Vrings::set_size(uint32_t index, uint32_t size) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    if (size == 0 || size > virtio::Virtqueue::kMaxSize || !std::has_single_bit(size))
        return fail(ErrorCode::kInvalidParameter,
                    "Ring {} cannot have {} entries: a power of two up to {} is possible.", index,
                    size, virtio::Virtqueue::kMaxSize);
    if (ring.running && ring.size != size)
        return fail(ErrorCode::kInvalidParameter, "Ring {} runs; its size cannot change.", index);
    ring.size = static_cast<uint16_t>(size);
    start_if_ready(static_cast<uint16_t>(index));
    return {};
}

Result<Vrings::Placement> Vrings::place(const VringAddress& addresses, uint16_t size) const {
    Placement placement{};
    placement.descriptors = SWEDE_TRY(
        memory_.guest_address(addresses.descriptors, virtio::descriptor_table_size(size)));
    placement.available = SWEDE_TRY(
        memory_.guest_address(addresses.available, virtio::available_ring_size(size, true)));
    placement.used =
        SWEDE_TRY(memory_.guest_address(addresses.used, virtio::used_ring_size(size, true)));
    if (placement.descriptors % 16 != 0 || placement.available % 2 != 0 || placement.used % 4 != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "A ring's parts at {:#x}, {:#x} and {:#x} are not aligned to 16, 2 and 4.",
                    placement.descriptors, placement.available, placement.used);
    return placement;
}

Result<void> Vrings::set_addresses(const VringAddress& address) {
    Ring& ring = *SWEDE_TRY(this->ring(address.index));
    if (address.flags != 0)
        return fail(ErrorCode::kUnsupported, "Ring {} has flags {:#x}; logging is not offered.",
                    address.index, address.flags);
    if (ring.running) {
        if (address.descriptors != ring.addresses->descriptors ||
            address.available != ring.addresses->available || address.used != ring.addresses->used)
            return fail(ErrorCode::kInvalidParameter, "Ring {} runs; it cannot move.",
                        address.index);
        return {};
    }
    ring.addresses.reset();
    SWEDE_TRY(place(address, ring.size));
    ring.addresses = address;
    start_if_ready(static_cast<uint16_t>(address.index));
    return {};
}

Result<void> Vrings::set_base(uint32_t index, uint32_t base) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    if (base > UINT16_MAX)
        return fail(ErrorCode::kInvalidParameter, "Ring {} cannot start at entry {:#x}.", index,
                    base);
    if (ring.running)
        return fail(ErrorCode::kInvalidParameter, "Ring {} runs; its base cannot change.", index);
    ring.base = ring.stopped_at = static_cast<uint16_t>(base);
    return {};
}

bool Vrings::starts_anew(uint32_t index, uint32_t base) const {
    return base == 0 && index < rings_.size() && !rings_[index].running &&
           (rings_[index].stopped_at != 0 || queues_[index].broken());
}

Result<void> Vrings::set_kick(uint32_t index, UniqueFd fd) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    SWEDE_TRY(make_notifier(fd.get()));
    const auto i = static_cast<uint16_t>(index);
    auto watch = loop_.watch(fd.get(), EPOLLIN, [this, i](uint32_t events) { on_kick(i, events); });
    if (!watch) return std::unexpected(std::move(watch).error());
    drop_kick(ring);
    ring.kick = PeerFile(std::move(fd));
    ring.watch = *std::move(watch);
    if (ring.running)
        process(i);  // what came while the kick fd changed
    else
        start_if_ready(i);
    return {};
}

Result<void> Vrings::set_call(uint32_t index, UniqueFd fd) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    if (fd) SWEDE_TRY(make_notifier(fd.get()));
    ring.call = PeerFile(std::move(fd));
    return {};
}

Result<void> Vrings::set_error(uint32_t index, UniqueFd fd) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    if (fd) SWEDE_TRY(make_notifier(fd.get()));
    ring.error = PeerFile(std::move(fd));
    return {};
}

Result<void> Vrings::set_enabled(uint32_t index, bool enabled) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    ring.enabled = enabled;
    if (enabled)
        start_if_ready(static_cast<uint16_t>(index));
    else
        suspend(static_cast<uint16_t>(index));
    return {};
}

void Vrings::enable_all() {
    for (uint16_t i = 0; i < rings_.size(); ++i) {
        rings_[i].enabled = true;
        start_if_ready(i);
    }
}

void Vrings::suspend(uint16_t index) {
    Ring& ring = rings_[index];
    if (!std::exchange(ring.running, false)) return;
    ring.base = queues_[index].next_available();
    queues_[index].disable();
}

void Vrings::drop_kick(Ring& ring) {
    ring.watch.reset();
    ring.kick.reset();
}

Result<uint16_t> Vrings::stop(uint32_t index) {
    Ring& ring = *SWEDE_TRY(this->ring(index));
    suspend(static_cast<uint16_t>(index));
    drop_kick(ring);
    ring.stopped_at = ring.base;
    return ring.base;
}

void Vrings::start_if_ready(uint16_t index) {
    Ring& ring = rings_[index];
    if (ring.running || holds_ != 0 || !ring.kick || !ring.enabled || !ring.addresses ||
        ring.size == 0)
        return;
    virtio::Virtqueue& queue = queues_[index];
    const auto start = [&]() -> Result<void> {
        const Placement placement = SWEDE_TRY(place(*ring.addresses, ring.size));
        SWEDE_TRY(queue.set_size(ring.size));
        queue.set_addresses(placement.descriptors, placement.available, placement.used);
        queue.set_next_available(ring.base);
        return queue.enable(event_idx_);
    };
    if (const auto started = start(); !started) {
        log_.warn("Ring {} cannot start: {}", index, started.error().message);
        return;
    }
    log_.debug("Ring {} of {} entries starts at entry {}.", index, ring.size, ring.base);
    ring.running = true;
    // "Back-ends should not rely on receiving a kick after SET_VRING_KICK."
    process(index);
}

void Vrings::memory_changed() {
    for (uint16_t i = 0; i < rings_.size(); ++i) {
        Ring& ring = rings_[i];
        if (ring.running) {
            const auto placement = place(*ring.addresses, ring.size);
            const virtio::Virtqueue& queue = queues_[i];
            if (placement && placement->descriptors == queue.descriptors() &&
                placement->available == queue.available() && placement->used == queue.used())
                continue;
            log_.warn("Ring {} lost its memory; it waits for the front end.", i);
            suspend(i);
            if (!placement) continue;
        } else if (ring.addresses && !place(*ring.addresses, ring.size)) {
            continue;  // still without memory; said when it was lost
        }
        start_if_ready(i);
    }
}

void Vrings::release() {
    if (--holds_ != 0) return;
    for (uint16_t i = 0; i < rings_.size(); ++i) {
        if (rings_[i].running)
            process(i);
        else
            start_if_ready(i);
    }
}

void Vrings::queues_were_reset() {
    for (Ring& ring : rings_) {
        ring.running = false;
        ring.stopped_at = 0;
    }
}

void Vrings::reset() {
    for (uint16_t i = 0; i < rings_.size(); ++i) {
        suspend(i);
        Ring& ring = rings_[i];
        drop_kick(ring);
        ring.addresses.reset();
        ring.base = ring.stopped_at = 0;
        ring.enabled = false;
    }
}

bool Vrings::any_started() const {
    return std::ranges::any_of(rings_, [](const Ring& ring) { return bool(ring.kick); });
}

void Vrings::on_kick(uint16_t index, uint32_t events) {
    Ring& ring = rings_[index];
    const Drained drained = drain_kick(ring.kick.get());
    if (drained == Drained::kUseless ||
        (drained == Drained::kNothing && (events & (EPOLLHUP | EPOLLERR)) != 0)) {
        // Closed at the other end, or of a kind that cannot be read: it would wake us for ever.
        log_.warn("The kick fd of ring {} is of no use any more.", index);
        ring.watch.reset();
        return;
    }
    if (drained == Drained::kKicked && ring.running) process(index);
}

void Vrings::process(uint16_t index) {
    if (holds_ == 0) process_(index);
}

void Vrings::interrupt(uint16_t index) {
    if (rings_[index].call) signal_event(rings_[index].call.get());
}

void Vrings::report_error(uint16_t index) {
    if (rings_[index].error) signal_event(rings_[index].error.get());
}

}  // namespace swede::vhost_user
