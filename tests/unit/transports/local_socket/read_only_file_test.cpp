// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/read_only_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace swede::local_socket {
namespace {

constexpr size_t kSize = 4096;

UniqueFd memory_file(int seals = 0) {
    UniqueFd fd(::memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), kSize), 0);
    EXPECT_EQ(::pwrite(fd.get(), "keymap", 6, 0), 6);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | seals), 0);
    return fd;
}

bool maps(int fd, int protection) {
    void* const data = ::mmap(nullptr, kSize, protection, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return false;
    ::munmap(data, kSize);
    return true;
}

void expect_read_only(rutabaga::SharedMemory memory) {
    const auto limited = limited_to_access(std::move(memory));
    ASSERT_TRUE(limited) << limited.error().message;
    EXPECT_TRUE(maps(limited->fd.get(), PROT_READ));
    EXPECT_FALSE(maps(limited->fd.get(), PROT_READ | PROT_WRITE));
    EXPECT_LT(::pwrite(limited->fd.get(), "other", 5, 0), 0);
    char text[6] = {};
    EXPECT_EQ(::pread(limited->fd.get(), text, sizeof(text), 0), 6);
    EXPECT_EQ(std::string_view(text, sizeof(text)), "keymap");
    EXPECT_NE(::fcntl(limited->fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

rutabaga::SharedMemory memory_of(UniqueFd fd, Access access) {
    rutabaga::SharedMemory memory;
    memory.fd = std::move(fd);
    memory.size = kSize;
    memory.access = access;
    return memory;
}

TEST(ReadOnlyFile, MemoryThatMayBeWrittenIsLeftAlone) {
    const auto limited = limited_to_access(memory_of(memory_file(), Access::kReadWrite));
    ASSERT_TRUE(limited);
    EXPECT_TRUE(maps(limited->fd.get(), PROT_READ | PROT_WRITE));
}

TEST(ReadOnlyFile, AFileThatAllowsMoreIsOpenedForReading) {
    expect_read_only(memory_of(memory_file(), Access::kRead));
}

TEST(ReadOnlyFile, ASealedFileIsHandedOutItself) {
    for (const int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE}) {
        UniqueFd fd = memory_file(seal);
        const int number = fd.get();
        const auto limited = limited_to_access(memory_of(std::move(fd), Access::kRead));
        ASSERT_TRUE(limited);
        EXPECT_EQ(limited->fd.get(), number);
        expect_read_only(memory_of(memory_file(seal), Access::kRead));
    }
}

TEST(ReadOnlyFile, AFileThatIsOpenForReadingIsHandedOutItself) {
    const UniqueFd writable = memory_file();
    const std::string path = fmt::format("/proc/self/fd/{}", writable.get());
    UniqueFd reading(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    const int number = reading.get();
    const auto limited = limited_to_access(memory_of(std::move(reading), Access::kRead));
    ASSERT_TRUE(limited);
    EXPECT_EQ(limited->fd.get(), number);
}

TEST(ReadOnlyFile, WhatIsNoFileIsAnError) {
    EXPECT_FALSE(limited_to_access(memory_of(UniqueFd(), Access::kRead)));
}

}  // namespace
}  // namespace swede::local_socket
