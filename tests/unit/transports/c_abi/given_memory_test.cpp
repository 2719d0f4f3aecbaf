// SPDX-License-Identifier: Apache-2.0
// Memory that the VMM made: blobs with a handle, and pictures that are imported.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <numeric>
#include <utility>

#include "base/mapping.h"
#include "unit/base/process_state.h"
#include "unit/transports/c_abi/instance_fixture.h"

namespace swede::c_abi {
namespace {

using testing::InstanceFixture;
using testing::Memory;

constexpr uint32_t kShm = RUTABAGA_HANDLE_TYPE_MEM_SHM;
constexpr uint32_t kDmaBuf = RUTABAGA_HANDLE_TYPE_MEM_DMABUF;
constexpr uint32_t kFlags = RUTABAGA_BLOB_FLAG_USE_MAPPABLE | RUTABAGA_BLOB_FLAG_USE_SHAREABLE;

UniqueFd unsealed(uint64_t size) {
    UniqueFd fd(::memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    return fd;
}

class GivenMemory : public InstanceFixture {
  protected:
    int32_t give(uint32_t id, UniqueFd fd, uint32_t type = kShm,
                 rutabaga_create_blob request = {RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 5000},
                 uint32_t context = 0) {
        return call([&](Instance& i) {
            return i.create_blob(context, id, request, {}, {std::move(fd), type});
        });
    }
    rutabaga_mapping map(uint32_t id) {
        rutabaga_mapping mapping{};
        EXPECT_EQ(call([&](Instance& i) -> Result<void> {
                      mapping = SWEDE_TRY(i.map(id));
                      return {};
                  }),
                  0);
        return mapping;
    }
    uint32_t map_info(uint32_t id) {
        uint32_t info = 0;
        EXPECT_EQ(call([&](Instance& i) -> Result<void> {
                      info = SWEDE_TRY(i.map_info(id));
                      return {};
                  }),
                  0);
        return info;
    }
    UniqueFd export_of(uint32_t id) {
        rutabaga_handle handle{};
        EXPECT_EQ(call([&](Instance& i) -> Result<void> {
                      handle = SWEDE_TRY(i.export_blob(id));
                      return {};
                  }),
                  0);
        EXPECT_EQ(handle.handle_type, kShm);
        return UniqueFd(static_cast<int>(handle.os_handle));
    }
    /// But for addresses that were mapped, which stay for a moment.
    void expect_nothing_is_left() {
        Budget& budget = instance->gpu().budget();
        EXPECT_EQ(instance->gpu().num_resources(), 0u);
        for (const BudgetKind kind :
             {BudgetKind::kResources, BudgetKind::kHostBytes, BudgetKind::kFiles})
            EXPECT_EQ(budget.used(kind), 0u) << name_of(kind);
    }
};

TEST_F(GivenMemory, IsMappedExportedAndSeenByItsOwner) {
    make_2d();
    const size_t fds = swede::testing::open_fds();
    UniqueFd file = *create_memfd("a test", 8192);
    const Mapping owner = *Mapping::own_file(file.get(), 0, 8192, Access::kReadWrite);
    ASSERT_EQ(give(3, std::move(file)), 0);
    EXPECT_EQ(map_info(3), uint32_t{RUTABAGA_MAP_CACHE_CACHED | RUTABAGA_MAP_ACCESS_RW});
    const rutabaga_mapping mapping = map(3);
    ASSERT_EQ(mapping.size, 8192u);
    static_cast<char*>(mapping.ptr)[8191] = 'x';
    EXPECT_EQ(owner.data()[8191], std::byte{'x'});
    {
        const UniqueFd exported = export_of(3);
        char byte = 0;
        EXPECT_EQ(::pread(exported.get(), &byte, 1, 8191), 1);
        EXPECT_EQ(byte, 'x');
    }
    EXPECT_EQ(call([](Instance& i) { return i.unmap(3); }), 0);
    EXPECT_EQ(unref(3), 0);
    EXPECT_EQ(swede::testing::open_fds(), fds);
    expect_nothing_is_left();
}

TEST_F(GivenMemory, StaysMappedWhenItsResourceGoes) {
    make_2d();
    ASSERT_EQ(give(3, *create_memfd("a test", 8192)), 0);
    auto* const bytes = static_cast<volatile char*>(map(3).ptr);
    ASSERT_EQ(unref(3), 0);
    bytes[5] = 1;
    EXPECT_EQ(bytes[5], 1);
    EXPECT_EQ(call([](Instance& i) { return i.unmap(3); }), 0);
    expect_nothing_is_left();
}

/// Two descriptors of memory for reading: one sealed against writes, one opened so.
std::vector<UniqueFd> for_reading() {
    std::vector<UniqueFd> files;
    for (const unsigned int seal : {F_SEAL_WRITE, 0}) {
        UniqueFd fd = unsealed(8192);
        EXPECT_EQ(::pwrite(fd.get(), "keymap", 6, 0), 6);
        EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | seal), 0);
        const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
        files.push_back(seal != 0 ? std::move(fd)
                                  : UniqueFd(::open(link.c_str(), O_RDONLY | O_CLOEXEC)));
    }
    return files;
}

// QEMU makes ordinary memory of the guest of every mapping and ignores its access in map_info: a
// guest that writes to its keymap would end it.
TEST_F(GivenMemory, QemuMapsForWritingWhatIsForReading) {
    make_2d();
    for (const UniqueFd& file : for_reading()) {
        ASSERT_EQ(give(3, file.duplicate()), 0);
        EXPECT_EQ(map_info(3), uint32_t{RUTABAGA_MAP_CACHE_CACHED | RUTABAGA_MAP_ACCESS_READ});
        auto* const bytes = static_cast<volatile char*>(map(3).ptr);
        EXPECT_EQ(bytes[0], 'k');
        bytes[0] = 'x';
        EXPECT_EQ(bytes[0], 'x');
        EXPECT_EQ(bytes[1], 'e');
        char in_file = 0;
        ASSERT_EQ(::pread(file.get(), &in_file, 1, 0), 1);
        EXPECT_EQ(in_file, 'k');
        EXPECT_EQ(call([](Instance& i) { return i.unmap(3); }), 0);
        EXPECT_EQ(unref(3), 0);
        expect_nothing_is_left();
    }
}

TEST_F(GivenMemory, ThatIsForReadingIsChargedAgainWhileItIsMapped) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 20'000;
    make_2d(limits);
    const Budget& budget = instance->gpu().budget();
    const auto files = for_reading();
    for (const uint32_t id : {3u, 4u}) ASSERT_EQ(give(id, files[0].duplicate()), 0);
    map(3);
    EXPECT_EQ(budget.used(BudgetKind::kHostBytes), 2u * 5000 + 8192);
    EXPECT_EQ(call([](Instance& i) -> Result<void> {
                  SWEDE_TRY(i.map(4));
                  return {};
              }),
              -ENOMEM);
    EXPECT_EQ(unref(3), 0);  // QEMU's guest still writes there
    EXPECT_EQ(budget.used(BudgetKind::kHostBytes), 2u * 5000 + 8192);
    EXPECT_EQ(call([](Instance& i) { return i.unmap(3); }), 0);
    map(4);
    EXPECT_EQ(budget.used(BudgetKind::kHostBytes), 5000u + 8192);
}

TEST_F(GivenMemory, LastPageOfAFileIsThere) {
    make_2d();
    UniqueFd file = *create_memfd("a test", 5000);
    ASSERT_EQ(give(3, std::move(file)), 0);
    EXPECT_EQ(map(3).size, 8192u);
}

TEST_F(GivenMemory, BadHandlesAreRefusedAndClosed) {
    make_2d();
    const size_t fds = swede::testing::open_fds();
    const auto good = [] { return *create_memfd("a test", 8192); };
    EXPECT_EQ(give(1, unsealed(8192)), -EINVAL);
    EXPECT_TRUE(heard.heard("it needs F_SEAL_SHRINK"));
    EXPECT_EQ(give(1, unsealed(0)), -EINVAL);
    UniqueFd huge(::memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
    ASSERT_EQ(::ftruncate(huge.get(), 1 << 30), 0);
    ASSERT_EQ(::fcntl(huge.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    EXPECT_EQ(give(1, std::move(huge)), -EINVAL);
    EXPECT_EQ(give(1, UniqueFd()), -EINVAL);
    EXPECT_EQ(give(1, *create_memfd("small", 4096)), -EINVAL);
    EXPECT_EQ(give(1, *create_memfd("empty", 0)), -EINVAL);
    EXPECT_EQ(give(1, good(), kDmaBuf), -EINVAL);
    EXPECT_EQ(give(1, good(), RUTABAGA_HANDLE_TYPE_MEM_OPAQUE_FD), -ENOTSUP);
    EXPECT_EQ(give(1, good(), RUTABAGA_HANDLE_TYPE_MEM_ZIRCON), -ENOTSUP);
    EXPECT_EQ(give(1, good(), RUTABAGA_HANDLE_TYPE_SIGNAL_EVENT_FD), -ENOTSUP);
    EXPECT_EQ(give(1, good(), UINT32_MAX), -ENOTSUP);
    for (const char* const path : {"/dev/null", "/proc/self/maps", "/"})
        EXPECT_EQ(give(1, UniqueFd(::open(path, O_RDONLY | O_CLOEXEC))), -EINVAL) << path;
    const UniqueFd file = good();
    const std::string link = "/proc/self/fd/" + std::to_string(file.get());
    EXPECT_EQ(give(1, UniqueFd(::open(link.c_str(), O_WRONLY | O_CLOEXEC))), -EINVAL);
    EXPECT_EQ(give(1, UniqueFd(::open(link.c_str(), O_PATH | O_CLOEXEC))), -EINVAL);
    EXPECT_EQ(swede::testing::open_fds(), fds + 1);
    expect_nothing_is_left();
    EXPECT_EQ(give(1, good()), 0);
}

TEST_F(GivenMemory, BadBlobsAreRefusedAndTheHandleIsClosed) {
    make_2d();
    Memory memory(8192);
    const size_t fds = swede::testing::open_fds();
    const auto refused = [&](rutabaga_create_blob request, int error, uint32_t context = 0) {
        EXPECT_EQ(give(1, *create_memfd("a test", 8192), kShm, request, context), error);
    };
    refused({0, kFlags, 0, 4096}, -ENOTSUP);
    refused({RUTABAGA_BLOB_MEM_GUEST, kFlags, 0, 4096}, -ENOTSUP);
    refused({RUTABAGA_BLOB_MEM_HOST3D_GUEST, kFlags, 0, 4096}, -ENOTSUP);
    refused({RUTABAGA_BLOB_MEM_HOST3D, 64, 0, 4096}, -EINVAL);
    refused({RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 0}, -EINVAL);
    refused({RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 8193}, -EINVAL);
    refused({RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, UINT64_MAX}, -EINVAL);
    refused({RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 4096}, -ENOENT, 9);
    EXPECT_EQ(call([&](Instance& i) {
                  return i.create_blob(0, 1, {RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 4096},
                                       memory.span(), {*create_memfd("a test", 8192), kShm});
              }),
              -ENOTSUP);
    EXPECT_EQ(give(0, *create_memfd("a test", 8192)), -ENOENT);
    EXPECT_EQ(swede::testing::open_fds(), fds);
    expect_nothing_is_left();
    ASSERT_EQ(give(1, *create_memfd("a test", 8192)), 0);
    EXPECT_EQ(give(1, *create_memfd("a test", 8192)), -ENOENT);  // the id is taken
}

TEST_F(GivenMemory, ThatIsNotMappableIsNotMapped) {
    make_2d();
    ASSERT_EQ(give(1, *create_memfd("a test", 8192), kShm,
                   {RUTABAGA_BLOB_MEM_HOST3D, RUTABAGA_BLOB_FLAG_USE_SHAREABLE, 0, 4096}),
              0);
    EXPECT_EQ(call([](Instance& i) -> Result<void> {
                  SWEDE_TRY(i.map(1));
                  return {};
              }),
              -EINVAL);
    const UniqueFd exported = export_of(1);
    EXPECT_TRUE(exported);
    // And what only renderers do to blobs is an error.
    rutabaga_transfer transfer{};
    transfer.w = transfer.h = transfer.d = 1;
    EXPECT_EQ(write(1, transfer), -ENOTSUP);
    Memory backing(8192);
    EXPECT_EQ(attach(1, backing.span()), -EINVAL);
}

TEST_F(GivenMemory, IsLimited) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 2;
    limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 12'000;
    make_2d(limits);
    ASSERT_EQ(give(1, *create_memfd("a test", 8192)), 0);
    ASSERT_EQ(give(2, *create_memfd("a test", 8192)), 0);
    EXPECT_EQ(give(3, *create_memfd("a test", 8192)), -ENOMEM);  // files
    ASSERT_EQ(unref(2), 0);
    EXPECT_EQ(
        give(3, *create_memfd("a test", 8192), kShm, {RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 8000}),
        -ENOMEM);  // bytes
    ASSERT_EQ(unref(1), 0);
    expect_nothing_is_left();
}

TEST_F(GivenMemory, IsToldToARendererThatSharesIt) {
    make_with_renderer();
    renderer->wants_memory = true;
    ASSERT_EQ(create_context(1), 0);
    ASSERT_EQ(give(5, *create_memfd("a test", 8192), kShm,
                   {RUTABAGA_BLOB_MEM_HOST3D, kFlags, 0, 8192}, 1),
              0);
    ASSERT_EQ(call([](Instance& i) { return i.attach_resource(1, 5); }), 0);
    EXPECT_EQ(renderer->attached_memory, 8192u);
    EXPECT_EQ(unref(5), 0);
    EXPECT_TRUE(renderer->was_asked({"detach_resource", 1, 5}));
    EXPECT_FALSE(renderer->was_asked({"destroy_resource", 0, 5}));
}

TEST_F(GivenMemory, EndsWithTheInstance) {
    const size_t fds = swede::testing::open_fds();
    make_2d();
    ASSERT_EQ(give(5, *create_memfd("a test", 8192)), 0);
    map(5);
    EXPECT_TRUE(instance->finish());
    EXPECT_EQ(swede::testing::open_fds(), fds);
}

class Imports : public GivenMemory {
  protected:
    static constexpr uint32_t kXrgb = 'X' | 'R' << 8 | '2' << 16 | '4' << 24;

    int32_t import(rutabaga_import_data data, UniqueFd handle, uint32_t type = kShm) {
        return call(
            [&](Instance& i) { return i.import_resource(1, {std::move(handle), type}, data); });
    }
    static rutabaga_import_data good(uint32_t stride = 64, uint32_t offset = 0) {
        rutabaga_import_data data{};
        data.flags = RUTABAGA_IMPORT_FLAG_3D_INFO;
        data.info_3d.width = 16;
        data.info_3d.height = 16;
        data.info_3d.drm_fourcc = kXrgb;
        data.info_3d.strides[0] = stride;
        data.info_3d.offsets[0] = offset;
        return data;
    }
    static rutabaga_transfer whole() {
        rutabaga_transfer transfer{};
        transfer.w = transfer.h = 16;
        transfer.d = 1;
        return transfer;
    }
};

TEST_F(Imports, GoToTheRendererOf3d) {
    make_with_renderer(Budget::default_limits(), true);
    EXPECT_EQ(import(good(), *create_memfd("a test", 4096)), 0);
    EXPECT_TRUE(renderer->was_asked({"import_3d", 0, 1}));
    EXPECT_EQ(import(good(), *create_memfd("a test", 4096)), -ENOENT);
}

TEST_F(Imports, ShowAndChangeTheMemoryOfTheVmm) {
    make_2d();
    const size_t fds = swede::testing::open_fds();
    for (const auto& [stride, offset] : {std::pair{64u, 0u}, {80u, 100u}, {128u, 4096u + 52u}}) {
        UniqueFd file = *create_memfd("a test", 8192);
        const Mapping owner = *Mapping::own_file(file.get(), 0, 8192, Access::kReadWrite);
        for (size_t i = 0; i < 8192; ++i) owner.data()[i] = static_cast<std::byte>(i * 7 + i / 256);
        ASSERT_EQ(import(good(stride, offset), std::move(file)), 0);
        Memory shown(16 * 64);
        ASSERT_EQ(read(1, whole(), &shown.list), 0);
        for (size_t y = 0; y < 16; ++y)
            EXPECT_EQ(
                std::memcmp(shown.bytes.data() + y * 64, owner.data() + offset + y * stride, 64), 0)
                << y;
        Memory drawn(16 * 64);
        drawn.number(9);
        ASSERT_EQ(attach(1, drawn.span()), 0);
        const std::byte before = owner.data()[offset + 64];
        ASSERT_EQ(write(1, whole()), 0);
        for (size_t y = 0; y < 16; ++y)
            EXPECT_EQ(
                std::memcmp(drawn.bytes.data() + y * 64, owner.data() + offset + y * stride, 64), 0)
                << y;
        if (stride > 64) {
            EXPECT_EQ(owner.data()[offset + 64], before) << "a gap";
        }
        {
            const UniqueFd exported = export_of(1);
            EXPECT_EQ(::lseek(exported.get(), 0, SEEK_END), 8192);
        }
        ASSERT_EQ(unref(1), 0);
        EXPECT_EQ(swede::testing::open_fds(), fds);
        expect_nothing_is_left();
        EXPECT_EQ(instance->gpu().budget().used(BudgetKind::kMappings), 0u);
    }
}

TEST_F(Imports, ThatAreForReadingTakeNoPixels) {
    make_2d();
    UniqueFd file = unsealed(4096);
    ASSERT_EQ(::pwrite(file.get(), "abcd", 4, 0), 4);
    ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
    ASSERT_EQ(import(good(), std::move(file)), 0);
    Memory shown(16 * 64);
    ASSERT_EQ(read(1, whole(), &shown.list), 0);
    EXPECT_EQ(std::memcmp(shown.bytes.data(), "abcd", 4), 0);
    ASSERT_EQ(attach(1, shown.span()), 0);
    EXPECT_EQ(write(1, whole()), -EINVAL);
    EXPECT_EQ(read(1, whole(), nullptr), 0);  // to the backing
}

TEST_F(Imports, MayEndWithTheFile) {
    make_2d();
    EXPECT_EQ(import(good(80, 4096 - (15 * 80 + 64)), *create_memfd("a test", 4096)), 0);
    EXPECT_EQ(unref(1), 0);
    EXPECT_EQ(import(good(80, 4096 - (15 * 80 + 60)), *create_memfd("a test", 4096)), -EINVAL);
}

TEST_F(Imports, BadOnesAreRefusedAndTheDescriptorIsClosed) {
    for (const bool owns_3d : {true, false}) {
        make_with_renderer(Budget::default_limits(), owns_3d);
        const size_t fds = swede::testing::open_fds();
        const auto refused = [&](auto change, int error) {
            rutabaga_import_data data = good();
            change(data);
            EXPECT_EQ(import(data, *create_memfd("a test", 4096)), error);
        };
        refused([](auto& d) { d.flags = 0; }, -ENOTSUP);
        refused([](auto& d) { d.flags |= RUTABAGA_IMPORT_FLAG_VULKAN_INFO; }, -ENOTSUP);
        refused([](auto& d) { d.flags |= RUTABAGA_IMPORT_FLAG_RESOURCE_EXISTS; }, -ENOTSUP);
        refused([](auto& d) { d.info_3d.drm_fourcc = 0; }, -EINVAL);
        refused([](auto& d) { d.info_3d.modifier = 1; }, -EINVAL);
        refused([](auto& d) { d.info_3d.modifier = 0x00ffffffffffffff; }, -EINVAL);
        refused([](auto& d) { d.info_3d.strides[1] = 64; }, -EINVAL);
        refused([](auto& d) { d.info_3d.offsets[3] = 64; }, -EINVAL);
        refused([](auto& d) { d.info_3d.offsets[0] = 1; }, -EINVAL);
        refused([](auto& d) { d.info_3d.offsets[0] = 4096; }, -EINVAL);
        refused([](auto& d) { d.info_3d.offsets[0] = UINT32_MAX; }, -EINVAL);
        EXPECT_EQ(import(good(), UniqueFd()), -EINVAL);
        EXPECT_EQ(import(good(), UniqueFd(::memfd_create("loose", MFD_CLOEXEC))), -EINVAL);
        EXPECT_EQ(import(good(), unsealed(4096)), -EINVAL);
        EXPECT_EQ(import(good(), UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))), -EINVAL);
        EXPECT_EQ(import(good(), *create_memfd("a test", 4096), kDmaBuf), -EINVAL);
        EXPECT_EQ(import(good(), *create_memfd("a test", 4096), 0), -ENOTSUP);
        EXPECT_EQ(swede::testing::open_fds(), fds);
        EXPECT_EQ(instance->gpu().num_resources(), 0u);
        instance->finish();
    }
}

TEST_F(Imports, PicturesThatDoNotFitTheirMemoryAreRefused) {
    make_2d();
    const auto refused = [&](auto change) {
        rutabaga_import_data data = good();
        change(data);
        EXPECT_EQ(import(data, *create_memfd("a test", 4096)), -EINVAL);
    };
    refused([](auto& d) { d.info_3d.width = 0; });
    refused([](auto& d) { d.info_3d.height = 0; });
    refused([](auto& d) { d.info_3d.height = 65; });
    refused([](auto& d) { d.info_3d.height = UINT32_MAX; });
    refused([](auto& d) { d.info_3d.width = UINT32_MAX; });
    refused([](auto& d) { d.info_3d.width = 17; });
    refused([](auto& d) { d.info_3d.strides[0] = 0; });
    refused([](auto& d) { d.info_3d.strides[0] = 60; });
    refused([](auto& d) { d.info_3d.strides[0] = 66; });
    refused([](auto& d) { d.info_3d.strides[0] = UINT32_MAX; });
    refused([](auto& d) { d.info_3d.strides[0] = UINT32_MAX - 3; });
    refused([](auto& d) { d.info_3d.offsets[0] = 2; });
    refused([](auto& d) { d.info_3d.offsets[0] = 4092; });
    refused([](auto& d) {
        d.info_3d.width = 16385;
        d.info_3d.height = 1;
        d.info_3d.strides[0] = 16385 * 4;
    });
    expect_nothing_is_left();
    EXPECT_EQ(import(good(), *create_memfd("a test", 4096)), 0);
}

TEST_F(Imports, AreLimited) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kMappings)] = 0;
    make_2d(limits);
    EXPECT_EQ(import(good(), *create_memfd("a test", 4096)), -ENOMEM);
    instance->finish();
    limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kFiles)] = 0;
    make_2d(limits);
    EXPECT_EQ(import(good(), *create_memfd("a test", 4096)), -ENOMEM);
    expect_nothing_is_left();
}

}  // namespace
}  // namespace swede::c_abi
