// SPDX-License-Identifier: Apache-2.0
// What a compositor's files are to the process that has them, and where rings may lie.
#include <fcntl.h>

#include <filesystem>
#include <map>
#include <string>

#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

using DescriptorsTest = CrossDomainTest;

/// What this process has open: number, and what it leads to.
std::map<int, std::string> descriptors() {
    std::map<int, std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
        if (!gone) found.emplace(std::stoi(entry.path().filename()), target);
    }
    return found;
}

/// rutabaga_gfx takes files without close-on-exec: a program that the VMM starts has them too.
TEST_F(DescriptorsTest, ReceivedFilesAreNotInherited) {
    connect();
    const UniqueFd file = memory_file("keymap", F_SEAL_SHRINK);
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    const auto before = descriptors();
    say("files", {file.get(), write_end.get()});
    EXPECT_EQ(next_message().identifiers.size(), 2u);
    int received = 0;
    for (const auto& [fd, target] : descriptors()) {
        // The iterator's own descriptor has a number, too, which is free again.
        if (const auto old = before.find(fd); old != before.end() && old->second == target)
            continue;
        if (!target.starts_with("/memfd:") && !target.starts_with("pipe:")) continue;
        ++received;
        EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << target;
    }
    EXPECT_EQ(received, 2);
}

/// rutabaga_gfx knows the first piece of a ring alone.
TEST_F(DescriptorsTest, MessagesFillARingOfManyPieces) {
    ASSERT_GT(ring_pages.num_segments(), 1u);
    connect();
    max_identifiers = kFewIdentifiers;
    ASSERT_TRUE(submit(send("old")));
    EXPECT_EQ(hear(3), "old");
    std::string text(kMaxMessage - 64, '\0');
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i * 7 % 26);
    say(text);
    EXPECT_EQ(text_of(next_message().bytes), text);
}

}  // namespace
}  // namespace swede::cross_domain::testing
