// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "fd.h"
#include "wire/local_socket.h"

namespace swede::shim {

struct Capset {
    uint32_t id = 0;
    uint32_t version = 0;
    std::vector<std::byte> data;
};

/// What an ioctl says: a value, or the errno.
template <typename T = void>
using Outcome = std::expected<T, int>;

/// One connection to the device: the other end of local_socket's Session. Requests of any thread
/// go out whole and in order; of the threads that wait for answers, one reads for all. Owned by its
/// Node; used by all threads of the program. Never outlives a fork: a child makes its own.
class Connection {
  public:
    /// Connects to SWEDE_SOCKET and greets. Says on stderr why it cannot, once for each program.
    [[nodiscard]] static Outcome<std::unique_ptr<Connection>> open();

    using Request = wire::local::Request;
    struct Reply {
        wire::local::Answer answer{};
        Fd fd;
    };
    /// Sends `parts` (`fd` is borrowed) and waits for the answer; its errno when it is an error,
    /// EIO when the context is lost.
    [[nodiscard]] Outcome<Reply> call(Request type,
                                      std::span<const std::span<const std::byte>> parts,
                                      int fd = -1);
    /// A request without an answer.
    [[nodiscard]] Outcome<> post(Request type, std::span<const std::span<const std::byte>> parts,
                                 int fd = -1);

    [[nodiscard]] std::span<const Capset> capsets() const { return capsets_; }
    [[nodiscard]] Outcome<uint32_t> param(uint64_t number) const;

    /// For poll(): hangs up when the device has ended the connection.
    [[nodiscard]] int socket() const { return socket_.get(); }
    /// The device has ended the connection: everybody who waits is told.
    void set_lost();
    [[nodiscard]] bool lost();

  private:
    struct Incoming {
        wire::local::Header header{};
        std::vector<std::byte> bytes;
        Fd fd;
    };
    struct Waiting {
        uint64_t request;
        bool answered = false;
        Reply reply;
    };

    explicit Connection(Fd socket) : socket_(std::move(socket)) {}
    [[nodiscard]] Outcome<> greet();
    [[nodiscard]] Outcome<> take_welcome(std::span<const std::byte> bytes);
    [[nodiscard]] Outcome<> send(Request type, uint64_t number,
                                 std::span<const std::span<const std::byte>> parts, int fd);
    [[nodiscard]] Outcome<Incoming> receive();
    [[nodiscard]] bool read_whole(void* to, size_t size, Fd& fd);
    void deliver(Incoming incoming);  ///< mutex_ is held

    Fd socket_;
    std::vector<Capset> capsets_;
    std::vector<wire::local::Param> params_;

    std::mutex send_mutex_;  ///< whole messages
    std::mutex mutex_;       ///< guards what follows
    std::condition_variable changed_;
    std::list<Waiting*> waiting_;
    uint64_t next_request_ = 1;
    bool reading_ = false;  ///< a thread reads for all
    bool lost_ = false;
};

template <typename T>
[[nodiscard]] std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

}  // namespace swede::shim
