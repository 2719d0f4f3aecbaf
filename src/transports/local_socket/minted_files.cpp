// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/minted_files.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/memory_file.h"

namespace swede::local_socket {

Result<FileIdentity> identity_of(int fd) {
    if (!examine_memory(fd))
        return fail(ErrorCode::kInvalidParameter, "The file is no shared memory.");
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail_errno("Cannot examine a file", errno);
    return FileIdentity{status.st_dev, status.st_ino};
}

Result<void> MintedFiles::add(const FileIdentity& file, const Entry& entry) {
    if (entries_.contains(file)) return {};
    const auto living = living_.find(entry.session);
    const size_t of_session = living == living_.end() ? 0 : living->second;
    const bool full = entries_.size() >= max_entries_;
    if (of_session >= max_of_session_ || (full && orphans_.empty()))
        return fail(ErrorCode::kOutOfMemory,
                    "{} resources of the connection are exported, which is the limit.", of_session);
    if (full) {
        entries_.erase(orphans_.front());
        orphans_.pop_front();
    }
    entries_.emplace(file, entry);
    ++living_[entry.session];
    return {};
}

const MintedFiles::Entry* MintedFiles::find(const FileIdentity& file) const {
    const auto found = entries_.find(file);
    return found == entries_.end() ? nullptr : &found->second;
}

void MintedFiles::orphan(const FileIdentity& file, uint64_t session,
                         rutabaga::ResourceId resource) {
    const auto found = entries_.find(file);
    if (found == entries_.end() || found->second.orphaned || found->second.session != session ||
        found->second.resource != resource)
        return;
    found->second.orphaned = true;
    if (const auto living = living_.find(session); --living->second == 0) living_.erase(living);
    orphans_.push_back(file);
}

}  // namespace swede::local_socket
