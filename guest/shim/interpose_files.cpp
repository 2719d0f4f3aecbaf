// SPDX-License-Identifier: Apache-2.0
// libc's functions on paths: what is of the made-up device is answered here, all else is passed on.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "device_tree.h"
#include "fd.h"
#include "interpose.h"
#include "libc.h"
#include "registry.h"

namespace swede::shim {
namespace {

using Kind = Entry::Kind;

std::optional<Entry> ours(const char* path, bool follow = true) {
    if (!may_be_ours(path)) return std::nullopt;
    const ErrnoKeeper keeper;
    return look_up(path, follow);
}

/// A path that leads from our tree to the real one, as "subsystem" does.
bool leads_out(const std::optional<Entry>& entry) {
    return entry && entry->kind == Kind::kLink;
}

mode_t mode_of(const Entry& entry) {
    switch (entry.kind) {
        case Kind::kDirectory:
            return S_IFDIR | 0755;
        case Kind::kLink:
            return S_IFLNK | 0777;
        case Kind::kNode:
            return S_IFCHR | 0666;
        default:
            return S_IFREG | 0444;
    }
}

int fail_with(int error) {
    errno = error;
    return -1;
}

/// stat() of an entry; of one that is not there, ENOENT.
int fill(const Entry& entry, struct stat* status) {
    if (entry.kind == Kind::kAbsent) return fail_with(ENOENT);
    *status = {};
    status->st_mode = mode_of(entry);
    status->st_ino = inode_of(entry.path);
    status->st_nlink = 1;
    status->st_blksize = 4096;
    status->st_size = static_cast<off_t>(entry.content.size());
    if (entry.kind == Kind::kNode) status->st_rdev = ::makedev(kDrmMajor, entry.minor);
    return 0;
}

/// A file that reads as the text.
int open_text(const std::string& text, int flags) {
    if ((flags & O_ACCMODE) != O_RDONLY) return fail_with(EACCES);
    Fd file(::memfd_create("swede-shim-file", (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0));
    if (!file) return -1;
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::lseek(file.get(), 0, SEEK_SET) != 0)
        return fail_with(EIO);
    return file.release();
}

int open_entry(const Entry& entry, int flags) {
    switch (entry.kind) {
        case Kind::kNode:
            if ((flags & O_DIRECTORY) != 0) return fail_with(ENOTDIR);
            return registry::open_node(entry.minor, flags);
        case Kind::kFile:
            if ((flags & O_DIRECTORY) != 0) return fail_with(ENOTDIR);
            return open_text(entry.content, flags);
        case Kind::kDirectory:
            return fail_with(EACCES);  // opendir() is what can be done with it
        default:
            return fail_with(ENOENT);
    }
}

int open_at(int folder, const char* path, int flags, mode_t mode) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().openat(folder, entry->content.c_str(), flags, mode);
    if (entry) return open_entry(*entry, flags);
    return libc().openat(folder, path, flags, mode);
}

int open_path(const char* path, int flags, mode_t mode) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().open(entry->content.c_str(), flags, mode);
    if (entry) return open_entry(*entry, flags);
    return libc().open(path, flags, mode);
}

/// The third parameter of open(), if there is one.
bool has_mode(int flags) {
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

FILE* open_stream(const char* path, const char* mode) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().fopen(entry->content.c_str(), mode);
    if (!entry) return libc().fopen(path, mode);
    const bool reads = mode[0] == 'r' && std::strchr(mode, '+') == nullptr;
    const int flags =
        (reads ? O_RDONLY : O_RDWR) | (std::strchr(mode, 'e') != nullptr ? O_CLOEXEC : 0);
    Fd file(open_entry(*entry, flags));
    if (!file) return nullptr;
    FILE* const stream = ::fdopen(file.get(), mode);
    if (stream != nullptr) static_cast<void>(file.release());
    return stream;
}

int stat_at(int folder, const char* path, struct stat* status, int flags) {
    const bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
    const auto entry = ours(path, follow);
    if (follow && leads_out(entry))
        return libc().fstatat(folder, entry->content.c_str(), status, flags);
    if (entry) return fill(*entry, status);
    if (path != nullptr && path[0] == '\0' && (flags & AT_EMPTY_PATH) != 0) {
        const int result = libc().fstatat(folder, path, status, flags);
        if (result != 0) return result;
        if (S_ISSOCK(status->st_mode) && registry::any_open())
            if (const auto minor = registry::minor_of({status->st_dev, status->st_ino}))
                return fill({Kind::kNode, "/dev/dri/renderD128", {}, {}, *minor}, status);
        return 0;
    }
    return libc().fstatat(folder, path, status, flags);
}

int stat_fd(int fd, struct stat* status) {
    const int result = libc().fstat(fd, status);
    if (result != 0 || !S_ISSOCK(status->st_mode) || !registry::any_open()) return result;
    const auto minor = registry::minor_of({status->st_dev, status->st_ino});
    if (!minor) return 0;
    const char* const path = *minor == kRenderMinor ? "/dev/dri/renderD128" : "/dev/dri/card0";
    return fill({Kind::kNode, path, {}, {}, *minor}, status);
}

ssize_t read_link(int folder, const char* path, char* buffer, size_t size) {
    const auto entry = ours(path, false);
    if (!entry) return libc().readlinkat(folder, path, buffer, size);
    if (entry->kind == Kind::kAbsent) return fail_with(ENOENT);
    if (entry->kind != Kind::kLink || size == 0) return fail_with(EINVAL);
    const size_t length = std::min(size, entry->content.size());
    std::memcpy(buffer, entry->content.data(), length);
    return static_cast<ssize_t>(length);
}

char* real_path(const char* path, char* resolved) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().realpath(entry->content.c_str(), resolved);
    if (!entry) return libc().realpath(path, resolved);
    if (entry->kind == Kind::kAbsent) {
        errno = ENOENT;
        return nullptr;
    }
    if (resolved == nullptr) return ::strdup(entry->path.c_str());
    std::memcpy(resolved, entry->path.c_str(), entry->path.size() + 1);
    return resolved;
}

/// access() of an entry.
int may_access(const Entry& entry, int mode) {
    if (entry.kind == Kind::kAbsent) return fail_with(ENOENT);
    if ((mode & X_OK) != 0 && entry.kind != Kind::kDirectory) return fail_with(EACCES);
    if ((mode & W_OK) != 0 && entry.kind != Kind::kNode) return fail_with(EACCES);
    return 0;
}

}  // namespace
}  // namespace swede::shim

using namespace swede::shim;  // NOLINT: what follows has libc's names

#define SWEDE_SHIM_OPEN(name)                                            \
    SWEDE_SHIM_FUNCTION(int, name, (const char* path, int flags, ...)) { \
        mode_t mode = 0;                                                 \
        if (has_mode(flags)) {                                           \
            va_list values;                                              \
            va_start(values, flags);                                     \
            mode = va_arg(values, mode_t);                               \
            va_end(values);                                              \
        }                                                                \
        return open_path(path, flags, mode);                             \
    }
SWEDE_SHIM_OPEN(open)
SWEDE_SHIM_OPEN(open64)

#define SWEDE_SHIM_OPENAT(name)                                                      \
    SWEDE_SHIM_FUNCTION(int, name, (int folder, const char* path, int flags, ...)) { \
        mode_t mode = 0;                                                             \
        if (has_mode(flags)) {                                                       \
            va_list values;                                                          \
            va_start(values, flags);                                                 \
            mode = va_arg(values, mode_t);                                           \
            va_end(values);                                                          \
        }                                                                            \
        return open_at(folder, path, flags, mode);                                   \
    }
SWEDE_SHIM_OPENAT(openat)
SWEDE_SHIM_OPENAT(openat64)

// What programs built with _FORTIFY_SOURCE call.
SWEDE_SHIM_FUNCTION(int, __open_2, (const char* path, int flags)) {
    return open_path(path, flags, 0);
}
SWEDE_SHIM_FUNCTION(int, __open64_2, (const char* path, int flags)) {
    return open_path(path, flags, 0);
}
SWEDE_SHIM_FUNCTION(int, __openat_2, (int folder, const char* path, int flags)) {
    return open_at(folder, path, flags, 0);
}
SWEDE_SHIM_FUNCTION(int, __openat64_2, (int folder, const char* path, int flags)) {
    return open_at(folder, path, flags, 0);
}

SWEDE_SHIM_FUNCTION(FILE*, fopen, (const char* path, const char* mode)) {
    return open_stream(path, mode);
}
SWEDE_SHIM_FUNCTION(FILE*, fopen64, (const char* path, const char* mode)) {
    return open_stream(path, mode);
}

// On x86-64, struct stat and struct stat64 are one. The __x names are of programs that were built
// before glibc 2.33.
SWEDE_SHIM_FUNCTION(int, stat, (const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, 0);
}
SWEDE_SHIM_FUNCTION(int, stat64, (const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, 0);
}
SWEDE_SHIM_FUNCTION(int, lstat, (const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
SWEDE_SHIM_FUNCTION(int, lstat64, (const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
SWEDE_SHIM_FUNCTION(int, fstat, (int fd, struct stat* status)) {
    return stat_fd(fd, status);
}
SWEDE_SHIM_FUNCTION(int, fstat64, (int fd, struct stat* status)) {
    return stat_fd(fd, status);
}
SWEDE_SHIM_FUNCTION(int, fstatat, (int folder, const char* path, struct stat* status, int flags)) {
    return stat_at(folder, path, status, flags);
}
SWEDE_SHIM_FUNCTION(int, fstatat64,
                    (int folder, const char* path, struct stat* status, int flags)) {
    return stat_at(folder, path, status, flags);
}
SWEDE_SHIM_FUNCTION(int, __xstat, (int, const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, 0);
}
SWEDE_SHIM_FUNCTION(int, __xstat64, (int, const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, 0);
}
SWEDE_SHIM_FUNCTION(int, __lxstat, (int, const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
SWEDE_SHIM_FUNCTION(int, __lxstat64, (int, const char* path, struct stat* status)) {
    return stat_at(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}
SWEDE_SHIM_FUNCTION(int, __fxstat, (int, int fd, struct stat* status)) {
    return stat_fd(fd, status);
}
SWEDE_SHIM_FUNCTION(int, __fxstat64, (int, int fd, struct stat* status)) {
    return stat_fd(fd, status);
}
SWEDE_SHIM_FUNCTION(int, __fxstatat,
                    (int, int folder, const char* path, struct stat* status, int flags)) {
    return stat_at(folder, path, status, flags);
}
SWEDE_SHIM_FUNCTION(int, __fxstatat64,
                    (int, int folder, const char* path, struct stat* status, int flags)) {
    return stat_at(folder, path, status, flags);
}

SWEDE_SHIM_FUNCTION(int, statx,
                    (int folder, const char* path, int flags, unsigned mask,
                     struct statx* status)) {
    const bool empty = path != nullptr && path[0] == '\0';
    struct stat known{};
    if (empty && registry::any_open()) {
        if (libc().fstat(folder, &known) == 0 && S_ISSOCK(known.st_mode) &&
            registry::minor_of({known.st_dev, known.st_ino})) {
            if (stat_fd(folder, &known) != 0) return -1;
        } else {
            return libc().statx(folder, path, flags, mask, status);
        }
    } else {
        const bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
        const auto entry = ours(path, follow);
        if (follow && leads_out(entry))
            return libc().statx(folder, entry->content.c_str(), flags, mask, status);
        if (!entry) return libc().statx(folder, path, flags, mask, status);
        if (fill(*entry, &known) != 0) return -1;
    }
    *status = {};
    status->stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO | STATX_SIZE;
    status->stx_mode = static_cast<uint16_t>(known.st_mode);
    status->stx_nlink = 1;
    status->stx_ino = known.st_ino;
    status->stx_blksize = 4096;
    status->stx_size = static_cast<uint64_t>(known.st_size);
    status->stx_rdev_major = ::major(known.st_rdev);
    status->stx_rdev_minor = ::minor(known.st_rdev);
    return 0;
}

SWEDE_SHIM_FUNCTION(ssize_t, readlink, (const char* path, char* buffer, size_t size)) {
    return read_link(AT_FDCWD, path, buffer, size);
}
SWEDE_SHIM_FUNCTION(ssize_t, readlinkat,
                    (int folder, const char* path, char* buffer, size_t size)) {
    return read_link(folder, path, buffer, size);
}
SWEDE_SHIM_FUNCTION(ssize_t, __readlink_chk,
                    (const char* path, char* buffer, size_t size, size_t room)) {
    if (size > room) std::abort();
    return read_link(AT_FDCWD, path, buffer, size);
}
SWEDE_SHIM_FUNCTION(ssize_t, __readlinkat_chk,
                    (int folder, const char* path, char* buffer, size_t size, size_t room)) {
    if (size > room) std::abort();
    return read_link(folder, path, buffer, size);
}

SWEDE_SHIM_FUNCTION(char*, realpath, (const char* path, char* resolved)) {
    return real_path(path, resolved);
}
SWEDE_SHIM_FUNCTION(char*, __realpath_chk, (const char* path, char* resolved, size_t room)) {
    if (room < PATH_MAX) std::abort();
    return real_path(path, resolved);
}
SWEDE_SHIM_FUNCTION(char*, canonicalize_file_name, (const char* path)) {
    return real_path(path, nullptr);
}

SWEDE_SHIM_FUNCTION(int, access, (const char* path, int mode)) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().access(entry->content.c_str(), mode);
    return entry ? may_access(*entry, mode) : libc().access(path, mode);
}
SWEDE_SHIM_FUNCTION(int, euidaccess, (const char* path, int mode)) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().euidaccess(entry->content.c_str(), mode);
    return entry ? may_access(*entry, mode) : libc().euidaccess(path, mode);
}
SWEDE_SHIM_FUNCTION(int, faccessat, (int folder, const char* path, int mode, int flags)) {
    const auto entry = ours(path);
    if (leads_out(entry)) return libc().faccessat(folder, entry->content.c_str(), mode, flags);
    return entry ? may_access(*entry, mode) : libc().faccessat(folder, path, mode, flags);
}
