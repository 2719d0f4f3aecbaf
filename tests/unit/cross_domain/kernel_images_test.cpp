// SPDX-License-Identifier: Apache-2.0
// What needs a kernel with /dev/udmabuf, and a driver that GBM can use: run in a guest by
// tests/guest/test_vulkan.py, whatever this machine has. By hand, SWEDE_GBM_NODE names a node.
#include <cstdlib>

#include "base/memory_file.h"
#include "cross_domain/gbm_images.h"
#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

constexpr uint64_t kPage = 4096;

Mapping map_all(int fd, uint64_t size) {
    return Mapping::own_file(fd, 0, size, Access::kReadWrite).value();
}

TEST(KernelUdmabuf, IsThePagesOfTheFile) {
    const auto udmabuf = Udmabuf::open();
    ASSERT_TRUE(udmabuf) << udmabuf.error().message;
    const UniqueFd file = create_memfd("file", 16 * kPage).value();
    const auto part = (*udmabuf)->make(file.get(), 4 * kPage, 2 * kPage);
    ASSERT_TRUE(part) << part.error().message;
    const auto memory = examine_memory(part->get());
    ASSERT_TRUE(memory);
    EXPECT_TRUE(memory->is_dma_buf && memory->steady && memory->writable);
    EXPECT_EQ(memory->size, 2 * kPage);

    const Mapping whole = map_all(file.get(), 16 * kPage);
    const Mapping mapped = map_all(part->get(), 2 * kPage);
    whole.bytes()[5 * kPage] = std::byte{7};
    EXPECT_EQ(mapped.bytes()[kPage], std::byte{7});
    mapped.bytes()[1] = std::byte{8};
    EXPECT_EQ(whole.bytes()[4 * kPage + 1], std::byte{8});
    // The window is emptied when a blob leaves it: the compositor keeps the old pages, the next
    // owner has others.
    ASSERT_EQ(
        ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * kPage, 2 * kPage),
        0);
    EXPECT_EQ(whole.bytes()[4 * kPage + 1], std::byte{});
    whole.bytes()[4 * kPage + 1] = std::byte{9};
    EXPECT_EQ(mapped.bytes()[1], std::byte{8});
}

TEST(KernelUdmabuf, RefusesWhatIsNoPartOfTheFile) {
    const auto udmabuf = Udmabuf::open();
    ASSERT_TRUE(udmabuf) << udmabuf.error().message;
    const UniqueFd file = create_memfd("file", 4 * kPage).value();
    EXPECT_FALSE((*udmabuf)->make(file.get(), 3 * kPage, 2 * kPage));
    EXPECT_FALSE((*udmabuf)->make(file.get(), 100, kPage));
    EXPECT_FALSE((*udmabuf)->make(memory_file("may shrink", 0).get(), 0, kPage));
    EXPECT_FALSE((*udmabuf)->make(-1, 0, kPage));
}

struct KernelWindow : CrossDomainTest {
    void SetUp() override {
        auto options = with_static_window({{{ChannelType::kWayland, listener.path()}}});
        ASSERT_TRUE(options) << options.error().message;
        start(*std::move(options));
        connect();
    }
};

/// What a guest draws at vfio-user is what the compositor finds in its pool.
TEST_F(KernelWindow, APoolInAStaticWindow) {
    const UniqueFd window = create_memfd("window", 64 * kPage).value();
    const Mapping view = map_all(window.get(), 64 * kPage);
    const ImageRequirements pool = image(3 * kPage, 1, "R8  ");
    ASSERT_TRUE(create_blob(60, pool.blob_id, pool.size));
    ASSERT_TRUE(wait_for([&](auto done) {
        renderer->place_blob(60, {window.get(), 8 * kPage, pool.size}, std::move(done));
    }));
    ASSERT_TRUE(submit(send("p", {{60, IdentifierType::kVirtgpuBlob}})));
    std::vector<UniqueFd> fds;
    ASSERT_EQ(hear(1, &fds), "p");
    ASSERT_EQ(fds.size(), 1u);
    const Mapping seen = map_all(fds[0].get(), pool.size);
    view.bytes()[10 * kPage + 5] = std::byte{0x77};
    EXPECT_EQ(seen.bytes()[2 * kPage + 5], std::byte{0x77});
    destroy_blob(60);
}

void check_images(CrossDomainTest& test) {
    const ImageRequirements picture = test.image(100, 50, "XR24");
    EXPECT_GE(picture.strides[0], 400u);
    EXPECT_GE(picture.size, uint64_t{picture.strides[0]} * 50);
    ASSERT_TRUE(test.create_blob(60, picture.blob_id, picture.size));
    const Mapping mapping = test.map(60);
    EXPECT_EQ(std::ranges::count(mapping.bytes(), std::byte{}),
              static_cast<ptrdiff_t>(mapping.size()));
    mapping.bytes()[1234] = std::byte{0x42};
    ASSERT_TRUE(test.submit(test.send("p", {{60, IdentifierType::kVirtgpuBlob}})));
    std::vector<UniqueFd> fds;
    ASSERT_EQ(test.hear(1, &fds), "p");
    ASSERT_EQ(fds.size(), 1u);
    const auto memory = examine_memory(fds[0].get());
    ASSERT_TRUE(memory);
    EXPECT_TRUE(memory->is_dma_buf);
    EXPECT_EQ(map_all(fds[0].get(), picture.size).bytes()[1234], std::byte{0x42});
    test.destroy_blob(60);
}

struct KernelImages : CrossDomainTest {};

TEST_F(KernelImages, AreDmaBufsByUdmabuf) {
    const auto udmabuf = Udmabuf::open();
    ASSERT_TRUE(udmabuf) << udmabuf.error().message;
    start({{{ChannelType::kWayland, listener.path()}}, std::make_shared<UdmabufImages>(*udmabuf)});
    connect();
    check_images(*this);
}

TEST_F(KernelImages, AreTheDriversByGbm) {
    const char* const node = std::getenv("SWEDE_GBM_NODE");
    auto gbm = GbmImages::open_node(node == nullptr ? "/dev/dri/card0" : node);
    ASSERT_TRUE(gbm) << gbm.error().message;
    start({{{ChannelType::kWayland, listener.path()}}, *std::move(gbm)});
    connect();
    check_images(*this);
    EXPECT_FALSE(submit(command(Command::kGetImageRequirements, 24, {0, 1, 0x34325258, 0})));
    EXPECT_FALSE(submit(command(Command::kGetImageRequirements, 24, {64, 64, 0x12345678, 0})));
}

}  // namespace
}  // namespace swede::cross_domain::testing
