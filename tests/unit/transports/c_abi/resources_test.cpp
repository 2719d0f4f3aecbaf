// SPDX-License-Identifier: Apache-2.0
// Resources: pixels, backings, blobs and their mappings.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>

#include "base/mapping.h"
#include "transports/c_abi/caller_memory.h"
#include "transports/c_abi/qemu_quirks.h"
#include "unit/base/process_state.h"
#include "unit/transports/c_abi/instance_fixture.h"

namespace swede::c_abi {
namespace {

using rutabaga::testing::FakeRenderer;
using testing::InstanceFixture;
using testing::kCapset;
using testing::Memory;

rutabaga_transfer box(uint32_t x, uint32_t y, uint32_t w, uint32_t h, uint64_t offset = 0,
                      uint32_t stride = 0) {
    rutabaga_transfer transfer{};
    transfer.x = x;
    transfer.y = y;
    transfer.w = w;
    transfer.h = h;
    transfer.d = 1;
    transfer.stride = stride;
    transfer.offset = offset;
    return transfer;
}

class Pixels : public InstanceFixture {
  protected:
    static constexpr uint32_t kWidth = 16;
    static constexpr uint32_t kHeight = 12;

    Pixels() {
        make_2d();
        EXPECT_EQ(create_2d(1, kWidth, kHeight), 0);
        guest.number(kWidth);
        EXPECT_EQ(attach(1, guest.span()), 0);
    }
    [[nodiscard]] Memory shown() {
        Memory to(guest.bytes.size(), 0xee);
        EXPECT_EQ(read(1, box(0, 0, kWidth, kHeight), &to.list), 0);
        return to;
    }

    Memory guest{size_t{kWidth} * kHeight * 4};
};

TEST_F(Pixels, NewResourceIsZero) {
    EXPECT_EQ(shown().bytes, std::vector<uint8_t>(guest.bytes.size(), 0));
}

TEST_F(Pixels, WholePictureGoesBothWays) {
    EXPECT_EQ(write(1, box(0, 0, kWidth, kHeight)), 0);
    EXPECT_EQ(shown().bytes, guest.bytes);
}

// QEMU's TRANSFER_TO_HOST_2D has no offset: the rectangle lies in the backing as in the picture.
TEST_F(Pixels, QemuDropsTheOffset) {
    EXPECT_EQ(write(1, box(5, 4, 3, 2)), 0);
    const Memory picture = shown();
    for (uint32_t y = 0; y < kHeight; ++y)
        for (uint32_t x = 0; x < kWidth; ++x) {
            const bool inside = x >= 5 && x < 8 && y >= 4 && y < 6;
            EXPECT_EQ(picture.pixel(x, y, kWidth), inside ? Memory::number_of(x, y) : 0);
        }
}

// Linux's own offset points at the rectangle. rutabaga_gfx adds the rectangle's origin once more:
// pixel (4, 4) came from (8, 8).
TEST_F(Pixels, OffsetIsOfTheRectangle) {
    EXPECT_EQ(write(1, box(4, 4, 2, 2, (4 * kWidth + 4) * 4)), 0);
    EXPECT_EQ(shown().pixel(4, 4, kWidth), Memory::number_of(4, 4));
    EXPECT_EQ(shown().pixel(5, 5, kWidth), Memory::number_of(5, 5));
    // Any other place, too.
    EXPECT_EQ(write(1, box(0, 0, 1, 1, (7 * kWidth + 3) * 4)), 0);
    EXPECT_EQ(shown().pixel(0, 0, kWidth), Memory::number_of(3, 7));
}

TEST_F(Pixels, StrideIsOfTheBacking) {
    EXPECT_EQ(write(1, box(1, 1, 2, 2, 0, kWidth * 4 * 2)), 0);
    EXPECT_EQ(shown().pixel(1, 1, kWidth), Memory::number_of(1, 2));
    EXPECT_EQ(shown().pixel(1, 2, kWidth), Memory::number_of(1, 4));
}

// rutabaga_gfx puts all rows into the first one when the stride is 0, which QEMU's always is.
TEST_F(Pixels, ReadWithoutAStrideHasRowsOneAfterTheOther) {
    ASSERT_EQ(write(1, box(0, 0, kWidth, kHeight)), 0);
    Memory to(3 * 2 * 4);
    EXPECT_EQ(read(1, box(6, 3, 3, 2), &to.list), 0);
    for (uint32_t y = 0; y < 2; ++y)
        for (uint32_t x = 0; x < 3; ++x)
            EXPECT_EQ(to.pixel(x, y, 3), Memory::number_of(6 + x, 3 + y));
}

TEST_F(Pixels, ReadWithStrideAndOffsetLeavesTheGaps) {
    ASSERT_EQ(write(1, box(0, 0, kWidth, kHeight)), 0);
    Memory to(200, 0xee);
    EXPECT_EQ(read(1, box(0, 0, 2, 2, 40, 100), &to.list), 0);
    uint32_t value = 0;
    std::memcpy(&value, to.bytes.data() + 140, 4);
    EXPECT_EQ(value, Memory::number_of(0, 1));
    EXPECT_EQ(to.bytes[39], 0xee);
    EXPECT_EQ(to.bytes[48], 0xee);
    EXPECT_EQ(to.bytes[139], 0xee);
    EXPECT_EQ(to.bytes[148], 0xee);
}

TEST_F(Pixels, ReadPastTheEndIsRefusedAndWritesNothing) {
    const Memory before(200, 0xee);
    const auto refused = [&](const rutabaga_transfer& transfer, size_t size) {
        Memory to(200, 0xee);
        to.list.iov_len = size;
        EXPECT_EQ(read(1, transfer, &to.list), -EINVAL);
        EXPECT_EQ(to.bytes, before.bytes);
    };
    refused(box(0, 0, 2, 2), 15);
    refused(box(0, 0, 2, 2, 1), 16);
    refused(box(0, 0, 2, 2, 0, 100), 107);
    refused(box(0, 0, 2, 2, 0, 7), 200);
    refused(box(0, 0, 2, 2, UINT64_MAX), 200);
    refused(box(0, 0, 2, 2, UINT64_MAX - 15), 200);
    refused(box(0, 0, 1, 2, 0, UINT32_MAX), 200);
    refused(box(0, 0, 1, 1), 0);
}

TEST_F(Pixels, BoxesThatAreNotInTheResourceAreRefused) {
    Memory to(guest.bytes.size());
    constexpr uint32_t kMax = std::numeric_limits<uint32_t>::max();
    for (const rutabaga_transfer& transfer :
         {box(0, 0, kWidth + 1, 1), box(0, 0, 1, kHeight + 1), box(kWidth, 0, 1, 1),
          box(0, kHeight, 1, 1), box(kMax, 0, 2, 1), box(0, kMax, 1, 2), box(0, 0, kMax, 1),
          box(1, 1, kMax, kMax)}) {
        EXPECT_EQ(write(1, transfer), -EINVAL);
        EXPECT_EQ(read(1, transfer, &to.list), -EINVAL);
        EXPECT_EQ(read(1, transfer, nullptr), -EINVAL);
    }
    rutabaga_transfer deep = box(0, 0, 1, 1);
    deep.d = 2;
    EXPECT_EQ(write(1, deep), -EINVAL);
    EXPECT_EQ(read(1, deep, &to.list), -EINVAL);
    rutabaga_transfer level = box(0, 0, 1, 1);
    level.level = 1;
    EXPECT_EQ(write(1, level), -EINVAL);
    EXPECT_EQ(read(1, level, &to.list), -EINVAL);
    rutabaga_transfer behind = box(0, 0, 1, 1);
    behind.z = 1;
    EXPECT_EQ(write(1, behind), -EINVAL);
    EXPECT_EQ(read(1, behind, &to.list), -EINVAL);
}

// rutabaga_gfx copies what fits, silently.
TEST_F(Pixels, ShortBackingIsAnError) {
    Memory small(guest.bytes.size() - 1);
    ASSERT_EQ(attach(1, small.span()), 0);
    EXPECT_EQ(write(1, box(0, 0, kWidth, kHeight)), -EINVAL);
    EXPECT_EQ(write(1, box(0, 0, kWidth, kHeight - 1)), 0);
    EXPECT_EQ(write(1, box(0, 0, 1, 1, UINT64_MAX - 3)), -EINVAL);
}

TEST_F(Pixels, EmptyBoxIsNoError) {
    rutabaga_transfer flat = box(0, 0, 1, 1);
    flat.d = 0;
    for (const rutabaga_transfer& transfer : {box(9, 9, 0, 5), box(9, 9, 5, 0), flat}) {
        EXPECT_EQ(write(1, transfer), 0);
        EXPECT_EQ(read(1, transfer, nullptr), 0);
        EXPECT_EQ(write(99, transfer), -ENOENT);
        EXPECT_EQ(read(99, transfer, nullptr), -ENOENT);
    }
}

// RESOURCE_FLUSH before SET_SCANOUT: QEMU has no picture yet, and fails the guest's command when
// this fails.
TEST_F(Pixels, QemuReadsIntoNothing) {
    const iovec nothing{nullptr, guest.bytes.size()};
    EXPECT_EQ(read(1, box(0, 0, kWidth, kHeight), &nothing), 0);
    EXPECT_EQ(read(99, box(0, 0, kWidth, kHeight), &nothing), -ENOENT);
}

// TRANSFER_FROM_HOST_3D comes without memory to read into: it means the backing.
TEST_F(Pixels, ReadWithoutMemoryGoesToTheBacking) {
    ASSERT_EQ(write(1, box(0, 0, kWidth, kHeight)), 0);
    const std::vector<uint8_t> before = guest.bytes;
    std::ranges::fill(guest.bytes, uint8_t{0});
    EXPECT_EQ(read(1, box(3, 2, 4, 4), nullptr), 0);
    EXPECT_EQ(guest.pixel(3, 2, kWidth), Memory::number_of(3, 2));
    EXPECT_EQ(guest.pixel(6, 5, kWidth), Memory::number_of(6, 5));
    EXPECT_EQ(guest.pixel(7, 5, kWidth), 0u);
    EXPECT_EQ(read(1, box(0, 0, kWidth, kHeight), nullptr), 0);
    EXPECT_EQ(guest.bytes, before);
}

TEST_F(Pixels, TransferOfAnUnknownContextIsRefused) {
    EXPECT_EQ(call([](Instance& i) { return i.transfer_write(7, 1, box(0, 0, 1, 1)); }), -ENOENT);
    Memory to(4);
    EXPECT_EQ(call([&](Instance& i) { return i.transfer_read(7, 1, box(0, 0, 1, 1), &to.list); }),
              -ENOENT);
}

class Backings : public InstanceFixture {
  protected:
    Backings() {
        make_2d();
        EXPECT_EQ(create_2d(1, 4, 4), 0);
    }
};

TEST_F(Backings, AreNotTouchedAfterDetach) {
    Memory memory(64, 1);
    ASSERT_EQ(attach(1, memory.span()), 0);
    const auto backing = instance->gpu().find(1)->backing;
    EXPECT_TRUE(backing->lease());
    EXPECT_EQ(call([](Instance& i) { return i.detach_backing(1); }), 0);
    EXPECT_FALSE(backing->lease());
    EXPECT_EQ(write(1, box(0, 0, 4, 4)), -EIO);
    EXPECT_EQ(call([](Instance& i) { return i.detach_backing(1); }), 0);  // there is none
}

// QEMU never says that it frees the list of a resource that is unreferenced.
TEST_F(Backings, QemuForgetsThemAtUnref) {
    Memory memory(64, 1);
    ASSERT_EQ(attach(1, memory.span()), 0);
    const auto backing = instance->gpu().find(1)->backing;
    EXPECT_EQ(unref(1), 0);
    EXPECT_FALSE(backing->lease());
}

TEST_F(Backings, AreNotTouchedAfterFinish) {
    Memory memory(64, 1);
    ASSERT_EQ(attach(1, memory.span()), 0);
    const auto backing = instance->gpu().find(1)->backing;
    EXPECT_TRUE(instance->finish());
    EXPECT_FALSE(backing->lease());
}

TEST_F(Backings, ListIsCopied) {
    Memory memory(64, 9);
    {
        std::vector<iovec> list{memory.list};
        ASSERT_EQ(attach(1, list), 0);
        list.assign(1, {nullptr, 0});
    }
    EXPECT_EQ(write(1, box(0, 0, 4, 4)), 0);
}

TEST_F(Backings, SecondTakesThePlaceOfTheFirst) {
    Memory first(64, 1);
    Memory second(64, 2);
    ASSERT_EQ(attach(1, first.span()), 0);
    const auto old = instance->gpu().find(1)->backing;
    EXPECT_EQ(attach(1, second.span()), 0);
    EXPECT_FALSE(old->lease());
    ASSERT_EQ(write(1, box(0, 0, 4, 4)), 0);
    Memory to(64);
    EXPECT_EQ(read(1, box(0, 0, 4, 4), &to.list), 0);
    EXPECT_EQ(to.bytes, second.bytes);
}

TEST_F(Backings, OneThatIsRefusedLeavesTheOldOne) {
    Memory memory(8192);
    const std::array<uint32_t, 2> kinds{RUTABAGA_BLOB_MEM_GUEST, RUTABAGA_BLOB_MEM_HOST3D_GUEST};
    make_with_renderer();
    ASSERT_EQ(create_context(1), 0);
    for (const uint32_t kind : kinds) {
        ASSERT_EQ(
            create_blob(1, kind, {kind, RUTABAGA_BLOB_FLAG_USE_MAPPABLE, 1, 8192}, memory.span()),
            0);
        const auto old = instance->gpu().find(kind)->backing;
        Memory small(4096);
        EXPECT_EQ(attach(kind, small.span()), -EINVAL);
        EXPECT_EQ(instance->gpu().find(kind)->backing, old);
        EXPECT_TRUE(old->lease());
    }
}

TEST_F(Backings, ListsWithoutMemoryAreRefused) {
    char byte = 0;
    const auto refused = [&](std::vector<iovec> list, int error) {
        EXPECT_EQ(attach(1, list), error);
        EXPECT_EQ(instance->gpu().find(1)->backing, nullptr);
    };
    refused({}, -EINVAL);
    refused({{nullptr, 1}}, -EINVAL);
    refused({{&byte, 0}}, -EINVAL);
    refused({{&byte, SIZE_MAX}}, -EINVAL);
    refused({{&byte, 1}, {nullptr, 4096}}, -EINVAL);
    EXPECT_EQ(attach(77, std::vector<iovec>{{&byte, 1}}), -ENOENT);
    EXPECT_EQ(call([](Instance& i) { return i.detach_backing(77); }), -ENOENT);
}

TEST_F(Backings, PiecesAreLimited) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kBackingSegments)] = 3;
    make_2d(limits);
    ASSERT_EQ(create_2d(1, 4, 4), 0);
    std::vector<uint8_t> bytes(80);
    std::vector<iovec> list;
    for (size_t i = 0; i < 4; ++i) list.push_back({bytes.data() + 20 * i, 10});
    EXPECT_EQ(attach(1, list), -ENOMEM);
    list.pop_back();
    EXPECT_EQ(attach(1, list), 0);
}

TEST(CallerMemory, NeighboursBecomeOneAndEmptyPiecesNone) {
    std::vector<uint8_t> bytes(100);
    const auto budget = Budget::create();
    const std::vector<iovec> list{{bytes.data(), 10},
                                  {bytes.data() + 10, 20},
                                  {nullptr, 0},
                                  {bytes.data() + 30, 5},
                                  {bytes.data() + 50, 5}};
    const auto backing = *make_backing(list, *budget);
    EXPECT_EQ(backing->size(), 40u);
    EXPECT_TRUE(backing->writable());
    const auto lease = backing->lease();
    ASSERT_EQ(lease.segments().size(), 2u);
    EXPECT_EQ(lease.segments()[0].size, 35u);
    EXPECT_EQ(lease.segments()[1].host, reinterpret_cast<std::byte*>(bytes.data()) + 50);
}

TEST(CallerMemory, ListWithoutAnAddressIsAnError) {
    EXPECT_TRUE(entries_of(nullptr)->empty());
    rutabaga_iovecs list{nullptr, 0};
    EXPECT_TRUE(entries_of(&list)->empty());
    list.num_iovecs = 1;
    EXPECT_FALSE(entries_of(&list));
}

class Creating : public InstanceFixture {};

TEST_F(Creating, BadIdsAndSizesAreRefused) {
    make_2d();
    EXPECT_EQ(create_2d(0, 4, 4), -ENOENT);
    EXPECT_EQ(create_2d(1, 0, 4), -EINVAL);
    EXPECT_EQ(create_2d(1, 4, 0), -EINVAL);
    // rutabaga_gfx aborts the VMM for such a one.
    EXPECT_EQ(create_2d(1, UINT32_MAX, UINT32_MAX), -ENOMEM);
    EXPECT_EQ(create_2d(1, 1 << 25, 1 << 25), -ENOMEM);
    EXPECT_EQ(create_2d(1, 16385, 1), -EINVAL);
    EXPECT_EQ(call([](Instance& i) { return i.create_3d(1, {2, 999, 2, 4, 4, 1, 1, 0, 0, 1}); }),
              -EINVAL);
    EXPECT_EQ(call([](Instance& i) { return i.create_3d(1, {3, 1, 2, 4, 4, 4, 1, 0, 0, 0}); }),
              -ENOTSUP);
    EXPECT_EQ(create_2d(1, 4, 4), 0);
    EXPECT_EQ(create_2d(1, 4, 4), -ENOENT);
    EXPECT_EQ(unref(1), 0);
    EXPECT_EQ(unref(1), -ENOENT);
    EXPECT_EQ(unref(0), -ENOENT);
    EXPECT_EQ(instance->gpu().num_resources(), 0u);
}

// rutabaga_gfx's own test leaves out all that a flat picture does not need.
TEST_F(Creating, DepthMayBeLeftOut) {
    make_2d();
    EXPECT_EQ(call([](Instance& i) { return i.create_3d(1, {2, 1, 2, 256, 4, 0, 0, 0, 0, 0}); }),
              0);
    EXPECT_EQ(instance->gpu().find(1)->kind, rutabaga::Resource::Kind::k2d);
}

// A console must not depend on which renderers there are; with cross-domain alone rutabaga_gfx has
// none.
TEST_F(Creating, QemusPicturesAreTheCores) {
    make_with_renderer(Budget::default_limits(), true);
    EXPECT_EQ(create_2d(1, 8, 8), 0);
    EXPECT_EQ(instance->gpu().find(1)->kind, rutabaga::Resource::Kind::k2d);
    EXPECT_EQ(call([](Instance& i) { return i.create_3d(2, {2, 1, 10, 8, 8, 1, 1, 0, 0, 1}); }), 0);
    EXPECT_EQ(instance->gpu().find(2)->kind, rutabaga::Resource::Kind::k3d);
    EXPECT_TRUE(renderer->was_asked({"create_3d", 0, 2}));
    EXPECT_FALSE(renderer->was_asked({"create_3d", 0, 1}));
}

TEST_F(Creating, BlobsOfGuestMemoryNeedNoRenderer) {
    make_2d();
    Memory memory(8192);
    const auto blob = [&](uint32_t id, uint64_t size) {
        return create_blob(0, id, {RUTABAGA_BLOB_MEM_GUEST, 1, 0, size}, memory.span());
    };
    EXPECT_EQ(blob(1, 8192), 0);
    EXPECT_EQ(blob(1, 8192), -ENOENT);
    EXPECT_EQ(blob(2, 0), -EINVAL);
    EXPECT_EQ(blob(2, 8193), -EINVAL);  // rutabaga_gfx does not compare
    EXPECT_EQ(blob(0, 8192), -ENOENT);
    EXPECT_EQ(create_blob(0, 2, {RUTABAGA_BLOB_MEM_GUEST, 1, 0, 4096}), -EINVAL);
    EXPECT_EQ(create_blob(0, 2, {RUTABAGA_BLOB_MEM_HOST3D, 1, 0, 4096}), -ENOENT);
    EXPECT_EQ(create_blob(0, 2, {9, 1, 0, 4096}, memory.span()), -EINVAL);
    EXPECT_EQ(create_blob(0, 2, {RUTABAGA_BLOB_MEM_GUEST, 64, 0, 4096}, memory.span()), -EINVAL);
    // There is nothing to transfer, which guests do nevertheless; and no picture to read.
    EXPECT_EQ(write(1, box(0, 0, 4, 4)), 0);
    EXPECT_EQ(read(1, box(0, 0, 4, 4), nullptr), 0);
    Memory to(64);
    EXPECT_EQ(read(1, box(0, 0, 4, 4), &to.list), -EINVAL);
}

class HostBlobs : public InstanceFixture {
  protected:
    HostBlobs() {
        make_with_renderer();
        file = *create_memfd("a test's blob", 16384);
        renderer->exported = [this]() -> Result<rutabaga::SharedMemory> {
            return rutabaga::SharedMemory{file.duplicate(), 0, 8192};
        };
        EXPECT_EQ(create_context(1), 0);
        EXPECT_EQ(blob(5), 0);
    }
    int32_t blob(uint32_t id, uint32_t flags = RUTABAGA_BLOB_FLAG_USE_MAPPABLE,
                 uint64_t size = 5000) {
        return create_blob(1, id, {RUTABAGA_BLOB_MEM_HOST3D, flags, 1, size});
    }
    Result<rutabaga_mapping> map(uint32_t id) {
        std::optional<Result<rutabaga_mapping>> mapped;
        last_error = call([&](Instance& i) -> Result<void> {
            mapped = i.map(id);
            if (!*mapped) return std::unexpected(mapped->error());
            return {};
        });
        return *mapped;
    }
    int32_t unmap(uint32_t id) {
        return call([&](Instance& i) { return i.unmap(id); });
    }

    UniqueFd file;
    int32_t last_error = 0;
};

// rutabaga_gfx says 5000.
TEST_F(HostBlobs, MappingHasWholePages) {
    const auto mapped = map(5);
    ASSERT_TRUE(mapped);
    EXPECT_EQ(mapped->size, 8192u);
    static_cast<uint8_t*>(mapped->ptr)[8191] = 42;
    uint8_t byte = 0;
    ASSERT_EQ(::pread(file.get(), &byte, 1, 8191), 1);
    EXPECT_EQ(byte, 42);
    EXPECT_EQ(unmap(5), 0);
}

// A second map of rutabaga_gfx's takes the pages of the first away, which QEMU still shows.
TEST_F(HostBlobs, SecondMapIsRefusedAndTheFirstStays) {
    const auto mapped = map(5);
    ASSERT_TRUE(mapped);
    static_cast<uint8_t*>(mapped->ptr)[0] = 1;
    EXPECT_FALSE(map(5));
    EXPECT_EQ(last_error, -EEXIST);
    EXPECT_EQ(static_cast<uint8_t*>(mapped->ptr)[0], 1);
    EXPECT_EQ(unmap(5), 0);
    EXPECT_EQ(unmap(5), -EINVAL);
    EXPECT_TRUE(map(5));
}

TEST_F(HostBlobs, WhatCannotBeMappedIsRefused) {
    Memory memory(4096);
    ASSERT_EQ(create_2d(6, 4, 4), 0);
    ASSERT_EQ(create_blob(0, 7, {RUTABAGA_BLOB_MEM_GUEST, 1, 0, 4096}, memory.span()), 0);
    ASSERT_EQ(blob(8, RUTABAGA_BLOB_FLAG_USE_SHAREABLE), 0);
    for (const uint32_t id : {6u, 7u, 8u}) {
        EXPECT_FALSE(map(id));
        EXPECT_EQ(last_error, -EINVAL);
        EXPECT_EQ(call([&](Instance& i) -> Result<void> {
                      SWEDE_TRY(i.map_info(id));
                      return {};
                  }),
                  -EINVAL);
        EXPECT_EQ(unmap(id), -EINVAL);
    }
    EXPECT_FALSE(map(99));
    EXPECT_EQ(last_error, -ENOENT);
    EXPECT_EQ(unmap(99), -EINVAL);
}

TEST_F(HostBlobs, RendererThatExportsTooLittleOrAFileThatMayShrinkIsNotMapped) {
    renderer->exported = [this]() -> Result<rutabaga::SharedMemory> {
        return rutabaga::SharedMemory{file.duplicate(), 0, 4096};
    };
    EXPECT_FALSE(map(5));
    EXPECT_EQ(last_error, -EIO);
    const UniqueFd loose(::memfd_create("loose", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(loose.get(), 8192), 0);
    renderer->exported = [&]() -> Result<rutabaga::SharedMemory> {
        return rutabaga::SharedMemory{loose.duplicate(), 0, 8192};
    };
    EXPECT_FALSE(map(5));
    EXPECT_EQ(last_error, -EIO);
    renderer->exported = nullptr;
    EXPECT_FALSE(map(5));
    EXPECT_EQ(instance->mapped().count(), 0u);
}

// rutabaga_gfx loses the memory's descriptor when a map fails, as of every dma-buf.
TEST_F(HostBlobs, MapThatFailsMayBeTriedAgain) {
    const auto good = renderer->exported;
    renderer->exported = []() -> Result<rutabaga::SharedMemory> {
        return fail(ErrorCode::kUnspecified, "It is not ready.");
    };
    EXPECT_FALSE(map(5));
    EXPECT_EQ(last_error, -EIO);
    renderer->exported = good;
    EXPECT_TRUE(map(5));
    EXPECT_EQ(unmap(5), 0);
}

TEST_F(HostBlobs, MapInfoTellsCacheAndAccess) {
    uint32_t info = 0;
    const auto ask = [&] {
        return call([&](Instance& i) -> Result<void> {
            info = SWEDE_TRY(i.map_info(5));
            return {};
        });
    };
    EXPECT_EQ(ask(), 0);
    EXPECT_EQ(info, uint32_t{RUTABAGA_MAP_CACHE_CACHED | RUTABAGA_MAP_ACCESS_RW});
    const UniqueFd sealed(::memfd_create("keymap", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(sealed.get(), 8192), 0);
    ASSERT_EQ(::fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
    renderer->exported = [&]() -> Result<rutabaga::SharedMemory> {
        return rutabaga::SharedMemory{sealed.duplicate(), 0, 8192};
    };
    EXPECT_EQ(ask(), 0);
    EXPECT_EQ(info, uint32_t{RUTABAGA_MAP_CACHE_CACHED | RUTABAGA_MAP_ACCESS_READ});
    EXPECT_TRUE(map(5));
}

// The small window of QEMU's use after unmap: the address must not fault, and must not show what
// comes to lie in the file afterwards.
TEST_F(HostBlobs, QemuMayReadALittleAfterUnmap) {
    const auto mapped = map(5);
    ASSERT_TRUE(mapped);
    auto* const bytes = static_cast<volatile uint8_t*>(mapped->ptr);
    bytes[0] = 7;
    EXPECT_EQ(unmap(5), 0);
    EXPECT_EQ(bytes[0], 0);
    bytes[0] = 9;
    uint8_t byte = 0;
    ASSERT_EQ(::pread(file.get(), &byte, 1, 0), 1);
    EXPECT_EQ(byte, 7);
}

// QEMU leaves its region in place when the guest unreferences a mapped blob.
TEST_F(HostBlobs, QemuUnrefsWhatIsMapped) {
    const auto mapped = map(5);
    ASSERT_TRUE(mapped);
    auto* const bytes = static_cast<volatile uint8_t*>(mapped->ptr);
    bytes[0] = 7;
    const uint64_t charged = request_of_factory.budget->used(BudgetKind::kHostBytes);
    EXPECT_EQ(unref(5), 0);
    EXPECT_EQ(bytes[0], 7);
    EXPECT_EQ(request_of_factory.budget->used(BudgetKind::kHostBytes), charged);
    EXPECT_EQ(unmap(5), 0);
    EXPECT_EQ(request_of_factory.budget->used(BudgetKind::kHostBytes), 0u);
    EXPECT_EQ(unmap(5), -EINVAL);
}

TEST_F(HostBlobs, QemusRegionsOfOneIdAllStay) {
    const auto first = map(5);
    ASSERT_EQ(unref(5), 0);
    ASSERT_EQ(blob(5), 0);
    const auto second = map(5);
    ASSERT_TRUE(second);
    EXPECT_NE(first->ptr, second->ptr);
    static_cast<uint8_t*>(second->ptr)[0] = 3;
    EXPECT_EQ(unmap(5), 0);  // of one of the two, QEMU does not say which
    EXPECT_EQ(static_cast<uint8_t*>(first->ptr)[0], 3);
    EXPECT_EQ(static_cast<uint8_t*>(second->ptr)[0], 3);
    EXPECT_EQ(instance->mapped().count(), 2u);
    EXPECT_EQ(unmap(5), 0);  // and now both are
    EXPECT_EQ(instance->mapped().count(), 0u);
    EXPECT_EQ(unmap(5), -EINVAL);
    EXPECT_TRUE(map(5));
}

TEST_F(HostBlobs, FinishTakesAllMappingsAway) {
    ASSERT_TRUE(map(5));
    ASSERT_EQ(unref(5), 0);
    ASSERT_EQ(blob(5), 0);
    ASSERT_TRUE(map(5));
    EXPECT_TRUE(instance->finish());
    EXPECT_EQ(instance->mapped().count(), 0u);
}

TEST_F(HostBlobs, MappingsAreLimited) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kMappings)] = 1;
    make_with_renderer(limits);
    renderer->exported = [this]() -> Result<rutabaga::SharedMemory> {
        return rutabaga::SharedMemory{file.duplicate(), 0, 8192};
    };
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(blob(5), 0);
    ASSERT_EQ(blob(6), 0);
    EXPECT_TRUE(map(5));
    EXPECT_FALSE(map(6));
    EXPECT_EQ(last_error, -ENOMEM);
    EXPECT_EQ(unmap(5), 0);
    EXPECT_FALSE(map(6));  // the addresses are still there
    EXPECT_EQ(last_error, -ENOMEM);
    now += MappedBlobs::kGrace;
    EXPECT_TRUE(map(6));
}

TEST_F(HostBlobs, ExportGivesADescriptorOfOnesOwn) {
    rutabaga_handle handle{};
    const auto take = [&](uint32_t id) {
        return call([&](Instance& i) -> Result<void> {
            handle = SWEDE_TRY(i.export_blob(id));
            return {};
        });
    };
    ASSERT_EQ(take(5), 0);
    EXPECT_EQ(handle.handle_type, uint32_t{RUTABAGA_HANDLE_TYPE_MEM_SHM});
    EXPECT_EQ(::close(static_cast<int>(handle.os_handle)), 0);
    ASSERT_EQ(take(5), 0);  // again
    EXPECT_EQ(::close(static_cast<int>(handle.os_handle)), 0);
    renderer->exported = [this]() -> Result<rutabaga::SharedMemory> {
        return rutabaga::SharedMemory{file.duplicate(), 4096, 8192};
    };
    EXPECT_EQ(take(5), -ENOTSUP);  // a handle has no offset
    EXPECT_EQ(take(99), -ENOENT);
    ASSERT_EQ(create_2d(6, 4, 4), 0);
    EXPECT_EQ(take(6), -EINVAL);
}

TEST(MappedBlobsTest, AddressesGoWhenTheGraceIsOver) {
    auto now = std::chrono::steady_clock::time_point{};
    MappedBlobs blobs([&] { return now; });
    const rutabaga::SharedMemory memory{*create_memfd("a test", 4096), 0, 4096};
    for (uint32_t id = 1; id <= 3; ++id) {
        ASSERT_TRUE(blobs.add(id, memory, 4096, {}));
        ASSERT_TRUE(blobs.remove(id));
        now += MappedBlobs::kGrace / 2;
    }
    EXPECT_EQ(blobs.retired(), 2u);  // the first has gone
    now += MappedBlobs::kGrace;
    EXPECT_FALSE(blobs.remove(9));
    EXPECT_EQ(blobs.retired(), 0u);
}

// The length of the name is the guest's; behind QEMU's 64 bytes lies its stack.
TEST(QemuQuirks, NameIsCutAtTheField) {
    const std::string field(64, 'x');
    EXPECT_EQ(qemu::context_name(field.data(), 0xffffffff), field);
    EXPECT_EQ(qemu::context_name(field.data(), 3), "xxx");
    EXPECT_EQ(qemu::context_name(field.data(), 0), "");
    EXPECT_EQ(qemu::context_name(nullptr, 7), "");
}

TEST(QemuQuirks, Only2dCommandsMake2dResources) {
    const rutabaga_create_3d of_2d{2, 1, 2, 8, 8, 1, 1, 0, 0, 1};
    EXPECT_TRUE(qemu::is_2d_resource(of_2d));
    for (int field = 0; field < 10; ++field) {
        rutabaga_create_3d other = of_2d;
        auto* const words = reinterpret_cast<uint32_t*>(&other);
        words[field] += 2;
        const bool size_or_format = field == 1 || field == 3 || field == 4;
        EXPECT_EQ(qemu::is_2d_resource(other), size_or_format) << field;
    }
}

TEST(QemuQuirks, PlaceInTheBacking) {
    using qemu::Place;
    EXPECT_EQ(qemu::place_in_backing(box(0, 0, 4, 4), 100), (Place{0, 400}));
    EXPECT_EQ(qemu::place_in_backing(box(3, 2, 4, 4), 100), (Place{812, 400}));
    EXPECT_EQ(qemu::place_in_backing(box(3, 2, 4, 4, 5), 100), (Place{5, 400}));
    EXPECT_EQ(qemu::place_in_backing(box(3, 2, 4, 4, 0, 1000), 100), (Place{2012, 1000}));
    EXPECT_EQ(qemu::place_in_backing(box(UINT32_MAX, UINT32_MAX, 1, 1, 0, UINT32_MAX), 1),
              (Place{UINT64_MAX, UINT32_MAX}));
}

}  // namespace
}  // namespace swede::c_abi
