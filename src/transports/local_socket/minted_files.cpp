// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/minted_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace swede::local_socket {

namespace {

/// The kernel makes up the name of a dma-buf: "/dmabuf:" and what its owner called it.
bool is_dma_buf(int fd) {
    std::array<char, 16> name{};
    const ssize_t size =
        ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), name.data(), name.size());
    return size > 0 &&
           std::string_view(name.data(), static_cast<size_t>(size)).starts_with("/dmabuf:");
}

}  // namespace

Result<FileIdentity> identity_of(int fd) {
    if (::fcntl(fd, F_GET_SEALS) < 0 && !is_dma_buf(fd))
        return fail(ErrorCode::kInvalidParameter, "The file is no shared memory.");
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail_errno("Cannot examine a file", errno);
    return FileIdentity{status.st_dev, status.st_ino};
}

Result<void> MintedFiles::add(const FileIdentity& file, const Entry& entry) {
    if (entries_.contains(file)) return {};
    if (entries_.size() >= max_entries_) {
        if (orphans_.empty())
            return fail(ErrorCode::kOutOfMemory, "{} resources are exported, which is the limit.",
                        entries_.size());
        entries_.erase(orphans_.front());
        orphans_.pop_front();
    }
    entries_.emplace(file, entry);
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
    orphans_.push_back(file);
}

}  // namespace swede::local_socket
