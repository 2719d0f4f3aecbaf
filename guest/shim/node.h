// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "connection.h"
#include "fd.h"
#include "ring.h"

namespace swede::shim {

/// One open of the render node, and what the program made through it. The program's file
/// descriptor is one end of a socket pair: it has an identity that its duplicates share, the device
/// writes the events of polled rings into the other end, so that read() and poll() need no hooks,
/// and when the last duplicate is closed the other end hangs up. Owned by the registry; used by any
/// thread; dies when the program has closed it.
///
/// After a fork the child has the parent's file descriptor, and a Node of its own behind it without
/// the parent's handles.
class Node {
  public:
    struct Identity {
        dev_t device = 0;
        ino_t inode = 0;
        friend bool operator==(const Identity&, const Identity&) = default;
    };

    Node(const Identity& identity, unsigned minor, Fd other_end,
         std::unique_ptr<Connection> connection);

    [[nodiscard]] const Identity& identity() const { return identity_; }
    [[nodiscard]] unsigned minor() const { return minor_; }
    [[nodiscard]] int other_end() const { return other_end_.get(); }

    /// An ioctl of type 'd'. 0 or a negative errno.
    [[nodiscard]] int ioctl(unsigned long command, void* argument);
    /// mmap at an offset that DRM_IOCTL_VIRTGPU_MAP gave.
    [[nodiscard]] Outcome<void*> map(void* address, size_t length, int protection, int flags,
                                     uint64_t offset);

    // Of the watcher's thread.
    /// -1: there is none yet.
    [[nodiscard]] int socket();
    void set_lost();
    /// Frees threads that spin in rings. False: there is no ring.
    bool abort_rings();

    // Around a fork, from the registry.
    /// Closes what the child inherited of the connection; the object itself is not used any more,
    /// for its locks may be held by threads that the child does not have.
    void abandon_in_child();

  private:
    /// A GEM handle, which is the device's resource id.
    struct Buffer {
        uint64_t size = 0;  ///< bytes
        uint32_t blob_mem = 0;
        uint64_t blob_id = 0;
        uint64_t map_offset = 0;  ///< 0: MAP was not asked for
        std::unique_ptr<Ring> ring;
    };
    struct Row;
    [[nodiscard]] static std::span<const Row> rows();

    /// Connects first where there is no connection: after a fork.
    [[nodiscard]] Outcome<Connection*> connection();
    [[nodiscard]] Outcome<Buffer*> buffer(uint32_t handle);  ///< mutex_ is held
    [[nodiscard]] Outcome<uint64_t> size_of(uint32_t handle);
    void enter(uint32_t handle, uint64_t size, uint32_t blob_mem, uint64_t blob_id);
    [[nodiscard]] int transfer(wire::local::Request type, void* argument);

    // One for each ioctl: on a copy of its structure, 0 or a negative errno. node_ioctls.cpp.
    int version(void* argument);
    int get_unique(void* argument);
    int get_cap(void* argument);
    int set_client_cap(void* argument);
    int set_version(void* argument);
    int gem_close(void* argument);
    int prime_handle_to_fd(void* argument);
    int prime_fd_to_handle(void* argument);
    int not_offered(void* argument);
    int not_permitted(void* argument);
    int getparam(void* argument);
    int get_caps(void* argument);
    int context_init(void* argument);
    int resource_create(void* argument);
    int resource_create_blob(void* argument);
    int resource_info(void* argument);
    int map_ioctl(void* argument);
    int execbuffer(void* argument);
    int wait(void* argument);
    int transfer_to_host(void* argument);
    int transfer_from_host(void* argument);

    const Identity identity_;
    const unsigned minor_;
    Fd other_end_;

    std::mutex mutex_;  ///< guards what follows; never held while the device is asked
    std::unique_ptr<Connection> connection_;  ///< once made it stays
    std::unordered_map<uint32_t, Buffer> buffers_;
    std::map<uint64_t, uint32_t> mapped_;  ///< map_offset to handle
    uint64_t next_offset_;
    bool after_fork_ = false;
    bool told_of_fork_ = false;
    std::atomic<bool> has_rings_ = false;
    std::atomic<uint32_t> capset_ = 0;
    std::atomic<uint64_t> poll_rings_ = 0;
};

}  // namespace swede::shim
