// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/image_requirements.h"

#include <gtest/gtest.h>

#include <cstring>

#include "guest.h"

namespace swede::cross_domain::testing {
namespace {

Result<ImageRequirements> ask(uint32_t width, uint32_t height, const char (&format)[5]) {
    GetImageRequirements request{};
    request.width = width;
    request.height = height;
    std::memcpy(&request.drm_fourcc, format, 4);
    return image_requirements(request);
}

TEST(ImageRequirements, PackedFormats) {
    const auto image = ask(33, 10, "AR24");
    ASSERT_TRUE(image);
    EXPECT_EQ(image->strides[0], 132u);
    EXPECT_EQ(image->offsets[0], 0u);
    EXPECT_EQ(image->size, 4096u);
    EXPECT_EQ(image->modifier, 0u);
    EXPECT_EQ(image->memory_index, -1);
    EXPECT_EQ(ask(100'000, 1, "R8  ")->size, 102'400u);
    EXPECT_EQ(ask(10, 10, "RG16")->strides[0], 20u);
    EXPECT_EQ(ask(10, 10, "BG24")->strides[0], 30u);
    EXPECT_EQ(ask(10, 10, "AB4H")->strides[0], 80u);
}

TEST(ImageRequirements, Planes) {
    const auto nv12 = ask(64, 48, "NV12");
    ASSERT_TRUE(nv12);
    EXPECT_EQ(nv12->strides, (std::array<uint32_t, 4>{64, 64, 0, 0}));
    EXPECT_EQ(nv12->offsets, (std::array<uint32_t, 4>{0, 3072, 0, 0}));
    const auto yv12 = ask(64, 48, "YV12");
    ASSERT_TRUE(yv12);
    EXPECT_EQ(yv12->strides, (std::array<uint32_t, 4>{64, 32, 32, 0}));
    EXPECT_EQ(yv12->offsets, (std::array<uint32_t, 4>{0, 3072, 3840, 0}));
    // An odd picture has room for its last sample.
    EXPECT_EQ(ask(3, 3, "NV12")->strides[1], 4u);
    EXPECT_EQ(ask(4095, 2, "NV12")->size, 12'288u);
}

TEST(ImageRequirements, WhatCannotBe) {
    EXPECT_FALSE(ask(0, 1, "R8  "));
    EXPECT_FALSE(ask(1, 0, "R8  "));
    EXPECT_FALSE(ask(1, 1, "????"));
    EXPECT_FALSE(ask(UINT32_MAX, UINT32_MAX, "AR24"));
    EXPECT_FALSE(ask(UINT32_MAX, 2, "NV12")) << "the second plane's offset does not fit";
    EXPECT_TRUE(ask(UINT32_MAX, 1, "R8  "));
}

using ImageTest = CrossDomainTest;

/// rutabaga_gfx keeps one item for each question.
TEST_F(ImageTest, TheSameQuestionGetsTheSameAnswer) {
    create_context();
    ASSERT_TRUE(submit(init(0)));
    const uint32_t first = image(64, 64, "XR24").blob_id;
    const uint64_t used = budget->used(BudgetKind::kHostBytes);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(image(64, 64, "XR24").blob_id, first);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), used);
    EXPECT_NE(image(64, 65, "XR24").blob_id, first);
    EXPECT_GE(first, 2u);
}

TEST_F(ImageTest, QuestionsAreCounted) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(BudgetKind::kHostBytes)] = 2560;
    renderer.reset();
    budget = Budget::create(limits);
    start({});
    create_context();
    ASSERT_TRUE(submit(init(0)));
    uint32_t code;
    std::memcpy(&code, "R8  ", 4);
    Result<void> asked;
    uint32_t count = 0;
    for (; count < 100 && asked; ++count)
        asked = submit(command(Command::kGetImageRequirements, 24, {count + 1, 1, code, 0}));
    EXPECT_EQ(count, 11u);
    EXPECT_EQ(asked.error().code, ErrorCode::kOutOfMemory);
}

TEST_F(ImageTest, ABlobOfAnotherIdIsRefused) {
    create_context();
    ASSERT_TRUE(submit(init(0)));
    const auto large = image(4096, 1, "R8  ");
    EXPECT_FALSE(create_blob(51, 0, 4096));
    EXPECT_FALSE(create_blob(52, uint64_t{large.blob_id} << 32, 4096));
}

TEST_F(ImageTest, WithoutInitThereIsNoAnswer) {
    create_context();
    EXPECT_FALSE(submit(command(Command::kGetImageRequirements, 24, {1, 1, 0x20203852, 0})));
}

}  // namespace
}  // namespace swede::cross_domain::testing
