// SPDX-License-Identifier: Apache-2.0
// Snapshots: what comes back, and files that no snapshot() wrote.
#include "transports/c_abi/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "transports/c_abi/snapshot_format.h"
#include "unit/base/process_state.h"
#include "unit/transports/c_abi/instance_fixture.h"

namespace swede::c_abi {
namespace {

using snapshot::FileHeader;
using snapshot::Record;
using testing::InstanceFixture;
using testing::Memory;

class Snapshots : public InstanceFixture {
  protected:
    Snapshots() {
        std::string name =
            (std::filesystem::temp_directory_path() / "swede-snapshot-XXXXXX").string();
        folder = ::mkdtemp(name.data());
        make_2d();
    }
    ~Snapshots() override { std::filesystem::remove_all(folder); }

    int32_t save() {
        return call([&](Instance& i) { return save_snapshot(i, folder.c_str()); });
    }
    int32_t load() {
        return call([&](Instance& i) { return load_snapshot(i, folder.c_str()); });
    }
    void fill(uint32_t id, uint32_t width, uint32_t height) {
        Memory memory(size_t{width} * height * 4);
        memory.number(width);
        ASSERT_EQ(create_2d(id, width, height), 0);
        ASSERT_EQ(attach(id, memory.span()), 0);
        ASSERT_EQ(write(id, whole(width, height)), 0);
        ASSERT_EQ(call([&](Instance& i) { return i.detach_backing(id); }), 0);
    }
    static rutabaga_transfer whole(uint32_t width, uint32_t height) {
        rutabaga_transfer transfer{};
        transfer.w = width;
        transfer.h = height;
        transfer.d = 1;
        return transfer;
    }
    void expect_filled(uint32_t id, uint32_t width, uint32_t height) {
        Memory expected(size_t{width} * height * 4);
        expected.number(width);
        Memory got(expected.bytes.size(), 0xee);
        ASSERT_EQ(read(id, whole(width, height), &got.list), 0);
        EXPECT_EQ(got.bytes, expected.bytes);
    }
    [[nodiscard]] std::filesystem::path file() const { return folder / snapshot::kFileName; }
    [[nodiscard]] std::vector<char> bytes() const {
        std::ifstream stream(file(), std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), {}};
    }
    void put(const std::vector<char>& content) const {
        std::filesystem::remove(file());
        std::ofstream(file(), std::ios::binary)
            .write(content.data(), static_cast<std::streamsize>(content.size()));
    }
    /// A file of these parts with a good checksum.
    void put_good(FileHeader header, const std::vector<Record>& records,
                  const std::vector<char>& tail = {}) const {
        std::vector<char> content;
        const auto add = [&](const void* from, size_t size) {
            const auto* const begin = static_cast<const char*>(from);
            content.insert(content.end(), begin, begin + size);
        };
        add(&header, sizeof(header));
        for (const Record& record : records) add(&record, sizeof(record));
        add(tail.data(), tail.size());
        snapshot::Checksum checksum;
        checksum.add(content.data(), content.size());
        const uint64_t sum = checksum.value();
        add(&sum, sizeof(sum));
        put(content);
    }
    void expect_refused(int error = -EINVAL) {
        EXPECT_EQ(load(), error);
        EXPECT_EQ(instance->gpu().num_resources(), 0u);
        EXPECT_EQ(instance->gpu().budget().used(BudgetKind::kHostBytes), 0u);
        EXPECT_EQ(instance->gpu().budget().used(BudgetKind::kResources), 0u);
    }

    std::filesystem::path folder;
};

constexpr FileHeader header_for(uint32_t count) {
    return {snapshot::kMagic, snapshot::kVersion, count};
}

TEST_F(Snapshots, PixelsComeBack) {
    const size_t fds = swede::testing::open_fds();
    fill(1, 16, 8);
    fill(7, 300, 301);  // more than one piece
    fill(0xffffffff, 1, 1);
    ASSERT_EQ(save(), 0);
    make_2d();
    ASSERT_EQ(load(), 0);
    EXPECT_EQ(instance->gpu().num_resources(), 3u);
    expect_filled(1, 16, 8);
    expect_filled(7, 300, 301);
    expect_filled(0xffffffff, 1, 1);
    EXPECT_EQ(swede::testing::open_fds(), fds);
}

TEST_F(Snapshots, OfNothingIsOne) {
    ASSERT_EQ(save(), 0);
    EXPECT_EQ(load(), 0);
    EXPECT_EQ(instance->gpu().num_resources(), 0u);
}

TEST_F(Snapshots, GuestBlobsComeBackWithoutMemory) {
    Memory memory(8192);
    ASSERT_EQ(create_blob(0, 3, {RUTABAGA_BLOB_MEM_GUEST, 3, 0, 5000}, memory.span()), 0);
    ASSERT_EQ(save(), 0);
    make_2d();
    ASSERT_EQ(load(), 0);
    const rutabaga::Resource* const blob = instance->gpu().find(3);
    ASSERT_NE(blob, nullptr);
    EXPECT_EQ(blob->kind, rutabaga::Resource::Kind::kGuestBlob);
    EXPECT_EQ(blob->size, 5000u);
    EXPECT_EQ(blob->blob_flags, 3u);
    EXPECT_EQ(blob->backing, nullptr);
    EXPECT_EQ(attach(3, memory.span()), 0);
}

TEST_F(Snapshots, WhatCannotBeSavedSaysSo) {
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    EXPECT_EQ(save(), -ENOTSUP);
    EXPECT_TRUE(heard.heard("1 contexts cannot be saved."));
    ASSERT_EQ(create_blob(1, 2, {RUTABAGA_BLOB_MEM_HOST3D, 1, 1, 4096}), 0);
    ASSERT_EQ(destroy_context(1), 0);
    EXPECT_EQ(save(), -ENOTSUP);
    EXPECT_TRUE(heard.heard("Resource 2 is of a renderer"));
    EXPECT_FALSE(std::filesystem::exists(file()));
}

TEST_F(Snapshots, SecondSaveLeavesTheFirst) {
    ASSERT_EQ(save(), 0);
    const auto before = bytes();
    fill(1, 4, 4);
    EXPECT_EQ(save(), -EEXIST);
    EXPECT_EQ(bytes(), before);
}

TEST_F(Snapshots, FoldersThatAreNotThereAreErrors) {
    std::filesystem::remove_all(folder);
    EXPECT_EQ(save(), -EIO);
    EXPECT_EQ(load(), -EIO);
    std::ofstream(folder) << "a file";
    EXPECT_EQ(save(), -EIO);
    EXPECT_EQ(load(), -EIO);
}

TEST_F(Snapshots, LoadNeedsAnEmptyInstance) {
    ASSERT_EQ(save(), 0);
    fill(1, 4, 4);
    EXPECT_EQ(load(), -EEXIST);
    expect_filled(1, 4, 4);
}

TEST_F(Snapshots, LinksAreNotFollowed) {
    ASSERT_EQ(save(), 0);
    std::filesystem::rename(file(), folder / "elsewhere");
    std::filesystem::create_symlink("elsewhere", file());
    EXPECT_EQ(load(), -EIO);
    std::filesystem::remove(file());
    std::filesystem::create_symlink("new", file());
    EXPECT_EQ(save(), -EEXIST);
    EXPECT_FALSE(std::filesystem::exists(folder / "new"));
}

TEST_F(Snapshots, OtherThanAFileIsRefused) {
    ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);  // would keep a reader waiting
    expect_refused();
    std::filesystem::remove(file());
    std::filesystem::create_directory(file());
    expect_refused();
}

TEST_F(Snapshots, EveryTruncationIsRefused) {
    fill(1, 4, 4);
    Memory memory(4096);
    ASSERT_EQ(create_blob(0, 3, {RUTABAGA_BLOB_MEM_GUEST, 1, 0, 4096}, memory.span()), 0);
    ASSERT_EQ(save(), 0);
    const auto whole_file = bytes();
    make_2d();
    for (size_t size = 0; size < whole_file.size(); ++size) {
        put({whole_file.begin(), whole_file.begin() + static_cast<std::ptrdiff_t>(size)});
        expect_refused();
    }
    auto longer = whole_file;
    longer.push_back(0);
    put(longer);
    expect_refused();
}

TEST_F(Snapshots, EveryChangedByteIsFound) {
    fill(1, 4, 4);
    ASSERT_EQ(save(), 0);
    const auto good = bytes();
    make_2d();
    for (size_t at = 0; at < good.size(); ++at) {
        auto bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 0x40);
        put(bad);
        EXPECT_NE(load(), 0) << at;
        EXPECT_EQ(instance->gpu().num_resources(), 0u) << at;
    }
}

TEST_F(Snapshots, HostileRecordsAreRefused) {
    constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();
    constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();
    using snapshot::kKind2d;
    using snapshot::kKindGuestBlob;
    const std::vector<char> pixels(64);
    put_good({snapshot::kMagic + 1, snapshot::kVersion, 0}, {});
    expect_refused();
    put_good({snapshot::kMagic, snapshot::kVersion + 1, 0}, {});
    expect_refused();
    put_good(header_for(1), {});
    expect_refused();
    put_good(header_for(kMax), {});
    expect_refused();
    put_good(header_for(0), {{1, kKindGuestBlob, 0, 0, 0, 1, 4096}});
    expect_refused();
    put_good(header_for(1), {{1, 0, 1, 4, 4, 0, 0}}, pixels);
    expect_refused();
    put_good(header_for(1), {{1, 3, 1, 4, 4, 0, 0}}, pixels);
    expect_refused();
    put_good(header_for(1), {{0, kKind2d, 1, 4, 4, 0, 0}}, pixels);
    expect_refused(-ENOENT);
    put_good(header_for(1), {{1, kKind2d, 99, 4, 4, 0, 0}}, pixels);
    expect_refused();
    put_good(header_for(1), {{1, kKind2d, 1, 0, 4, 0, 0}}, pixels);
    expect_refused();
    put_good(header_for(1), {{1, kKind2d, 1, kMax, kMax, 0, 0}}, pixels);
    expect_refused(-ENOMEM);
    put_good(header_for(1), {{1, kKind2d, 1, 4, 5, 0, 0}}, pixels);
    expect_refused();
    put_good(header_for(2),
             {{1, kKindGuestBlob, 0, 0, 0, 1, 4096}, {1, kKindGuestBlob, 0, 0, 0, 1, 4096}});
    expect_refused();
    put_good(header_for(1), {{1, kKindGuestBlob, 0, 0, 0, 1, 0}});
    expect_refused();
    put_good(header_for(1), {{1, kKindGuestBlob, 0, 0, 0, 64, 4096}});
    expect_refused();
    put_good(header_for(1), {{1, kKindGuestBlob, 0, 0, 0, 1, kMax64}});
    expect_refused(-ENOMEM);
    // And the same without a fault is taken, so that it was the fault that was refused.
    put_good(header_for(1), {{1, kKindGuestBlob, 0, 0, 0, 1, 4096}});
    EXPECT_EQ(load(), 0);
}

}  // namespace
}  // namespace swede::c_abi
