// SPDX-License-Identifier: Apache-2.0
#include "base/mapping.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <string>

#include "base/checked.h"
#include "base/sigbus_guard.h"

namespace swede {

Mapping::~Mapping() {
    if (data_ == nullptr) return;
    // The guard first: once unmapped, the addresses may belong to another mapping at once.
    if (guarded_) sigbus_guard::remove(data_);
    ::munmap(data_, length_);
}

Result<Mapping> Mapping::anonymous(uint64_t size) {
    if (size == 0) return fail(ErrorCode::kInvalidParameter, "A mapping of 0 bytes is asked for.");
    void* const data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) return fail_errno("Cannot allocate memory", errno);
    return Mapping(static_cast<std::byte*>(data), size, size, false);
}

uint64_t Mapping::page_size_of(int fd) {
    struct statfs status{};
    if (::fstatfs(fd, &status) != 0 || status.f_type != HUGETLBFS_MAGIC) return kPageSize;
    return static_cast<uint64_t>(status.f_bsize);
}

Result<Mapping> Mapping::map_file(int fd, uint64_t offset, uint64_t size, Access access, Way way) {
    const bool guarded = way == Way::kGuarded;
    const uint64_t page = guarded ? page_size_of(fd) : kPageSize;
    const auto raised = checked_add(size, page - 1);
    if (size == 0 || !raised || offset % page != 0 || offset > INT64_MAX)
        return fail(ErrorCode::kInvalidParameter,
                    "A range of {:#x} bytes at offset {:#x} of a file cannot be mapped.", size,
                    offset);
    // munmap of huge pages takes whole ones only.
    const uint64_t length = *raised / page * page;
    const int protection = access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
    const int sharing = way == Way::kPrivate ? MAP_PRIVATE : MAP_SHARED;
    void* const data = ::mmap(nullptr, length, protection, sharing | MAP_NORESERVE, fd,
                              static_cast<off_t>(offset));
    if (data == MAP_FAILED) return fail_errno("Cannot map the file", errno);
    if (guarded && !sigbus_guard::add(data, length, page, protection)) {
        ::munmap(data, length);
        return fail(ErrorCode::kOutOfMemory, "Too many guarded mappings are in use.");
    }
    return Mapping(static_cast<std::byte*>(data), size, length, guarded);
}

Result<Mapping> Mapping::own_file(int fd, uint64_t offset, uint64_t size, Access access) {
    return map_file(fd, offset, size, access, Way::kShared);
}

Result<Mapping> Mapping::private_file(int fd, uint64_t offset, uint64_t size) {
    return map_file(fd, offset, size, Access::kReadWrite, Way::kPrivate);
}

Result<Mapping> Mapping::peer_file(int fd, uint64_t offset, uint64_t size, Access access) {
    struct stat status{};
    if (::fstat(fd, &status) != 0) return fail_errno("Cannot examine the peer's fd", errno);
    // A device node (a dma-buf, /dev/mem of a pass-through) has no st_size; the guard covers it.
    // The last page of a file is there whole.
    const auto pages = page_align(static_cast<uint64_t>(status.st_size));
    if (S_ISREG(status.st_mode) && !range_fits(offset, size, pages.value_or(0)))
        return fail(ErrorCode::kInvalidParameter,
                    "The range of {:#x} bytes at offset {:#x} is past the end ({:#x}) of the file.",
                    size, offset, static_cast<uint64_t>(status.st_size));
    return map_file(fd, offset, size, access, Way::kGuarded);
}

Result<UniqueFd> create_memfd(std::string_view name, uint64_t size) {
    if (size > INT64_MAX)
        return fail(ErrorCode::kInvalidParameter, "{} bytes are too many for a memory file.", size);
    UniqueFd fd(::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) return fail_errno("Cannot create a memory file", errno);
    if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        return fail_errno("Cannot size a memory file", errno);
    if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return fail_errno("Cannot seal a memory file", errno);
    return fd;
}

}  // namespace swede
