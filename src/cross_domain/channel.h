// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/backing.h"
#include "base/budget.h"
#include "cross_domain/dialect.h"
#include "cross_domain/items.h"
#include "cross_domain/reactor.h"
#include "rutabaga/completion.h"

namespace swede::cross_domain {

/// A file for the host's peer, in the order of the identifiers.
struct OutgoingFile {
    int fd = -1;     ///< to send; borrowed from `owned`, or for the call
    UniqueFd owned;  ///< closed once it is sent
};

/// One context's connection to the host: a socket, and the pipes that passed over it. Commands come
/// from the device thread, events from the reactor's; each does what it can at once and without
/// waiting, under the channel's lock.
///
/// Guest to host nothing holds the guest back, so what the host does not take is kept, bounded; a
/// channel with more is closed. Host to guest each fence of the channel ring asks for one message:
/// nothing is read that no fence asks for, so a slow guest stalls its own compositor connection and
/// costs us nothing. A channel that is dead answers each such fence with the end of the stream.
class Channel : public std::enable_shared_from_this<Channel> {
  public:
    Channel(rutabaga::ContextId context, Reactor& reactor,
            std::shared_ptr<rutabaga::CompletionSink> sink, std::shared_ptr<Budget> budget);
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    // Device thread.

    /// Messages go to the start of `ring` from now on. Takes the place of an earlier one.
    void set_ring(std::shared_ptr<Backing> ring);
    void connect(UniqueFd socket);
    /// The guest is told the end of the stream at its next fence.
    void refuse() { end("there is no connection"); }
    void set_dialect(const Dialect& dialect);

    /// A fence of the channel ring: done once a message is in the ring. More than kMostAsking are
    /// the end of the channel, so that it holds less than an eighth of a queue of 64.
    void ask_for_message(uint64_t ticket);
    static constexpr size_t kMostAsking = 7;
    /// While it is paused, fences wait and the ring is left alone.
    void set_paused(bool paused);
    /// `bytes` may be empty only without files.
    [[nodiscard]] Result<void> send(std::span<const std::byte> bytes,
                                    std::vector<OutgoingFile>& files);
    /// The guest will read what is written into the other end of `read_end`, under its own id.
    /// `read_end` is non-blocking and nobody else's.
    [[nodiscard]] Result<void> add_read_pipe(uint32_t id, UniqueFd read_end);
    [[nodiscard]] Result<void> write(uint32_t id, std::span<const std::byte> bytes, bool hang_up);
    /// The guest wants to read a received event.
    [[nodiscard]] Result<void> read_event(uint32_t id);

    [[nodiscard]] Result<uint32_t> add_template(ImageTemplate image);
    /// What a blob of this id is made of: an image, or memory that is the caller's now.
    [[nodiscard]] Result<std::variant<Image, ReceivedFile>> take_blob(uint32_t id);

    /// The context ends: everything closes, nothing is reported any more.
    void close();

  private:
    struct Unsent {
        std::vector<std::byte> bytes;
        size_t sent = 0;
        std::vector<UniqueFd> files;  ///< that go with the first byte
        Budget::Charge charge;
        Budget::Charge files_charge;
    };

    void on_socket(uint32_t events);
    void on_pipe(uint32_t id, uint32_t events);

    // Under the lock.
    void end(std::string_view why);
    void end_locked(std::string_view why);
    [[nodiscard]] bool is_live() const { return socket_ != nullptr; }
    [[nodiscard]] bool takes_bytes() const { return is_live() && !deaf_; }
    /// The host takes no more; what it said before is still to be read.
    void end_sending(std::string_view why);
    void drop_unsent();
    void update_interest();
    void flush();
    void keep(std::span<const std::byte> bytes, std::span<OutgoingFile> files);
    /// Puts the next message into the ring, if there is one, and takes the fence that asked.
    [[nodiscard]] std::optional<uint64_t> deliver();
    [[nodiscard]] bool next_message();
    [[nodiscard]] bool receive();
    [[nodiscard]] bool next_part();
    void drop_parts();
    void drop_received();
    void close_received(UniqueFd file);
    [[nodiscard]] bool read_pipes();
    [[nodiscard]] bool read_pipe(uint32_t id, HostPipe& pipe);
    void write_receive(std::span<std::byte> message, size_t bytes, std::span<UniqueFd> files);
    void write_ring(std::span<const std::byte> message);
    [[nodiscard]] Result<void> identify(UniqueFd file, uint32_t& id, uint32_t& type,
                                        uint32_t& size);
    /// Lets the reactor watch the pipe, once it has its id.
    void watch_pipe(uint32_t id, const std::shared_ptr<HostPipe>& pipe, UniqueFd fd);
    void flush_pipe(uint32_t id, HostPipe& pipe);
    /// As ::write() of one event.
    [[nodiscard]] ssize_t signal(const HostPipe& pipe, std::span<const std::byte> bytes);
    void update_pipe_interest(HostPipe& pipe);
    void drop_pipe(uint32_t id);
    /// Delivers what there is to the fences that ask, outside the lock. False: nothing.
    bool serve();
    void serve_and_listen();

    const rutabaga::ContextId context_;
    Reactor& reactor_;
    const std::shared_ptr<rutabaga::CompletionSink> sink_;
    const std::shared_ptr<Budget> budget_;

    std::mutex mutex_;  ///< guards all below; held for bounded work only
    bool closed_ = false;
    bool paused_ = false;
    Dialect dialect_;
    std::shared_ptr<Backing> ring_;
    Items items_;
    std::vector<uint64_t> asking_;  ///< tickets of fences that ask for a message; seldom two

    std::shared_ptr<WatchedFd> socket_;  ///< null: not connected, or dead
    bool dead_ = false;                  ///< there was a connection, or an attempt
    bool deaf_ = false;                  ///< the host takes nothing more from the socket
    bool readable_ = false;              ///< there was something to read and nobody who asked
    std::deque<Unsent> unsent_;
    size_t unsent_bytes_ = 0;
    size_t unsent_files_ = 0;

    // What was received and is more than one message may carry.
    std::vector<std::byte> part_bytes_;
    size_t part_taken_ = 0;
    std::deque<UniqueFd> part_files_;
    std::vector<UniqueFd> received_;  ///< of the call; kept for its memory
    Budget::Charge received_charge_;  ///< of both

    std::vector<uint32_t> reading_;  ///< ids of pipes the guest reads, in turn
    size_t next_reading_ = 0;
};

}  // namespace swede::cross_domain
