// SPDX-License-Identifier: Apache-2.0
// The library through its header for C++, as a program outside of this tree has it. Built as C++20
// and as C++23, where the header's Result is another one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <rutabaga_gfx/rutabaga_gfx_ffi.hpp>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "unit/base/process_state.h"
#include "wire/cross_domain.h"

namespace {

using rutabaga_gfx::Gpu;
using rutabaga_gfx::Handle;
using rutabaga_gfx::Mapping;
using rutabaga_gfx::Options;

static_assert(!std::is_copy_constructible_v<Gpu> && !std::is_copy_assignable_v<Gpu>);
static_assert(!std::is_copy_constructible_v<Handle> && !std::is_copy_constructible_v<Mapping>);
static_assert(std::is_nothrow_move_constructible_v<Gpu> && std::is_nothrow_move_assignable_v<Gpu>);

constexpr uint32_t kBgra = 1;  // VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM
constexpr uint64_t kCrossDomainMask = uint64_t{1} << RUTABAGA_CAPSET_CROSS_DOMAIN;

struct Heard {
    std::vector<uint64_t> fences;
    std::vector<std::string> messages;
};

Options options(Heard& heard, uint64_t mask = 0) {
    return {
        .on_fence = [&](const rutabaga_fence& fence) { heard.fences.push_back(fence.fence_id); },
        .on_message = [&](uint32_t, std::string_view text) { heard.messages.emplace_back(text); },
        .capset_mask = mask};
}

Gpu make(Heard& heard, uint64_t mask = 0) {
    auto made = Gpu::create(options(heard, mask));
    EXPECT_TRUE(made.has_value());
    return *std::move(made);
}

template <typename Result>
bool is_error(const Result& result, std::errc code) {
    return !result && result.error() == code;
}

rutabaga_transfer whole(uint32_t width, uint32_t height) {
    rutabaga_transfer transfer{};
    transfer.w = width;
    transfer.h = height;
    transfer.d = 1;
    return transfer;
}

rutabaga_fence fence(uint64_t id) {
    return {RUTABAGA_FLAG_FENCE, id, 0, 0};
}

TEST(CppHeader, PictureGoesBothWays) {
    Heard heard;
    Gpu gpu = make(heard);
    std::vector<uint8_t> guest(16 * 8 * 4);
    std::iota(guest.begin(), guest.end(), uint8_t{0});
    const std::array pieces{iovec{guest.data(), 100}, iovec{guest.data() + 100, 412}};
    ASSERT_TRUE(gpu.create_2d(1, kBgra, 16, 8));
    ASSERT_TRUE(gpu.attach_backing(1, pieces));
    ASSERT_TRUE(gpu.transfer_write(0, 1, whole(16, 8)));
    ASSERT_TRUE(gpu.create_fence(fence(7)));
    EXPECT_EQ(heard.fences, std::vector<uint64_t>{7});
    std::vector<uint8_t> shown(guest.size());
    ASSERT_TRUE(gpu.transfer_read(0, 1, whole(16, 8), iovec{shown.data(), shown.size()}));
    EXPECT_EQ(shown, guest);
    std::ranges::fill(guest, uint8_t{0});
    ASSERT_TRUE(gpu.transfer_read_to_backing(0, 1, whole(16, 8)));
    EXPECT_EQ(guest, shown);
    ASSERT_TRUE(gpu.detach_backing(1));
    EXPECT_TRUE(is_error(gpu.transfer_write(0, 1, whole(16, 8)), std::errc::io_error));
    EXPECT_TRUE(gpu.unref(1));
}

TEST(CppHeader, ErrorsAreErrnos) {
    Heard heard;
    Gpu gpu = make(heard);
    const auto missing = gpu.unref(9);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().value(), ENOENT);
    EXPECT_EQ(missing.error(), std::errc::no_such_file_or_directory);
    ASSERT_EQ(heard.messages.size(), 1u);
    EXPECT_NE(heard.messages[0].find("There is no resource 9."), std::string::npos);
    EXPECT_TRUE(is_error(gpu.create_2d(1, kBgra, 0, 4), std::errc::invalid_argument));
    EXPECT_TRUE(is_error(gpu.attach_backing(1, {}), std::errc::no_such_file_or_directory));
    EXPECT_TRUE(is_error(gpu.map(1), std::errc::no_such_file_or_directory));
    EXPECT_TRUE(is_error(gpu.map_info(1), std::errc::no_such_file_or_directory));
    EXPECT_TRUE(is_error(gpu.export_blob(1), std::errc::no_such_file_or_directory));
    EXPECT_TRUE(is_error(gpu.capset_info(0), std::errc::invalid_argument));
    EXPECT_TRUE(is_error(gpu.capset({5, 0, 16}), std::errc::invalid_argument));
    EXPECT_TRUE(is_error(gpu.destroy_context(1), std::errc::no_such_file_or_directory));
    EXPECT_TRUE(is_error(gpu.submit(1, {}), std::errc::no_such_file_or_directory));
}

TEST(CppHeader, WhatCannotBeMadeIsAnError) {
    Heard heard;
    EXPECT_TRUE(is_error(Gpu::create({}), std::errc::invalid_argument));
    const auto none = Gpu::create(options(heard, uint64_t{1} << RUTABAGA_CAPSET_DRM));
    EXPECT_TRUE(is_error(none, std::errc::not_supported));
    EXPECT_FALSE(heard.messages.empty());
    Options long_path = options(heard, kCrossDomainMask);
    long_path.channels.push_back({std::string(5000, 'x')});
    EXPECT_TRUE(is_error(Gpu::create(std::move(long_path)), std::errc::invalid_argument));
    // Nobody need listen to the sentences.
    EXPECT_TRUE(Gpu::create({.on_fence = [](const rutabaga_fence&) {}}).has_value());
}

TEST(CppHeader, CallbacksFollowAGpuThatMoves) {
    Heard first_heard;
    Heard second_heard;
    Gpu first = make(first_heard);
    Gpu moved = std::move(first);
    EXPECT_EQ(first.get(), nullptr);  // NOLINT(bugprone-use-after-move)
    EXPECT_TRUE(is_error(first.create_fence(fence(1)), std::errc::invalid_argument));
    ASSERT_TRUE(moved.create_fence(fence(2)));
    EXPECT_EQ(first_heard.fences, std::vector<uint64_t>{2});
    moved = make(second_heard);  // ends the first
    ASSERT_TRUE(moved.create_fence(fence(3)));
    EXPECT_EQ(first_heard.fences, std::vector<uint64_t>{2});
    EXPECT_EQ(second_heard.fences, std::vector<uint64_t>{3});
}

TEST(CppHeader, EndLeavesNothing) {
    Heard heard;
    // With the first thread of a program TSan starts one of its own.
    static_cast<void>(make(heard, kCrossDomainMask));
    const size_t fds = swede::testing::open_fds();
    const size_t threads = swede::testing::threads();
    for (int i = 0; i < 20; ++i) {
        Gpu gpu = make(heard, kCrossDomainMask);
        ASSERT_TRUE(gpu.create_context(1, RUTABAGA_CAPSET_CROSS_DOMAIN, "a name"));
        if (i % 2 == 0) continue;
        EXPECT_TRUE(gpu.finish());
        EXPECT_TRUE(is_error(gpu.finish(), std::errc::invalid_argument));
        EXPECT_TRUE(is_error(gpu.unref(1), std::errc::invalid_argument));
    }
    EXPECT_EQ(swede::testing::open_fds(), fds);
    EXPECT_TRUE(swede::testing::threads_come_down_to(threads));
}

TEST(CppHeader, CallbackMayEndItsGpu) {
    std::optional<Gpu> gpu;
    int reached = 0;
    const auto kept = std::make_shared<int>(0);
    auto made = Gpu::create({.on_fence = [&gpu, &reached, kept](const rutabaga_fence& f) {
        ++reached;
        if (f.fence_id == 1) {
            EXPECT_TRUE(gpu->create_fence(fence(2)));
            gpu.reset();
            ++*kept;  // what the function holds is there until it returns
        }
    }});
    ASSERT_TRUE(made.has_value());
    gpu = *std::move(made);
    EXPECT_TRUE(gpu->create_fence(fence(1)));
    EXPECT_FALSE(gpu.has_value());
    EXPECT_EQ(reached, 2);
    EXPECT_EQ(*kept, 1);
    EXPECT_EQ(kept.use_count(), 1);
}

TEST(CppHeader, CallsComeFromManyThreads) {
    std::atomic<int> reached = 0;
    auto made = Gpu::create({.on_fence = [&](const rutabaga_fence&) { ++reached; }});
    ASSERT_TRUE(made.has_value());
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (uint64_t i = 0; i < 100; ++i) EXPECT_TRUE(made->create_fence(fence(i)));
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(made->finish());
    EXPECT_EQ(reached, 400);
}

TEST(CppHeader, NamesOfCapsets) {
    EXPECT_EQ(rutabaga_gfx::capset_mask_of("cross-domain:drm:what"), kCrossDomainMask | 1 << 6);
    EXPECT_EQ(rutabaga_gfx::capset_mask_of(""), 0u);
}

/// A context of cross-domain that only allocates, with its query ring.
class Contexts : public ::testing::Test {
  protected:
    Contexts() : gpu(make(heard, kCrossDomainMask)) {
        EXPECT_TRUE(gpu.create_context(1, RUTABAGA_CAPSET_CROSS_DOMAIN));
        const iovec piece{ring.data(), ring.size()};
        for (const uint32_t resource : {1u, 2u}) {
            EXPECT_TRUE(gpu.create_blob(
                0, resource, {RUTABAGA_BLOB_MEM_GUEST, RUTABAGA_BLOB_FLAG_USE_MAPPABLE, 0, 4096},
                std::span(&piece, 1)));
            EXPECT_TRUE(gpu.attach_resource(1, resource));
        }
        swede::wire::cross_domain::InitTwoRings init{};
        init.header = {1, 0, sizeof(init), 0};
        init.query_ring = 1;
        init.channel_ring = 2;
        submit(init);
    }
    template <typename Command>
    void submit(const Command& command) {
        std::array<uint8_t, sizeof(Command)> bytes;
        std::memcpy(bytes.data(), &command, sizeof(command));
        EXPECT_TRUE(gpu.submit(1, bytes));
    }
    /// Resource 3: a blob of the host.
    void make_image() {
        submit(swede::wire::cross_domain::GetImageRequirements{
            {2, 0, 24, 0}, 4096, 1, 'R' | '8' << 8 | ' ' << 16 | ' ' << 24, 0});
        swede::wire::cross_domain::ImageRequirements answer;
        std::memcpy(&answer, ring.data(), sizeof(answer));
        ASSERT_EQ(answer.size, 4096u);
        ASSERT_TRUE(
            gpu.create_blob(1, 3,
                            {RUTABAGA_BLOB_MEM_HOST3D,
                             RUTABAGA_BLOB_FLAG_USE_MAPPABLE | RUTABAGA_BLOB_FLAG_USE_SHAREABLE,
                             answer.blob_id, answer.size}));
    }

    Heard heard;
    std::vector<uint8_t> ring = std::vector<uint8_t>(4096);
    Gpu gpu;
};

TEST_F(Contexts, CapsetsAreTold) {
    const auto count = gpu.num_capsets();
    ASSERT_TRUE(count.has_value());
    ASSERT_EQ(*count, 1u);
    const auto info = gpu.capset_info(0);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->id, RUTABAGA_CAPSET_CROSS_DOMAIN);
    EXPECT_EQ(info->size, 16u);
    const auto data = gpu.capset(*info);
    ASSERT_TRUE(data.has_value());
    EXPECT_EQ((*data)[0], 1);
}

TEST_F(Contexts, BadCommandsAreErrors) {
    std::array<uint8_t, 8> nothing{};
    EXPECT_TRUE(is_error(gpu.submit(1, nothing), std::errc::invalid_argument));
    EXPECT_TRUE(is_error(gpu.submit(2, nothing), std::errc::no_such_file_or_directory));
    EXPECT_TRUE(gpu.detach_resource(1, 1));
    EXPECT_TRUE(gpu.destroy_context(1));
    EXPECT_TRUE(is_error(gpu.destroy_context(1), std::errc::no_such_file_or_directory));
}

TEST_F(Contexts, BlobIsMappedUntilItsMappingEnds) {
    make_image();
    const auto info = gpu.map_info(3);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(*info, RUTABAGA_MAP_CACHE_CACHED | RUTABAGA_MAP_ACCESS_RW);
    {
        auto mapped = gpu.map(3);
        ASSERT_TRUE(mapped.has_value());
        ASSERT_EQ(mapped->bytes().size(), 4096u);
        mapped->bytes()[17] = std::byte{42};
        EXPECT_TRUE(is_error(gpu.map(3), std::errc::file_exists));
        const Mapping moved = *std::move(mapped);
        EXPECT_EQ(moved.bytes()[17], std::byte{42});
        EXPECT_TRUE(is_error(gpu.map(3), std::errc::file_exists));
    }
    auto again = gpu.map(3);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->bytes()[17], std::byte{42});
    EXPECT_TRUE(again->unmap());
    EXPECT_TRUE(again->bytes().empty());
    EXPECT_TRUE(is_error(again->unmap(), std::errc::invalid_argument));
    EXPECT_TRUE(is_error(Mapping().unmap(), std::errc::invalid_argument));
}

TEST_F(Contexts, MappingStaysWhenItsResourceGoesAndMayOutliveItsGpu) {
    make_image();
    auto mapped = gpu.map(3);
    ASSERT_TRUE(mapped.has_value());
    ASSERT_TRUE(gpu.unref(3));
    mapped->bytes()[4095] = std::byte{7};
    EXPECT_EQ(mapped->bytes()[4095], std::byte{7});
    EXPECT_TRUE(gpu.finish());
    EXPECT_TRUE(is_error(mapped->unmap(), std::errc::invalid_argument));
}

TEST_F(Contexts, ExportGivesADescriptorThatClosesItself) {
    make_image();
    auto mapped = gpu.map(3);
    ASSERT_TRUE(mapped.has_value());
    mapped->bytes()[5] = std::byte{99};
    const size_t fds = swede::testing::open_fds();
    {
        auto exported = gpu.export_blob(3);
        ASSERT_TRUE(exported.has_value());
        EXPECT_EQ(swede::testing::open_fds(), fds + 1);
        EXPECT_EQ(exported->type(), uint32_t{RUTABAGA_HANDLE_TYPE_MEM_SHM});
        char byte = 0;
        EXPECT_EQ(::pread(exported->fd(), &byte, 1, 5), 1);
        EXPECT_EQ(byte, 99);
        const Handle moved = *std::move(exported);
        EXPECT_FALSE(*exported);
        EXPECT_GE(::fcntl(moved.fd(), F_GETFD), 0);
    }
    EXPECT_EQ(swede::testing::open_fds(), fds);
}

TEST(CppHeader, DescriptorsAreGivenAway) {
    Heard heard;
    Gpu gpu = make(heard);
    const size_t fds = swede::testing::open_fds();
    const rutabaga_create_blob bad{9, 0, 0, 4096};
    EXPECT_FALSE(gpu.create_blob(
        0, 1, bad, {}, Handle(::memfd_create("test", MFD_CLOEXEC), RUTABAGA_HANDLE_TYPE_MEM_SHM)));
    EXPECT_FALSE(rutabaga_gfx::import_resource(
        gpu, 1, Handle(::memfd_create("test", MFD_CLOEXEC), RUTABAGA_HANDLE_TYPE_MEM_SHM), {}));
    EXPECT_FALSE(rutabaga_gfx::import_resource(gpu, 1, {}, {}));
    EXPECT_EQ(swede::testing::open_fds(), fds);
}

TEST(CppHeader, MemoryOfTheProgramBecomesABlob) {
    Heard heard;
    Gpu gpu = make(heard);
    const int file = ::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ASSERT_EQ(::ftruncate(file, 4096), 0);
    const Handle mine(::dup(file), RUTABAGA_HANDLE_TYPE_MEM_SHM);
    const rutabaga_create_blob request{RUTABAGA_BLOB_MEM_HOST3D, RUTABAGA_BLOB_FLAG_USE_MAPPABLE, 0,
                                       4096};
    EXPECT_TRUE(is_error(
        gpu.create_blob(0, 1, request, {}, Handle(::dup(file), RUTABAGA_HANDLE_TYPE_MEM_SHM)),
        std::errc::invalid_argument));  // it could shrink
    ASSERT_EQ(::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ASSERT_TRUE(gpu.create_blob(0, 1, request, {}, Handle(file, RUTABAGA_HANDLE_TYPE_MEM_SHM)));
    auto mapped = gpu.map(1);
    ASSERT_TRUE(mapped.has_value());
    mapped->bytes()[4095] = std::byte{77};
    char byte = 0;
    ASSERT_EQ(::pread(mine.fd(), &byte, 1, 4095), 1);
    EXPECT_EQ(byte, 77);
}

TEST(CppHeader, SnapshotsComeBack) {
    std::string folder = std::filesystem::temp_directory_path() / "swede-cpp-header-XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    Heard heard;
    {
        Gpu gpu = make(heard);
        ASSERT_TRUE(gpu.create_2d(5, kBgra, 4, 4));
        ASSERT_TRUE(rutabaga_gfx::snapshot(gpu, folder));
        EXPECT_TRUE(is_error(rutabaga_gfx::restore(gpu, folder), std::errc::file_exists));
    }
    Gpu gpu = make(heard);
    EXPECT_TRUE(is_error(rutabaga_gfx::restore(gpu, folder + "/nowhere"), std::errc::io_error));
    ASSERT_TRUE(rutabaga_gfx::restore(gpu, folder));
    EXPECT_TRUE(gpu.unref(5));
    std::filesystem::remove_all(folder);
}

}  // namespace
