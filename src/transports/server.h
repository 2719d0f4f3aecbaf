// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace swede {

/// A door, for as long as it lives; on the loop's thread. It serves one client at a time, the local
/// socket many. A client that breaks the protocol or goes away is dropped with everything of its
/// guest, and the next one is served. Made by vfio_user::serve(), vhost_user::serve() or
/// local_socket::serve().
class TransportServer {
  public:
    virtual ~TransportServer() = default;
};

}  // namespace swede
