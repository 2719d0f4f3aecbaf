// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <unordered_map>

#include "base/result.h"
#include "rutabaga/completion.h"
#include "wire/virtio_gpu.h"

namespace swede::local_socket {

/// What makes two file descriptors the same file.
struct FileIdentity {
    uint64_t device = 0;
    uint64_t inode = 0;
    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

struct FileIdentityHash {
    size_t operator()(const FileIdentity& identity) const {
        return std::hash<uint64_t>()(identity.inode * 31 + identity.device);
    }
};

/// Of shared memory: a memory file or a dma-buf. Any other file is refused without a look at its
/// file system, for that may be one that a hostile program serves, and does not answer (FUSE).
[[nodiscard]] Result<FileIdentity> identity_of(int fd);

/// The files of 3D resources that connections were given, so that one that comes back can be told
/// from any other file (PRIME). It holds no file: who brings one back holds it. Owned by the
/// server, on its thread; an entry lives as long as its resource, and after that until newer ones
/// push it out. Each connection has its share, so that none uses up those of others.
class MintedFiles {
  public:
    static constexpr size_t kMaxOfSession = 1024;  ///< entries of living resources

    /// `max_sessions` at once.
    explicit MintedFiles(size_t max_sessions, size_t max_of_session = kMaxOfSession)
        : max_entries_(max_sessions * max_of_session), max_of_session_(max_of_session) {}

    struct Entry {
        uint64_t session = 0;  ///< the connection that exported it
        rutabaga::ResourceId resource = 0;
        wire::ResourceCreate3d request{};  ///< what the resource was made with
        uint64_t size = 0;                 ///< bytes of memory
        bool orphaned = false;             ///< the resource is gone
    };

    /// Nothing for a file that is known: it was imported, and is exported again. Fails when as many
    /// of the session's resources live as may.
    [[nodiscard]] Result<void> add(const FileIdentity& file, const Entry& entry);
    /// Null when the file is none of ours.
    [[nodiscard]] const Entry* find(const FileIdentity& file) const;
    /// The resource is gone; the file may live on elsewhere.
    void orphan(const FileIdentity& file, uint64_t session, rutabaga::ResourceId resource);
    [[nodiscard]] size_t size() const { return entries_.size(); }

  private:
    std::unordered_map<FileIdentity, Entry, FileIdentityHash> entries_;
    std::list<FileIdentity> orphans_;              ///< oldest first
    std::unordered_map<uint64_t, size_t> living_;  ///< entries, by session; none is 0
    size_t max_entries_;
    size_t max_of_session_;
};

}  // namespace swede::local_socket
