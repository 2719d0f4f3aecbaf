// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "swede/device_options.h"

namespace swede {

/// Removes the file of a socket of ours when it dies, unless somebody has put another in its place.
class SocketFile {
  public:
    SocketFile() = default;
    /// `path` is a socket that this process has just made.
    explicit SocketFile(std::string path);
    ~SocketFile();
    SocketFile(SocketFile&& other) noexcept;
    SocketFile& operator=(SocketFile&& other) noexcept;

  private:
    void remove();

    std::string path_;  ///< empty: nothing to remove
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

/// The socket on which the device meets its VMM.
struct DeviceSocket {
    UniqueFd fd;
    bool listening = true;  ///< false: connected to one VMM
    std::string where;      ///< for people: "/run/gpu.sock", "file descriptor 3"
    SocketFile file;
};

/// Listens at --socket-path, or takes --fd, or `passed`, the service manager's. An fd that is no
/// Unix stream socket, or is not of the kind that the transport takes, is refused (and left open).
[[nodiscard]] Result<DeviceSocket> open_device_socket(const DeviceOptions& options,
                                                      UniqueFd passed);

}  // namespace swede
