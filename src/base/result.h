// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace swede {

/// What kind of failure an Error is. One table in result.cpp maps each kind to the virtio-gpu
/// response it becomes and to a C errno; nothing else in the project translates errors.
enum class ErrorCode : uint8_t {
    kUnspecified,       ///< RESP_ERR_UNSPEC, EIO
    kOutOfMemory,       ///< RESP_ERR_OUT_OF_MEMORY, ENOMEM: a budget or the host ran out
    kInvalidScanout,    ///< RESP_ERR_INVALID_SCANOUT_ID, EINVAL
    kInvalidResource,   ///< RESP_ERR_INVALID_RESOURCE_ID, ENOENT
    kInvalidContext,    ///< RESP_ERR_INVALID_CONTEXT_ID, ENOENT
    kInvalidParameter,  ///< RESP_ERR_INVALID_PARAMETER, EINVAL
    kUnsupported,       ///< RESP_ERR_UNSPEC, ENOTSUP: a command or message that is not offered
    kExists,            ///< RESP_ERR_UNSPEC, EEXIST: the range or name is taken
    kDeviceLost,        ///< RESP_ERR_UNSPEC, ENODEV: the renderer that held the object is gone
    kProtocol,          ///< a peer broke its protocol; its connection ends (EPROTO)
    kClosed,            ///< a peer closed its connection (EPIPE)
    kSystem,            ///< a system call failed (EIO)
};

/// A failure as a value: what kind, and one present-tense sentence with the values in it, such as
/// "Offset (12) is past the end (8) of resource 3."
struct Error {
    ErrorCode code = ErrorCode::kUnspecified;
    std::string message;
};

template <typename T = void>
using Result = std::expected<T, Error>;

/// Builds the unexpected side of a Result.
template <typename... Args>
[[nodiscard]] std::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format,
                                          Args&&... args) {
    return std::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

/// As fail(), for a system call that just failed: appends the text of `error_number` (errno).
[[nodiscard]] std::unexpected<Error> fail_errno(std::string_view what, int error_number);

/// The virtio-gpu response type (VIRTIO_GPU_RESP_ERR_*, virtio 1.3 section 5.7.6.7).
[[nodiscard]] uint32_t virtio_gpu_response(ErrorCode code);

/// The positive errno that the C interface returns negated.
[[nodiscard]] int errno_of(ErrorCode code);

[[nodiscard]] std::string_view name_of(ErrorCode code);

}  // namespace swede

/// Evaluates a Result; on failure returns its Error from the enclosing function, else yields its
/// value. __extension__ keeps -Wpedantic quiet about the statement expression.
#define SWEDE_TRY(expression)                                            \
    __extension__({                                                      \
        auto swede_try_result = (expression);                            \
        if (!swede_try_result) [[unlikely]]                              \
            return std::unexpected(std::move(swede_try_result).error()); \
        ::swede::detail::take(std::move(swede_try_result));              \
    })

namespace swede::detail {
template <typename T>
T take(std::expected<T, Error>&& result) {
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}
}  // namespace swede::detail
