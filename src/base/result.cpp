// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <array>
#include <cerrno>
#include <system_error>

#include "wire/virtio_gpu.h"

namespace swede {
namespace {

struct Row {
    std::string_view name;
    uint32_t response;
    int error_number;
};

/// Indexed by ErrorCode. A kind that never reaches a guest still has a response, so that a mistake
/// shows as RESP_ERR_UNSPEC and not as a hang.
constexpr std::array<Row, 12> kRows{{
    {"unspecified", wire::kRespErrUnspec, EIO},
    {"out of memory", wire::kRespErrOutOfMemory, ENOMEM},
    {"invalid scanout", wire::kRespErrInvalidScanoutId, EINVAL},
    {"invalid resource", wire::kRespErrInvalidResourceId, ENOENT},
    {"invalid context", wire::kRespErrInvalidContextId, ENOENT},
    {"invalid parameter", wire::kRespErrInvalidParameter, EINVAL},
    {"unsupported", wire::kRespErrUnspec, ENOTSUP},
    {"exists", wire::kRespErrUnspec, EEXIST},
    {"device lost", wire::kRespErrUnspec, ENODEV},
    {"protocol error", wire::kRespErrUnspec, EPROTO},
    {"closed", wire::kRespErrUnspec, EPIPE},
    {"system error", wire::kRespErrUnspec, EIO},
}};
static_assert(kRows.size() == static_cast<size_t>(ErrorCode::kSystem) + 1);

const Row& row(ErrorCode code) {
    return kRows[static_cast<size_t>(code)];
}

}  // namespace

std::unexpected<Error> fail_errno(std::string_view what, int error_number) {
    const bool memory = error_number == ENOMEM || error_number == EMFILE || error_number == ENFILE;
    return fail(memory ? ErrorCode::kOutOfMemory : ErrorCode::kSystem, "{}: {}", what,
                std::generic_category().message(error_number));
}

uint32_t virtio_gpu_response(ErrorCode code) {
    return row(code).response;
}
int errno_of(ErrorCode code) {
    return row(code).error_number;
}
std::string_view name_of(ErrorCode code) {
    return row(code).name;
}

}  // namespace swede
