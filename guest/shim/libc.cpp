// SPDX-License-Identifier: Apache-2.0
#include "libc.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

namespace swede::shim {
namespace {

template <typename Function>
void look_up(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

Libc look_all_up() {
    Libc found{};
    look_up(found.open, "open");
    look_up(found.openat, "openat");
    look_up(found.fopen, "fopen");
    look_up(found.fstatat, "fstatat");
    look_up(found.fstat, "fstat");
    look_up(found.statx, "statx");
    look_up(found.readlinkat, "readlinkat");
    look_up(found.realpath, "realpath");
    look_up(found.access, "access");
    look_up(found.faccessat, "faccessat");
    look_up(found.euidaccess, "euidaccess");
    look_up(found.opendir, "opendir");
    look_up(found.readdir64, "readdir64");
    look_up(found.closedir, "closedir");
    look_up(found.rewinddir, "rewinddir");
    look_up(found.telldir, "telldir");
    look_up(found.seekdir, "seekdir");
    look_up(found.dirfd, "dirfd");
    look_up(found.ioctl, "ioctl");
    look_up(found.mmap, "mmap");
    return found;
}

/// So that no later call finds itself in the middle of a signal handler or a fork.
[[gnu::constructor]] void look_up_early() {
    static_cast<void>(libc());
}

}  // namespace

const Libc& libc() {
    static const Libc found = look_all_up();
    return found;
}

void say(const char* format, ...) {
    const ErrnoKeeper keeper;
    constexpr size_t kMaxLine = 400;
    char line[kMaxLine + 1] = "swede-shim: ";
    size_t length = sizeof("swede-shim: ") - 1;
    va_list values;
    va_start(values, format);
    const int added = ::vsnprintf(line + length, kMaxLine - length, format, values);
    va_end(values);
    if (added > 0) length += static_cast<size_t>(added);
    if (length >= kMaxLine) length = kMaxLine - 1;
    line[length] = '\n';
    static_cast<void>(!::write(STDERR_FILENO, line, length + 1));
}

ErrnoKeeper::ErrnoKeeper() : kept_(errno) {}
ErrnoKeeper::~ErrnoKeeper() {
    errno = kept_;
}

}  // namespace swede::shim
