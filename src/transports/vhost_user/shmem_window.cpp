// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/shmem_window.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/log.h"
#include "wire/virtio_gpu.h"

namespace swede::vhost_user {
namespace {

log::Module log_("vhost_user");

template <typename Range>
bool overlap(const Range& a, const Range& b) {
    return ranges_overlap(a.offset, a.size, b.offset, b.size);
}

}  // namespace

ShmemWindow::ShmemWindow(BackendChannel& channel, uint64_t size) : channel_(channel), size_(size) {}

Result<std::optional<rutabaga::WindowRange>> ShmemWindow::prepare(uint64_t, uint64_t) {
    return std::nullopt;
}

void ShmemWindow::map(uint64_t offset, rutabaga::SharedMemory memory, rutabaga::Completion<> done) {
    if (!negotiated_ || !channel_.attached()) {
        done(fail(ErrorCode::kUnsupported, "The front end cannot map shared memory."));
        return;
    }
    if (slots_ >= kMaxMappings) {
        done(fail(ErrorCode::kOutOfMemory, "{} blobs are mapped already.", slots_));
        return;
    }
    const Range range{offset, memory.size};
    const int fd = memory.fd.get();
    const uint64_t fd_offset = memory.offset;
    const uint64_t flags = memory.access == Access::kReadWrite ? kShmemMapWritable : 0;
    const uint64_t id = next_id_++;
    ++slots_;
    // Kept while it is sent, and beyond if the map may fail because of a range of before a reset.
    rutabaga::SharedMemory sent = std::move(memory);
    Pending& pending =
        pending_.emplace(id, Pending{range, {}, std::move(done), true}).first->second;
    if (overlaps_stale(range)) {
        pending.memory = std::move(sent);
        send_map(id, pending.memory.fd.get(), fd_offset, flags);
    } else {
        send_map(id, fd, fd_offset, flags);
    }
}

void ShmemWindow::send_map(uint64_t id, int fd, uint64_t fd_offset, uint64_t flags) {
    const Range range = pending_.at(id).range;
    ShmemMap payload{};
    payload.shmid = wire::kShmIdHostVisible;
    payload.fd_offset = fd_offset;
    payload.shm_offset = range.offset;
    payload.length = range.size;
    payload.flags = flags;
    channel_.request(BackendRequest::kShmemMap, bytes_of(payload), fd,
                     [this, id](Result<void> result) { map_answered(id, std::move(result)); });
}

void ShmemWindow::map_answered(uint64_t id, Result<void> result) {
    Pending& entry = pending_.at(id);
    if (!entry.done) {  // of before a reset: the unmap that follows it has the slot
        pending_.erase(id);
        return;
    }
    if (!result && entry.memory.fd) {
        const rutabaga::SharedMemory memory = std::move(entry.memory);
        if (forget_stale(entry.range)) {
            send_map(id, memory.fd.get(), memory.offset,
                     memory.access == Access::kReadWrite ? kShmemMapWritable : 0);
            return;
        }
    }
    Pending pending = std::move(entry);
    pending_.erase(id);
    if (result) {
        mapped_[pending.range.offset] = pending.range.size;
        std::erase_if(stale_, [&](const Range& stale) { return overlap(pending.range, stale); });
    } else {
        --slots_;
    }
    (*pending.done)(std::move(result));
}

void ShmemWindow::unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) {
    const uint64_t id = next_id_++;
    pending_.emplace(id, Pending{{offset, size}, {}, std::move(done), false});
    mapped_.erase(offset);
    send_unmap(id);
}

void ShmemWindow::send_unmap(uint64_t id) {
    const Range range = pending_.at(id).range;
    ShmemMap payload{};
    payload.shmid = wire::kShmIdHostVisible;
    payload.shm_offset = range.offset;
    payload.length = range.size;
    channel_.request(BackendRequest::kShmemUnmap, bytes_of(payload), -1,
                     [this, id](Result<void> result) { unmap_answered(id, std::move(result)); });
}

void ShmemWindow::unmap_answered(uint64_t id, Result<void> result) {
    Pending pending = std::move(pending_.at(id));
    pending_.erase(id);
    --slots_;
    if (pending.done) (*pending.done)(std::move(result));
}

void ShmemWindow::forget(const Range& range, bool holds_slot) {
    if (!holds_slot) ++slots_;
    const uint64_t id = next_id_++;
    pending_.emplace(id, Pending{range, {}, std::nullopt, false});
    send_unmap(id);
}

bool ShmemWindow::overlaps_stale(const Range& range) const {
    return std::ranges::any_of(stale_, [&](const Range& stale) { return overlap(range, stale); });
}

bool ShmemWindow::forget_stale(const Range& range) {
    const auto overlaps = [&](const Range& stale) { return overlap(range, stale); };
    std::vector<Range> found;
    std::ranges::copy_if(stale_, std::back_inserter(found), overlaps);
    std::erase_if(stale_, overlaps);
    for (const Range& stale : found) {
        log_.info("The front end kept a map of {:#x} bytes at {:#x} over a reset.", stale.size,
                  stale.offset);
        forget(stale, false);
    }
    return !found.empty();
}

void ShmemWindow::reset() {
    stale_.clear();
    for (const auto& [offset, size] : mapped_) {
        stale_.push_back({offset, size});
        --slots_;
    }
    mapped_.clear();
    std::vector<Range> unanswered;
    for (auto& [id, pending] : pending_) {
        if (!pending.done) continue;
        pending.done.reset();  // answers that the request is lost
        if (pending.map) unanswered.push_back(pending.range);
    }
    // The unmap is served right after the map that it follows, whether that had worked or not.
    for (const Range& range : unanswered) forget(range, true);
}

}  // namespace swede::vhost_user
