// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "wire/virtio_gpu.h"

namespace swede {
namespace {

Result<int> half(int number) {
    if (number % 2 != 0) return fail(ErrorCode::kInvalidParameter, "{} is odd.", number);
    return number / 2;
}

Result<int> quarter(int number) {
    const int once = SWEDE_TRY(half(number));
    return SWEDE_TRY(half(once));
}

Result<void> check_even(int number) {
    SWEDE_TRY(half(number));
    return {};
}

Result<void> check_two(int first, int second) {
    SWEDE_TRY(check_even(first));
    SWEDE_TRY(check_even(second));
    return {};
}

Result<std::unique_ptr<int>> make(bool works) {
    if (!works) return fail(ErrorCode::kOutOfMemory, "No.");
    return std::make_unique<int>(7);
}

Result<int> use(bool works) {
    const std::unique_ptr<int> made = SWEDE_TRY(make(works));
    return *made;
}

TEST(Result, Try_YieldsTheValue) {
    EXPECT_EQ(quarter(12).value(), 3);
    EXPECT_TRUE(check_two(2, 4));
}

TEST(Result, Try_ReturnsTheErrorUnchanged) {
    const auto result = quarter(6);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidParameter);
    EXPECT_EQ(result.error().message, "3 is odd.");
    EXPECT_EQ(check_two(2, 5).error().message, "5 is odd.");
}

TEST(Result, Try_MovesValuesThatCannotBeCopied) {
    EXPECT_EQ(use(true).value(), 7);
    EXPECT_EQ(use(false).error().code, ErrorCode::kOutOfMemory);
}

TEST(Result, FailErrno_SaysWhatAndWhy) {
    const Error error = fail_errno("Cannot open the door", ENOENT).error();
    EXPECT_EQ(error.code, ErrorCode::kSystem);
    EXPECT_EQ(error.message, "Cannot open the door: No such file or directory");
}

TEST(Result, FailErrno_TellsExhaustionFromFailure) {
    for (const int number : {ENOMEM, EMFILE, ENFILE})
        EXPECT_EQ(fail_errno("Cannot", number).error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(fail_errno("Cannot", EPERM).error().code, ErrorCode::kSystem);
}

// Virtio 1.3, 5.7.6.7: the response types that a driver knows.
TEST(Result, EveryErrorCode_HasItsResponse) {
    EXPECT_EQ(virtio_gpu_response(ErrorCode::kOutOfMemory), wire::kRespErrOutOfMemory);
    EXPECT_EQ(virtio_gpu_response(ErrorCode::kInvalidScanout), wire::kRespErrInvalidScanoutId);
    EXPECT_EQ(virtio_gpu_response(ErrorCode::kInvalidResource), wire::kRespErrInvalidResourceId);
    EXPECT_EQ(virtio_gpu_response(ErrorCode::kInvalidContext), wire::kRespErrInvalidContextId);
    EXPECT_EQ(virtio_gpu_response(ErrorCode::kInvalidParameter), wire::kRespErrInvalidParameter);
    for (const ErrorCode code :
         {ErrorCode::kUnspecified, ErrorCode::kUnsupported, ErrorCode::kDeviceLost,
          ErrorCode::kProtocol, ErrorCode::kClosed, ErrorCode::kSystem})
        EXPECT_EQ(virtio_gpu_response(code), wire::kRespErrUnspec);
}

TEST(Result, EveryErrorCode_HasANameAndAnErrno) {
    for (int code = 0; code <= static_cast<int>(ErrorCode::kSystem); ++code) {
        EXPECT_FALSE(name_of(static_cast<ErrorCode>(code)).empty()) << code;
        EXPECT_GT(errno_of(static_cast<ErrorCode>(code)), 0) << code;
    }
    EXPECT_EQ(errno_of(ErrorCode::kOutOfMemory), ENOMEM);
    EXPECT_EQ(errno_of(ErrorCode::kClosed), EPIPE);
    EXPECT_EQ(name_of(ErrorCode::kDeviceLost), "device lost");
    EXPECT_EQ(name_of(ErrorCode::kSystem), "system error");
}

}  // namespace
}  // namespace swede
