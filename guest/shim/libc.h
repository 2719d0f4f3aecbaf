// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>

struct statx;

namespace swede::shim {

/// The functions that the shim stands in front of, as the next library in line has them. On
/// x86-64 the names with and without "64" are one function.
struct Libc {
    int (*open)(const char*, int, ...);
    int (*openat)(int, const char*, int, ...);
    FILE* (*fopen)(const char*, const char*);
    int (*fstatat)(int, const char*, struct stat*, int);
    int (*fstat)(int, struct stat*);
    int (*statx)(int, const char*, int, unsigned, struct ::statx*);
    ssize_t (*readlinkat)(int, const char*, char*, size_t);
    char* (*realpath)(const char*, char*);
    int (*access)(const char*, int);
    int (*faccessat)(int, const char*, int, int);
    int (*euidaccess)(const char*, int);
    DIR* (*opendir)(const char*);
    dirent64* (*readdir64)(DIR*);
    int (*closedir)(DIR*);
    void (*rewinddir)(DIR*);
    long (*telldir)(DIR*);
    void (*seekdir)(DIR*, long);
    int (*dirfd)(DIR*);
    int (*ioctl)(int, unsigned long, ...);
    void* (*mmap)(void*, size_t, int, int, int, off_t);
};

/// Looked up once, at the latest by the first call. Any thread.
[[nodiscard]] const Libc& libc();

/// One line on stderr, "swede-shim: " before it. printf's format, cut at 400 bytes.
[[gnu::format(printf, 1, 2)]] void say(const char* format, ...);

/// Keeps errno as it was.
class ErrnoKeeper {
  public:
    ErrnoKeeper();
    ~ErrnoKeeper();
    ErrnoKeeper(const ErrnoKeeper&) = delete;
    ErrnoKeeper& operator=(const ErrnoKeeper&) = delete;

  private:
    int kept_;
};

}  // namespace swede::shim
