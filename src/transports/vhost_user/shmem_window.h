// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "transports/vhost_user/backend_channel.h"
#include "virtio_gpu/host_visible_window.h"

namespace swede::vhost_user {

/// The host-visible window that the front end maps on request: any file that can be mapped, one
/// SHMEM_MAP for each blob. Owned by the session; device thread.
class ShmemWindow : public virtio_gpu::HostVisibleWindow {
  public:
    /// QEMU 11.1 makes a vhost memory slot of every map and asserts at 512 slots, guest RAM's among
    /// them (vhost-user.c, vhost_user_add_remove_regions): a guest must not get there.
    static constexpr uint32_t kMaxMappings = 400;

    /// `size` bytes, 0: none.
    ShmemWindow(BackendChannel& channel, uint64_t size);

    /// The front end took what a window needs: SHMEM_MAP, BACKEND_REQ and REPLY_ACK.
    void set_negotiated(bool negotiated) { negotiated_ = negotiated; }

    [[nodiscard]] uint64_t size() const override { return size_; }
    [[nodiscard]] uint32_t max_mappings() const override { return kMaxMappings; }
    [[nodiscard]] Result<std::optional<rutabaga::WindowRange>> prepare(uint64_t offset,
                                                                       uint64_t size) override;
    void map(uint64_t offset, rutabaga::SharedMemory memory, rutabaga::Completion<> done) override;
    void unmap(uint64_t offset, uint64_t size, rutabaga::Completion<> done) override;
    /// The front end drops the maps of a device that is reset by itself (SHMEM_MAP in the
    /// specification); only what it had not answered yet is unmapped here.
    void reset() override;

  private:
    struct Range {
        uint64_t offset;  ///< bytes
        uint64_t size;    ///< bytes
    };
    /// A request that is out.
    struct Pending {
        Range range;
        rutabaga::SharedMemory memory;               ///< kept only for a second try
        std::optional<rutabaga::Completion<>> done;  ///< empty after a reset
        bool map;
    };

    void send_map(uint64_t id, int fd, uint64_t fd_offset, uint64_t flags);
    void send_unmap(uint64_t id);
    void map_answered(uint64_t id, Result<void> result);
    void unmap_answered(uint64_t id, Result<void> result);
    /// Unmaps what only the front end may still have; nobody waits for the answer.
    void forget(const Range& range, bool holds_slot);
    /// Takes the stale ranges that overlap out of stale_ and forgets them. False: there are none.
    bool forget_stale(const Range& range);
    [[nodiscard]] bool overlaps_stale(const Range& range) const;

    BackendChannel& channel_;
    const uint64_t size_;
    bool negotiated_ = false;
    uint64_t next_id_ = 1;
    std::unordered_map<uint64_t, Pending> pending_;
    std::unordered_map<uint64_t, uint64_t> mapped_;  ///< offset to size, bytes
    std::vector<Range> stale_;  ///< mapped at the last reset; gone, unless a map there fails
    size_t slots_ = 0;          ///< maps that the front end has or may have
};

}  // namespace swede::vhost_user
