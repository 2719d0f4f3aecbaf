// SPDX-License-Identifier: Apache-2.0
#include "base/memory_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "base/mapping.h"

namespace swede {
namespace {

UniqueFd memory_file(unsigned int seals) {
    UniqueFd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), 5000), 0);
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
}

UniqueFd open_again(const UniqueFd& fd, int flags) {
    return UniqueFd(::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), flags | O_CLOEXEC));
}

TEST(MemoryFile, OursIsSteadyAndWritable) {
    const auto file = examine_memory(create_memfd("test", 8192)->get());
    ASSERT_TRUE(file);
    EXPECT_EQ(file->size, 8192u);
    EXPECT_TRUE(file->steady);
    EXPECT_TRUE(file->writable);
    EXPECT_FALSE(file->is_dma_buf);
}

TEST(MemoryFile, SealsSayWhatCannotHappen) {
    const auto plain = examine_memory(memory_file(0).get());
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->size, 5000u);
    EXPECT_FALSE(plain->steady);
    EXPECT_TRUE(plain->writable);
    EXPECT_FALSE(examine_memory(memory_file(F_SEAL_GROW).get())->steady);
    EXPECT_TRUE(examine_memory(memory_file(F_SEAL_SHRINK).get())->steady);
    EXPECT_FALSE(examine_memory(memory_file(F_SEAL_WRITE).get())->writable);
    EXPECT_FALSE(examine_memory(memory_file(F_SEAL_FUTURE_WRITE).get())->writable);
}

// A page that the pool does not have ends the process as one that is gone does.
TEST(MemoryFile, OfHugePagesIsNotSteady) {
    const UniqueFd fd(::memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
    ASSERT_TRUE(fd) << "a kernel with CONFIG_HUGETLBFS is needed, and no huge page";
    ASSERT_EQ(::ftruncate(fd.get(), 1 << 30), 0);
    ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    const auto file = examine_memory(fd.get());
    ASSERT_TRUE(file);
    EXPECT_EQ(file->size, 1u << 30);
    EXPECT_FALSE(file->steady);
    EXPECT_TRUE(file->writable);
}

TEST(MemoryFile, WhatTheDescriptorMayDoCounts) {
    const UniqueFd fd = memory_file(F_SEAL_SHRINK);
    const auto read_only = examine_memory(open_again(fd, O_RDONLY).get());
    ASSERT_TRUE(read_only);
    EXPECT_FALSE(read_only->writable);
    EXPECT_TRUE(read_only->steady);
    EXPECT_FALSE(examine_memory(open_again(fd, O_WRONLY).get())) << "cannot be mapped";
    EXPECT_FALSE(examine_memory(open_again(fd, O_PATH).get()));
}

TEST(MemoryFile, OtherFilesAreNone) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    EXPECT_FALSE(examine_memory(read_end.get()));
    EXPECT_FALSE(examine_memory(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC)).get()));
    EXPECT_FALSE(examine_memory(UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)).get()));
    EXPECT_FALSE(examine_memory(UniqueFd(::open("/dev", O_RDONLY | O_CLOEXEC)).get()));
    EXPECT_FALSE(examine_memory(-1));
}

}  // namespace
}  // namespace swede
