// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace swede {

/// A door that serves one client at a time, for as long as it lives; on the loop's thread. A client
/// that breaks the protocol or goes away is dropped with everything of its guest, and the next one
/// is served. Made by vfio_user::serve() or vhost_user::serve().
class TransportServer {
  public:
    virtual ~TransportServer() = default;
};

}  // namespace swede
