// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/snapshot.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "transports/c_abi/snapshot_file.h"
#include "transports/c_abi/snapshot_format.h"

namespace swede::c_abi {
namespace {

Result<UniqueFd> open_folder(const char* folder) {
    UniqueFd fd(::open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail_errno("Cannot open the folder of the snapshot", errno);
    return fd;
}

}  // namespace

Result<void> save_snapshot(Instance& instance, const char* folder) {
    SWEDE_TRY(check_savable(instance));
    const UniqueFd directory = SWEDE_TRY(open_folder(folder));
    const UniqueFd file(::openat(directory.get(), snapshot::kFileName,
                                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) {
        if (errno == EEXIST) return fail(ErrorCode::kExists, "The folder has a snapshot already.");
        return fail_errno("Cannot create the snapshot", errno);
    }
    Result<void> written = write_snapshot(instance, file.get());
    if (!written) ::unlinkat(directory.get(), snapshot::kFileName, 0);
    return written;
}

Result<void> load_snapshot(Instance& instance, const char* folder) {
    const UniqueFd directory = SWEDE_TRY(open_folder(folder));
    // Not to be kept waiting by a FIFO.
    const UniqueFd file(::openat(directory.get(), snapshot::kFileName,
                                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) return fail_errno("Cannot open the snapshot", errno);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
        return fail(ErrorCode::kInvalidParameter, "The snapshot is not a regular file.");
    return read_snapshot(instance, file.get(), static_cast<uint64_t>(status.st_size));
}

}  // namespace swede::c_abi
