// SPDX-License-Identifier: Apache-2.0
// What blobs cost a guest, through the Gpu that a device has.
#include "rutabaga/gpu.h"

#include "guest.h"
#include "whole_files.h"

namespace swede::cross_domain::testing {
namespace {

struct GpuTest : CrossDomainTest {
    std::shared_ptr<WholeFiles> udmabuf = std::make_shared<WholeFiles>();
    std::unique_ptr<rutabaga::Gpu> gpu;

    ~GpuTest() override { gpu.reset(); }

    /// With a context that only allocates.
    void start_gpu(Options options) {
        start(std::move(options));
        std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
        renderers.push_back(std::move(renderer));
        gpu = std::make_unique<rutabaga::Gpu>(budget, sink, std::move(renderers));
        ASSERT_TRUE(wait_for([&](auto done) { gpu->create_context(1, {5, ""}, std::move(done)); }));
        ASSERT_TRUE(wait_for([&](auto done) {
            gpu->create_blob(0, kQueryRing, {wire::kBlobMemGuest, 1, 0, 4096}, query,
                             std::move(done));
        }));
        ASSERT_TRUE(gpu->attach_resource(1, kQueryRing));
        ASSERT_TRUE(
            gpu->submit(1, std::nullopt, command(Command::kInit, 20, {kQueryRing, kQueryRing, 0})));
    }
    [[nodiscard]] ImageRequirements ask_image(uint32_t width, uint32_t height, uint32_t format) {
        EXPECT_TRUE(gpu->submit(
            1, std::nullopt,
            command(Command::kGetImageRequirements, 24, {width, height, format, 0x11})));
        ImageRequirements requirements;
        EXPECT_TRUE(query->read(0, std::as_writable_bytes(std::span(&requirements, 1))));
        return requirements;
    }
    [[nodiscard]] Result<void> make(uint32_t resource, const ImageRequirements& image) {
        return wait_for([&](auto done) {
            gpu->create_blob(1, resource, {wire::kBlobMemHost3d, 3, image.blob_id, image.size},
                             nullptr, std::move(done));
        });
    }
    [[nodiscard]] Result<void> destroy(uint32_t resource) {
        return wait_for([&](auto done) { gpu->destroy_resource(resource, std::move(done)); });
    }
    /// A picture and a pool cost what they have.
    void expect_single_charges() {
        for (const uint32_t format : {0x34325258u, 0x20203852u}) {  // XR24, R8
            const ImageRequirements asked = ask_image(64, format == 0x20203852 ? 1 : 64, format);
            const uint64_t before = budget->used(BudgetKind::kHostBytes);
            ASSERT_TRUE(make(60, asked));
            EXPECT_EQ(budget->used(BudgetKind::kHostBytes), before + asked.size);
            ASSERT_TRUE(destroy(60));
            EXPECT_EQ(budget->used(BudgetKind::kHostBytes), before);
        }
    }
};

TEST_F(GpuTest, AMemoryFileIsChargedOnce) {
    start_gpu({});
    expect_single_charges();
}

TEST_F(GpuTest, ADmaBufIsChargedOnce) {
    start_gpu({{}, std::make_shared<UdmabufImages>(udmabuf)});
    expect_single_charges();
}

TEST_F(GpuTest, ABlobForAWindowIsChargedOnce) {
    start_gpu({{}, std::make_shared<UdmabufImages>(udmabuf), udmabuf});
    expect_single_charges();
}

TEST_F(GpuTest, ABlobOverTheLimitIsOutOfMemory) {
    start_gpu({});
    const auto made = make(60, ask_image(UINT32_MAX, 1, 0x20203852));
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ErrorCode::kOutOfMemory);
}

/// udmabuf pins its pages: nothing is made that the guest may not have.
TEST_F(GpuTest, AnImageOverTheLimitIsNotMade) {
    start_gpu({{}, std::make_shared<UdmabufImages>(udmabuf)});
    const ImageRequirements picture = ask_image(64, 64, 0x34325258);
    const auto rest =
        budget->charge(BudgetKind::kHostBytes, budget->limit(BudgetKind::kHostBytes) -
                                                   budget->used(BudgetKind::kHostBytes) - 4096);
    ASSERT_TRUE(rest);
    EXPECT_FALSE(make(60, picture));
    EXPECT_EQ(udmabuf->last_size, 0u);
}

}  // namespace
}  // namespace swede::cross_domain::testing
