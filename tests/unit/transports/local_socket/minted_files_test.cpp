// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/minted_files.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/mapping.h"

namespace swede::local_socket {
namespace {

MintedFiles::Entry entry_of(uint64_t session, rutabaga::ResourceId resource) {
    MintedFiles::Entry entry;
    entry.session = session;
    entry.resource = resource;
    entry.size = 4096;
    return entry;
}

TEST(FileIdentity, IsTheFilesAndNotTheDescriptors) {
    const UniqueFd one = create_memfd("one", 4096).value();
    const UniqueFd two = create_memfd("two", 4096).value();
    const UniqueFd copy = one.duplicate();
    EXPECT_EQ(identity_of(one.get()).value(), identity_of(copy.get()).value());
    EXPECT_NE(identity_of(one.get()).value(), identity_of(two.get()).value());
}

TEST(FileIdentity, IsForSharedMemoryOnly) {
    EXPECT_FALSE(identity_of(-1));
    for (const char* const path : {"/dev/null", "/proc/self/exe", "/", "/proc/self/maps"}) {
        const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC));
        ASSERT_TRUE(file) << path;
        EXPECT_EQ(identity_of(file.get()).error().code, ErrorCode::kInvalidParameter) << path;
    }
}

TEST(MintedFiles, WhatWasNotAddedIsNotFound) {
    MintedFiles files(1);
    ASSERT_TRUE(files.add({1, 2}, entry_of(1, 5)));
    ASSERT_NE(files.find({1, 2}), nullptr);
    EXPECT_EQ(files.find({1, 2})->resource, 5u);
    EXPECT_EQ(files.find({2, 1}), nullptr);
    EXPECT_EQ(files.find({1, 3}), nullptr);
    EXPECT_EQ(files.find({0, 0}), nullptr);
}

TEST(MintedFiles, AFileThatIsKnownKeepsItsEntry) {
    MintedFiles files(1);
    ASSERT_TRUE(files.add({1, 2}, entry_of(1, 5)));
    ASSERT_TRUE(files.add({1, 2}, entry_of(2, 9)));
    EXPECT_EQ(files.find({1, 2})->session, 1u);
    EXPECT_EQ(files.size(), 1u);
}

TEST(MintedFiles, AnOrphanIsFoundUntilItsPlaceIsNeeded) {
    MintedFiles files(1);
    for (uint64_t i = 0; i < MintedFiles::kMaxOfSession; ++i)
        ASSERT_TRUE(files.add({1, i}, entry_of(1, static_cast<uint32_t>(i) + 1)));
    EXPECT_FALSE(files.add({2, 0}, entry_of(2, 1))) << "all of them are alive";
    files.orphan({1, 7}, 1, 8);
    files.orphan({1, 3}, 1, 4);
    EXPECT_NE(files.find({1, 7}), nullptr);
    ASSERT_TRUE(files.add({2, 0}, entry_of(2, 1)));
    EXPECT_EQ(files.find({1, 7}), nullptr) << "the oldest orphan goes first";
    EXPECT_NE(files.find({1, 3}), nullptr);
    ASSERT_TRUE(files.add({2, 1}, entry_of(2, 2)));
    EXPECT_EQ(files.find({1, 3}), nullptr);
    EXPECT_FALSE(files.add({2, 2}, entry_of(2, 3)));
    EXPECT_EQ(files.size(), MintedFiles::kMaxOfSession);
}

TEST(MintedFiles, ASessionHasItsShare) {
    MintedFiles files(2);
    for (uint64_t i = 0; i < MintedFiles::kMaxOfSession; ++i)
        ASSERT_TRUE(files.add({1, i}, entry_of(1, static_cast<uint32_t>(i) + 1)));
    EXPECT_EQ(files.add({1, 99999}, entry_of(1, 99999)).error().code, ErrorCode::kOutOfMemory);
    for (uint64_t i = 0; i < MintedFiles::kMaxOfSession; ++i)
        ASSERT_TRUE(files.add({2, i}, entry_of(2, static_cast<uint32_t>(i) + 1)));
    files.orphan({1, 7}, 1, 8);
    EXPECT_FALSE(files.add({2, 99999}, entry_of(2, 99999))) << "it is the other's place";
    EXPECT_TRUE(files.add({1, 99999}, entry_of(1, 99999)));
    for (uint64_t i = 0; i < MintedFiles::kMaxOfSession; ++i)
        files.orphan({2, i}, 2, static_cast<uint32_t>(i) + 1);
    for (uint64_t i = 0; i < MintedFiles::kMaxOfSession; ++i)
        ASSERT_TRUE(files.add({3, i}, entry_of(3, static_cast<uint32_t>(i) + 1)));
    EXPECT_EQ(files.size(), 2 * MintedFiles::kMaxOfSession);
}

TEST(MintedFiles, OnlyItsOwnResourceOrphansAnEntry) {
    MintedFiles files(1);
    ASSERT_TRUE(files.add({1, 2}, entry_of(1, 5)));
    files.orphan({1, 2}, 2, 5);
    files.orphan({1, 2}, 1, 6);
    files.orphan({9, 9}, 1, 5);
    EXPECT_FALSE(files.find({1, 2})->orphaned);
    files.orphan({1, 2}, 1, 5);
    files.orphan({1, 2}, 1, 5);
    EXPECT_TRUE(files.find({1, 2})->orphaned);
}

}  // namespace
}  // namespace swede::local_socket
