// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace swede {

/// A listening SOCK_STREAM socket at `path`, non-blocking, for this user alone (mode 0600). A
/// socket file that nobody listens on any more is replaced; any other file is left and refused.
[[nodiscard]] Result<UniqueFd> listen_unix(const std::string& path);
/// Blocking; for our own programs (`swede control`), never for a path that a guest chose (I12).
[[nodiscard]] Result<UniqueFd> connect_unix(const std::string& path);
/// One connection, made non-blocking and close-on-exec. Empty fd when none is waiting.
[[nodiscard]] Result<UniqueFd> accept_unix(int listener);
[[nodiscard]] Result<void> set_nonblocking(int fd);
/// A pidfd, readable once the process that connected has ended. kClosed: it has ended already.
/// Empty before Linux 6.5 for one whose pid namespace is not ours or below ours: nothing tells its
/// end there.
[[nodiscard]] Result<UniqueFd> peer_process(int socket);
/// Refuses a peer's fd that is no Unix stream socket: a MessageSocket on it would fail at each use.
[[nodiscard]] Result<void> check_unix_stream(int fd);
/// Refuses a Unix socket whose other end another process made than that of `connection`, as far as
/// process numbers tell (in all pid namespaces beside ours it is 0): what is written there would
/// reach somebody in our name.
[[nodiscard]] Result<void> check_same_peer(int fd, int connection);

/// A whole message of a peer: private bytes, and the fds that came with them.
struct Message {
    std::vector<std::byte> bytes;  ///< header and payload
    std::vector<UniqueFd> fds;
};

/// Messages of a header and a payload, with fds, over a non-blocking SOCK_STREAM socket.
///
/// Used for vfio-user, vhost-user (main, back-end and display channel) and the renderer process.
/// Reads exactly one header, then exactly its payload, so that fds stay with their message (Linux
/// may join the bytes of neighbours in one longer read). Sends what the kernel takes and keeps the
/// rest, bounded: nothing here blocks. Owned by one thread.
class MessageSocket {
  public:
    struct Limits {
        size_t header_size;  ///< bytes, the same for every message
        size_t max_payload;  ///< bytes
        size_t max_fds;      ///< in one message
        size_t max_unsent;   ///< bytes kept when the peer does not read; more ends the connection
    };
    /// The payload's size in bytes as the header claims it; an Error ends the connection.
    using PayloadSize = Result<uint64_t> (*)(std::span<const std::byte> header);

    MessageSocket(UniqueFd fd, const Limits& limits, PayloadSize payload_size);

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// The connection's socket, for who ends it without a wait; nothing else is called afterwards.
    [[nodiscard]] UniqueFd release() { return std::move(fd_); }

    /// True: `message` holds a whole message (its memory is reused by the next call). False:
    /// nothing more to read now. kClosed: the peer is gone; kProtocol: the peer broke a limit
    /// above. Files that came before an error, or are still in `message`, are closed elsewhere.
    [[nodiscard]] Result<bool> receive(Message& message);

    /// Sends `parts` as one message. `fds` are borrowed; they are duplicated if they must wait. An
    /// error means that the message, or a part of it, is lost: the connection must end.
    [[nodiscard]] Result<void> send(std::span<const std::span<const std::byte>> parts,
                                    std::span<const int> fds = {});
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes,
                                    std::span<const int> fds = {}) {
        return send(std::span(&bytes, 1), fds);
    }

    /// Goes on with what is unsent; call it when the fd is writable and unsent() is not 0.
    [[nodiscard]] Result<void> flush();
    [[nodiscard]] size_t unsent() const { return unsent_; }

  private:
    struct Pending {
        std::vector<std::byte> bytes;
        size_t sent = 0;
        std::vector<UniqueFd> fds;
    };
    [[nodiscard]] Result<bool> receive_whole(Message& message);
    [[nodiscard]] Result<size_t> read_some(Message& message, size_t up_to);

    UniqueFd fd_;
    Limits limits_;
    PayloadSize payload_size_;
    size_t received_ = 0;  ///< bytes of the message being read
    size_t wanted_;        ///< its bytes as known by now: header, then header and payload
    std::deque<Pending> pending_;
    size_t unsent_ = 0;      ///< bytes
    size_t unsent_fds_ = 0;  ///< duplicates in pending_
};

}  // namespace swede
