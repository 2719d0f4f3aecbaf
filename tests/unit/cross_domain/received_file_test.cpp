// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/received_file.h"

#include <sys/eventfd.h>

#include <cstdlib>

#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

TEST(ReceivedFile, MemoryFiles) {
    const ReceivedFile steady = look_at(memory_file("12345", F_SEAL_SHRINK));
    EXPECT_EQ(steady.kind, FileKind::kMemory);
    EXPECT_EQ(steady.memory.size, 5u);
    EXPECT_TRUE(steady.memory.writable);
    EXPECT_TRUE(steady.memory.steady);
    EXPECT_FALSE(look_at(memory_file("12345", 0)).memory.steady);
    EXPECT_FALSE(look_at(memory_file("12345", F_SEAL_WRITE)).memory.writable);
    EXPECT_FALSE(look_at(memory_file("12345", F_SEAL_FUTURE_WRITE)).memory.writable);
}

/// wlroots sends keymaps as a file of /dev/shm that is open for reading.
TEST(ReceivedFile, ATmpfsFileOpenForReading) {
    char path[] = "/dev/shm/swede-test-XXXXXX";
    const UniqueFd writer(::mkostemp(path, O_CLOEXEC));
    ASSERT_TRUE(writer);
    ASSERT_EQ(::write(writer.get(), "keymap", 6), 6);
    UniqueFd reader(::open(path, O_RDONLY | O_CLOEXEC));
    UniqueFd blind(::open(path, O_WRONLY | O_CLOEXEC));
    ::unlink(path);
    const ReceivedFile file = look_at(std::move(reader));
    EXPECT_EQ(file.kind, FileKind::kMemory);
    EXPECT_EQ(file.memory.size, 6u);
    EXPECT_FALSE(file.memory.writable);
    EXPECT_FALSE(file.memory.steady);
    EXPECT_EQ(look_at(std::move(blind)).kind, FileKind::kOther);
}

TEST(ReceivedFile, PipesAndEvents) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd shared(::fcntl(ends[1], F_DUPFD_CLOEXEC, 0));
    const ReceivedFile pipe = look_at(UniqueFd(ends[1]));
    EXPECT_EQ(pipe.kind, FileKind::kWritePipe);
    EXPECT_TRUE(pipe.own_description);
    EXPECT_NE(::fcntl(pipe.fd.get(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(pipe.fd.get(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_EQ(::fcntl(shared.get(), F_GETFL) & O_NONBLOCK, 0) << "the peer's is as it was";
    EXPECT_EQ(look_at(UniqueFd(ends[0])).kind, FileKind::kOther);
    EXPECT_EQ(look_at(UniqueFd(::eventfd(0, EFD_CLOEXEC))).kind, FileKind::kEvent);
    EXPECT_EQ(look_at(UniqueFd(::socket(AF_UNIX, SOCK_STREAM, 0))).kind, FileKind::kOther);
    EXPECT_EQ(look_at(UniqueFd()).kind, FileKind::kOther);
}

}  // namespace
}  // namespace swede::cross_domain::testing
