// SPDX-License-Identifier: Apache-2.0
// Blobs at a door whose window is static, and images that are dma-bufs. kernel_images_test.cpp has
// the kernel's own udmabuf, in a guest.
#include "base/checked.h"
#include "cross_domain/blob_copy.h"
#include "cross_domain/image_requirements.h"
#include "guest.h"
#include "whole_files.h"

namespace swede::cross_domain::testing {
namespace {

struct WindowTest : CrossDomainTest {
    static constexpr uint64_t kWindow = 64 << 12;

    std::shared_ptr<WholeFiles> udmabuf = std::make_shared<WholeFiles>();
    UniqueFd window = create_memfd("window", kWindow).value();
    Mapping view = Mapping::own_file(window.get(), 0, kWindow, Access::kReadWrite).value();

    WindowTest() {
        start({{{ChannelType::kWayland, listener.path()}},
               std::make_shared<UdmabufImages>(udmabuf),
               udmabuf});
        connect();
    }
    Result<void> place(uint32_t resource, uint64_t offset, uint64_t size) {
        return wait_for([&](auto done) {
            renderer->place_blob(resource, {window.get(), offset, size}, std::move(done));
        });
    }
    Result<void> displace(uint32_t resource) {
        return wait_for([&](auto done) { renderer->displace_blob(resource, std::move(done)); });
    }
    [[nodiscard]] std::byte& seen(uint64_t offset) { return view.bytes()[offset]; }
    uint32_t make_pool(uint32_t resource, uint32_t size) {
        const ImageRequirements pool = image(size, 1, "R8  ");
        EXPECT_TRUE(create_blob(resource, pool.blob_id, pool.size));
        return static_cast<uint32_t>(pool.size);
    }
    /// The file that the compositor gets with one byte.
    [[nodiscard]] UniqueFd send_blob(uint32_t resource) {
        if (!submit(send("p", {{resource, IdentifierType::kVirtgpuBlob}}))) return UniqueFd();
        std::vector<UniqueFd> fds;
        EXPECT_EQ(hear(1, &fds), "p");
        EXPECT_EQ(fds.size(), 1u);
        return fds.empty() ? UniqueFd() : std::move(fds[0]);
    }
};

TEST_F(WindowTest, APoolIsThePagesThatTheGuestSees) {
    const uint32_t size = make_pool(60, 5000);
    ASSERT_EQ(size, 8192u);
    EXPECT_FALSE(submit(send("p", {{60, IdentifierType::kVirtgpuBlob}})))
        << "nobody sees it before it is placed";
    ASSERT_TRUE(place(60, 4096, size));
    EXPECT_EQ(udmabuf->last_offset, 4096u);
    EXPECT_EQ(udmabuf->last_size, 8192u);
    const UniqueFd pool = send_blob(60);
    ASSERT_TRUE(pool);
    seen(4096) = std::byte{0x5a};
    std::byte byte{};
    ASSERT_EQ(::pread(pool.get(), &byte, 1, static_cast<off_t>(udmabuf->last_offset)), 1);
    EXPECT_EQ(byte, std::byte{0x5a});
    destroy_blob(60);
}

TEST_F(WindowTest, BytesFollowABlobOutAndInAgain) {
    const uint32_t size = make_pool(60, 3 * 4096);
    ASSERT_TRUE(place(60, 0, size));
    seen(0) = std::byte{1};
    seen(size - 1) = std::byte{2};
    const auto memory = wait_for<rutabaga::SharedMemory>(
        [&](auto done) { renderer->export_blob(60, std::move(done)); });
    ASSERT_TRUE(memory);
    EXPECT_EQ(memory->offset, 0u) << "it lives in the window";
    ASSERT_TRUE(displace(60));
    EXPECT_FALSE(submit(send("p", {{60, IdentifierType::kVirtgpuBlob}})));
    std::ranges::fill(view.bytes(), std::byte{});  // as the window empties the range
    ASSERT_TRUE(place(60, 16 * 4096, size));
    EXPECT_EQ(seen(16 * 4096), std::byte{1});
    EXPECT_EQ(seen(16 * 4096 + size - 1), std::byte{2});
    EXPECT_TRUE(send_blob(60));
    ASSERT_TRUE(displace(60));
    ASSERT_TRUE(displace(60)) << "and once more is nothing";
    destroy_blob(60);
}

TEST_F(WindowTest, AKeymapIsCopiedIn) {
    const std::string keymap(5000, 'k');
    const UniqueFd steady = memory_file(keymap, F_SEAL_SHRINK | F_SEAL_WRITE);
    const UniqueFd shrinking = memory_file(keymap, 0);
    say("m", {steady.get(), shrinking.get()});
    const RingMessage message = next_message();
    ASSERT_EQ(message.identifiers.size(), 2u);
    for (uint32_t i = 0; i < 2; ++i) {
        const uint32_t resource = 60 + i;
        ASSERT_TRUE(create_blob(resource, message.identifiers[i][0], 5000));
        ASSERT_TRUE(place(resource, i * 8192, 8192));
        EXPECT_EQ(text_of(view.bytes().subspan(i * 8192, 5000)), keymap);
        EXPECT_EQ(seen(i * 8192 + 5000), std::byte{0});
        // The compositor knows its own file; there is no need of another.
        EXPECT_TRUE(send_blob(resource));
        EXPECT_EQ(udmabuf->last_size, 0u);
        EXPECT_TRUE(displace(resource));
        destroy_blob(resource);
    }
}

/// The window is all host memory of the guest: no peer gets it.
TEST_F(WindowTest, OfAnotherRenderersMemoryThePartIsSent) {
    rutabaga::SharedMemory memory;
    memory.fd = window.duplicate();
    memory.size = 4096;
    for (const uint64_t offset : {4096, 0}) {
        memory.offset = offset;
        renderer->attach_resource(1, 70, {4096, nullptr, &memory});
        EXPECT_EQ(udmabuf->last_offset, offset);
        EXPECT_EQ(udmabuf->last_size, 4096u);
        EXPECT_TRUE(send_blob(70));
        renderer->detach_resource(1, 70);
    }
    memory.offset = 4096;
    udmabuf->refuses = true;
    renderer->attach_resource(1, 70, {4096, nullptr, &memory});
    EXPECT_FALSE(submit(send("p", {{70, IdentifierType::kVirtgpuBlob}})));
    EXPECT_EQ(budget->used(BudgetKind::kFiles), 1u) << "the connection";
}

TEST_F(CrossDomainTest, WithoutUdmabufAPartOfAFileIsNotSent) {
    connect();
    rutabaga::SharedMemory memory;
    memory.fd = create_memfd("window", 4 << 12).value();
    memory.size = 4096;
    for (const uint64_t offset : {4096, 0}) {
        memory.offset = offset;
        renderer->attach_resource(1, 70, {4096, nullptr, &memory});
        EXPECT_FALSE(submit(send("p", {{70, IdentifierType::kVirtgpuBlob}})));
        renderer->detach_resource(1, 70);
    }
    memory.size = 4 << 12;
    renderer->attach_resource(1, 70, {memory.size, nullptr, &memory});
    EXPECT_TRUE(submit(send("p", {{70, IdentifierType::kVirtgpuBlob}})));
}

TEST_F(WindowTest, WhatDoesNotFitOrCannotBeMadeIsRefused) {
    const uint32_t size = make_pool(60, 8192);
    EXPECT_FALSE(place(60, 0, size - 4096));
    EXPECT_FALSE(place(61, 0, size)) << "there is none";
    udmabuf->refuses = true;
    EXPECT_FALSE(place(60, 0, size));
    EXPECT_FALSE(submit(send("p", {{60, IdentifierType::kVirtgpuBlob}})));
    udmabuf->refuses = false;
    EXPECT_TRUE(place(60, 0, size));
    EXPECT_TRUE(send_blob(60));
    destroy_blob(60);
}

/// One that is steady is no blob to be mapped itself here.
TEST_F(WindowTest, WhatIsTooLargeToCopyIsRefused) {
    for (const uint64_t size : {uint64_t{64} << 20, (uint64_t{64} << 20) + 4096}) {
        const UniqueFd file = create_memfd("large", size).value();
        say("m", {file.get()});
        const auto made = create_blob(60, next_message().identifiers.at(0)[0], size);
        EXPECT_EQ(bool(made), size == 64 << 20);
        if (made) destroy_blob(60);
    }
}

TEST_F(WindowTest, EveryFileOfABlobIsCounted) {
    const uint64_t before = budget->used(BudgetKind::kFiles);
    const uint32_t size = make_pool(60, 4096);
    EXPECT_EQ(budget->used(BudgetKind::kFiles), before + 2) << "its own, and one for the peer";
    ASSERT_TRUE(place(60, 0, size));
    EXPECT_EQ(budget->used(BudgetKind::kFiles), before + 3) << "the window";
    ASSERT_TRUE(displace(60));
    EXPECT_EQ(budget->used(BudgetKind::kFiles), before + 2);
    // A copy has both of its files until it is done.
    std::optional<Result<void>> answer;
    renderer->place_blob(60, {window.get(), 0, size},
                         {sink, [&](Result<void> result) { answer = std::move(result); }});
    EXPECT_EQ(budget->used(BudgetKind::kFiles), before + 5);
    ASSERT_TRUE(sink->run_until([&] { return answer.has_value(); }));
    EXPECT_EQ(budget->used(BudgetKind::kFiles), before + 3);
    const auto rest =
        budget->charge(BudgetKind::kFiles, budget->limit(BudgetKind::kFiles) - before - 3);
    ASSERT_TRUE(rest);
    ASSERT_TRUE(displace(60));
    EXPECT_FALSE(place(60, 0, 4096)) << "no file is left to copy with";
    destroy_blob(60);
}

/// The next guest owns the window's pages then.
TEST_F(WindowTest, NothingIsCopiedAfterAReset) {
    constexpr uint64_t kSize = 48 << 20;
    const UniqueFd file = memory_file(std::string(kSize, 'x'), F_SEAL_SHRINK);
    const UniqueFd large = create_memfd("window", kSize).value();
    say("m", {file.get()});
    ASSERT_TRUE(create_blob(60, next_message().identifiers.at(0)[0], kSize));
    std::optional<Result<void>> answer;
    renderer->place_blob(60, {large.get(), 0, kSize},
                         {sink, [&](Result<void> result) { answer = std::move(result); }});
    ASSERT_TRUE(wait_for([&](auto done) { renderer->reset(std::move(done)); }));
    const Mapping mapping = Mapping::own_file(large.get(), 0, kSize, Access::kReadWrite).value();
    std::ranges::fill(mapping.bytes(), std::byte{});
    ASSERT_TRUE(wait_for([&](auto done) { renderer->reset(std::move(done)); }));
    EXPECT_EQ(std::ranges::count(mapping.bytes(), std::byte{}), static_cast<ptrdiff_t>(kSize));
    EXPECT_TRUE(answer && !*answer);
}

TEST_F(WindowTest, CopiesGoWithTheRenderer) {
    constexpr uint64_t kSize = 32 << 20;
    const UniqueFd file = memory_file(std::string(kSize, 'x'), 0);
    say("m", {file.get()});
    const uint32_t id = next_message().identifiers.at(0)[0];
    std::optional<Result<rutabaga::BlobInfo>> answer;
    renderer->create_blob(
        1, 60, {wire::kBlobMemHost3d, 3, id, kSize}, nullptr,
        {sink, [&](Result<rutabaga::BlobInfo> result) { answer = std::move(result); }});
    renderer.reset();
    EXPECT_TRUE(sink->run_until([&] { return answer.has_value(); }));
    EXPECT_FALSE(*answer);
}

TEST_F(WindowTest, ImagesHaveRowsThatGpusTake) {
    const ImageRequirements made = image(101, 7, "AR24");
    EXPECT_EQ(made.strides[0], 512u);
    EXPECT_EQ(made.size, page_align(512 * 7));
    EXPECT_EQ(made.map_info, 0x31u);
    const ImageRequirements planes = image(100, 10, "NV12");
    EXPECT_EQ(planes.strides[0], 256u);
    EXPECT_EQ(planes.strides[1], 256u);
    EXPECT_EQ(planes.offsets[1], 2560u);
    EXPECT_EQ(image(101, 1, "R8  ").size, 4096u) << "a pool has none";
    EXPECT_EQ(image(101, 1, "R8  ").strides[0], 101u);
}

struct DmaBufTest : CrossDomainTest {
    std::shared_ptr<WholeFiles> udmabuf = std::make_shared<WholeFiles>();
    DmaBufTest() {
        start(
            {{{ChannelType::kWayland, listener.path()}}, std::make_shared<UdmabufImages>(udmabuf)});
        connect();
    }
};

TEST_F(DmaBufTest, TheCapsetSaysSo) {
    Capset capset{};
    std::memcpy(&capset, renderer->capsets()[0].data.data(), sizeof(capset));
    EXPECT_EQ(capset.supports_dmabuf, 1u);
}

TEST_F(DmaBufTest, AnImageIsADmaBufAndAPoolIsNot) {
    const ImageRequirements picture = image(64, 64, "XR24");
    ASSERT_TRUE(create_blob(60, picture.blob_id, picture.size));
    EXPECT_EQ(udmabuf->last_size, picture.size);
    EXPECT_EQ(map(60).size(), picture.size);
    udmabuf->last_size = 0;
    const ImageRequirements pool = image(16384, 1, "R8  ");
    ASSERT_TRUE(create_blob(61, pool.blob_id, pool.size));
    EXPECT_EQ(udmabuf->last_size, 0u);
    udmabuf->refuses = true;
    EXPECT_FALSE(create_blob(62, picture.blob_id, picture.size));
    EXPECT_TRUE(create_blob(62, pool.blob_id, pool.size));
    for (const uint32_t resource : {60u, 61u, 62u}) destroy_blob(resource);
}

/// A driver makes an image to tell how it lies: nothing is made that the guest may not have.
TEST_F(DmaBufTest, AnImageOverTheLimitIsNotAskedAbout) {
    const auto rest =
        budget->charge(BudgetKind::kHostBytes, budget->limit(BudgetKind::kHostBytes) -
                                                   budget->used(BudgetKind::kHostBytes) - 4096);
    ASSERT_TRUE(rest);
    EXPECT_FALSE(submit(command(Command::kGetImageRequirements, 24, {128, 128, 0x34325258, 0})));
}

/// As a driver that gives out a video card's memory.
struct UsedMemory final : ImageSource {
    Result<ImageRequirements> requirements(const GetImageRequirements& image) override {
        ImageRequirements requirements = SWEDE_TRY(image_requirements(image));
        requirements.map_info = kOwnMapInfo;
        return requirements;
    }
    Result<ImageMemory> allocate(const GetImageRequirements&,
                                 const ImageRequirements& requirements) override {
        UniqueFd file = SWEDE_TRY(create_memfd("used", requirements.size));
        const Mapping mapping =
            SWEDE_TRY(Mapping::own_file(file.get(), 0, requirements.size, Access::kReadWrite));
        std::memset(mapping.data(), 'x', mapping.size());
        return ImageMemory{std::move(file), {}, false};
    }
};

TEST_F(CrossDomainTest, WhatOthersLeftInAnImageIsCleared) {
    start({{{ChannelType::kWayland, listener.path()}}, std::make_shared<UsedMemory>()});
    connect();
    const ImageRequirements picture = image(600, 600, "XR24");  // several pieces, and a rest
    ASSERT_TRUE(create_blob(60, picture.blob_id, picture.size));
    const Mapping mapping = map(60);
    EXPECT_EQ(std::ranges::count(mapping.bytes(), std::byte{}),
              static_cast<ptrdiff_t>(picture.size));
    destroy_blob(60);
    // One whose clearing a reset cuts short is none.
    std::optional<Result<rutabaga::BlobInfo>> answer;
    renderer->create_blob(
        1, 61, {wire::kBlobMemHost3d, 3, picture.blob_id, picture.size}, nullptr,
        {sink, [&](Result<rutabaga::BlobInfo> result) { answer = std::move(result); }});
    // All is answered by the time that the reset is.
    std::optional<bool> refused;
    renderer->reset({sink, [&](Result<void> done) {
                         EXPECT_TRUE(done);
                         refused = answer && !*answer;
                     }});
    ASSERT_TRUE(sink->run_until([&] { return refused.has_value(); }));
    EXPECT_TRUE(*refused);
}

TEST_F(CrossDomainTest, WithoutASourceImagesAreMemoryFiles) {
    connect();
    Capset capset{};
    std::memcpy(&capset, renderer->capsets()[0].data.data(), sizeof(capset));
    EXPECT_EQ(capset.supports_dmabuf, 0u);
    const ImageRequirements picture = image(101, 7, "AR24");
    EXPECT_EQ(picture.strides[0], 404u);
    ASSERT_TRUE(create_blob(60, picture.blob_id, picture.size));
    EXPECT_FALSE(
        wait_for([&](auto done) { renderer->place_blob(61, {0, 0, 4096}, std::move(done)); }));
    destroy_blob(60);
}

TEST(UdmabufTest, WithoutTheDeviceASentenceNamesIt) {
    const auto made = Udmabuf::open("/dev/no-udmabuf");
    ASSERT_FALSE(made);
    EXPECT_NE(made.error().message.find("/dev/no-udmabuf"), std::string::npos);
}

}  // namespace
}  // namespace swede::cross_domain::testing
