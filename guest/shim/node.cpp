// SPDX-License-Identifier: Apache-2.0
#include "node.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libc.h"
#include "node_rows.h"
#include "registry.h"

namespace swede::shim {
namespace {

/// Where the mappings of a node begin; not 0, which stands for none.
constexpr uint64_t kFirstOffset = uint64_t{1} << 28;
constexpr uint64_t kPage = 4096;
/// The longest structure of rows().
constexpr size_t kMaxArgument = 256;

uint64_t whole_pages(uint64_t size) {
    return (size + kPage - 1) / kPage * kPage;
}

}  // namespace

Node::Node(const Identity& identity, unsigned minor, Fd other_end,
           std::unique_ptr<Connection> connection)
    : identity_(identity),
      minor_(minor),
      other_end_(std::move(other_end)),
      connection_(std::move(connection)),
      next_offset_(kFirstOffset),
      after_fork_(connection_ == nullptr) {}

int Node::ioctl(unsigned long command, void* argument) {
    const auto row = std::ranges::find(rows(), _IOC_NR(command), &Row::number);
    if (row == rows().end()) return -EINVAL;
    // As the kernel does: a shorter structure is filled up with zeroes, of a longer one the rest is
    // left alone (drm_ioctl.c, drm_ioctl()).
    alignas(uint64_t) std::byte copy[kMaxArgument] = {};
    const size_t given = std::min<size_t>(_IOC_SIZE(command), row->size);
    const unsigned direction = _IOC_DIR(command);
    if (given != 0 && argument == nullptr) return -EFAULT;
    if ((direction & _IOC_WRITE) != 0 && given != 0) std::memcpy(copy, argument, given);
    const int result = (this->*row->handler)(copy);
    if ((direction & _IOC_READ) != 0 && given != 0) std::memcpy(argument, copy, given);
    return result;
}

Outcome<Connection*> Node::connection() {
    {
        const std::scoped_lock lock(mutex_);
        if (connection_) return connection_.get();
    }
    auto made = Connection::open();
    if (!made) return std::unexpected(made.error());
    const std::scoped_lock lock(mutex_);
    if (!connection_) connection_ = *std::move(made);
    return connection_.get();
}

Outcome<Node::Buffer*> Node::buffer(uint32_t handle) {
    const auto found = buffers_.find(handle);
    if (found != buffers_.end()) return &found->second;
    if (after_fork_ && !std::exchange(told_of_fork_, true))
        say("Handle %u of the GPU is not known in process %d: a process that was forked has none "
            "of its parent's handles.",
            handle, static_cast<int>(::getpid()));
    return std::unexpected(ENOENT);
}

Outcome<uint64_t> Node::size_of(uint32_t handle) {
    const std::scoped_lock lock(mutex_);
    const auto found = buffer(handle);
    if (!found) return std::unexpected(found.error());
    return (*found)->size;
}

void Node::enter(uint32_t handle, uint64_t size, uint32_t blob_mem, uint64_t blob_id) {
    const std::scoped_lock lock(mutex_);
    Buffer& made = buffers_[handle];
    made.size = whole_pages(size);
    made.blob_mem = blob_mem;
    made.blob_id = blob_id;
}

int Node::map_ioctl(void* argument) {
    auto& request = *static_cast<drm::Map*>(argument);
    const std::scoped_lock lock(mutex_);
    const auto found = buffer(request.handle);
    if (!found) return -found.error();
    Buffer& mapped = **found;
    if (mapped.map_offset == 0) {
        mapped.map_offset = next_offset_;
        next_offset_ += mapped.size + kPage;
        mapped_.emplace(mapped.map_offset, request.handle);
    }
    request.offset = mapped.map_offset;
    return 0;
}

Outcome<void*> Node::map(void* address, size_t length, int protection, int flags, uint64_t offset) {
    uint32_t handle = 0;
    uint64_t inside = 0;
    bool is_ring = false;
    {
        const std::scoped_lock lock(mutex_);
        auto found = mapped_.upper_bound(offset);
        if (found == mapped_.begin()) return std::unexpected(EINVAL);
        --found;
        handle = found->second;
        const Buffer& mapped = buffers_.at(handle);
        inside = offset - found->first;
        if (length == 0 || inside % kPage != 0 || inside >= mapped.size ||
            whole_pages(length) > mapped.size - inside)
            return std::unexpected(EINVAL);
        is_ring = capset_ == kCapsetGfxstream && mapped.blob_mem == kBlobHost3d &&
                  mapped.blob_id == 0 && !mapped.ring;
    }
    const auto device = connection();
    if (!device) return std::unexpected(device.error());
    const wire::local::ResourceOnly body{handle, 0};
    const std::span<const std::byte> part = bytes_of(body);
    auto reply = (*device)->call(wire::local::Request::kMap, std::span(&part, 1));
    if (!reply) return std::unexpected(reply.error());
    if (!reply->fd || inside > reply->answer.size ||
        whole_pages(length) > reply->answer.size - inside)
        return std::unexpected(EINVAL);
    // As in a guest, whose pages of such memory are read-only whatever it maps them for: a write to
    // them ends it, and mapping them does not.
    if ((reply->answer.access & wire::local::kMayWrite) == 0 && (flags & MAP_TYPE) != MAP_PRIVATE)
        protection &= ~PROT_WRITE;
    void* const data = libc().mmap(address, length, protection, flags, reply->fd.get(),
                                   static_cast<off_t>(reply->answer.offset + inside));
    if (data == MAP_FAILED) return std::unexpected(errno);
    if (is_ring) {
        auto ring =
            std::make_unique<Ring>(reply->fd.get(), reply->answer.offset, reply->answer.size);
        const std::scoped_lock lock(mutex_);
        const auto still = buffers_.find(handle);
        if (*ring && still != buffers_.end()) {
            still->second.ring = std::move(ring);
            has_rings_ = true;
        }
    }
    return data;
}

int Node::socket() {
    const std::scoped_lock lock(mutex_);
    return connection_ ? connection_->socket() : -1;
}

void Node::set_lost() {
    const auto device = connection();
    if (device) (*device)->set_lost();
    // Whoever waits for an event reads the end.
    if (other_end_) ::shutdown(other_end_.get(), SHUT_WR);
}

bool Node::abort_rings() {
    const std::scoped_lock lock(mutex_);
    bool any = false;
    for (auto& [handle, mapped] : buffers_)
        if (mapped.ring) {
            mapped.ring->abort();
            any = true;
        }
    return any;
}

void Node::abandon_in_child() {
    if (connection_) ::close(connection_->socket());
    if (other_end_) ::close(other_end_.get());
}

}  // namespace swede::shim
