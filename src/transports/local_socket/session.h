// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "renderer_process/start_limit.h"
#include "rutabaga/gpu.h"
#include "transports/local_socket/event_file.h"
#include "transports/local_socket/fence_book.h"
#include "transports/local_socket/local_socket.h"
#include "transports/local_socket/minted_files.h"
#include "virtio/guest_memory.h"
#include "virtio_gpu/completion_queue.h"
#include "wire/local_socket.h"

namespace swede::local_socket {

/// One connection: one open of the render node in one program, with a Gpu, a budget and ids of its
/// own. Owned by the server, on the loop's thread; dies when the program has gone (its socket is
/// closed, or its process has ended), has broken the protocol, or has lost its context, and
/// everything of it dies too.
///
/// Requests are served one after the other: while a renderer's answer is out, nothing more is read
/// from this connection, which is all the flow control that it needs. A wait is not such a request;
/// it is put down and answered later.
class Session : private virtio_gpu::CompletionQueue::Receiver {
  public:
    /// What all sessions share. Outlives them.
    struct Parts {
        EventLoop& loop;
        const Options& options;
        Budget::Limits limits;                      ///< of this one
        std::span<const rutabaga::Capset> capsets;  ///< of the device, in order
        MintedFiles& minted;
    };
    /// Runs on the loop's thread, from inside the session: destroy it later.
    using Ended = std::function<void()>;

    [[nodiscard]] static Result<std::unique_ptr<Session>> create(const Parts& parts, uint64_t id,
                                                                 UniqueFd socket, Ended ended);
    ~Session() override;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

  private:
    /// A row of the table of requests.
    struct Row;
    [[nodiscard]] static std::span<const Row> rows();

    /// A resource as the program knows it.
    struct Known {
        uint32_t blob_mem = 0;             ///< 0: a 3D resource
        uint32_t blob_flags = 0;           ///< of a blob
        uint64_t size = 0;                 ///< bytes
        wire::ResourceCreate3d request{};  ///< of a 3D resource
        std::optional<FileIdentity> file;  ///< once exported, or imported
        uint64_t guest_address = 0;        ///< of the memory that stands for the guest's
        UniqueFd guest_file;               ///< that memory; empty for HOST3D and 3D
        Budget::Charge guest_charge;       ///< its bytes
        Budget::Charge guest_files;        ///< guest_file, and memory_'s of the same
    };
    using Resources = std::unordered_map<rutabaga::ResourceId, Known>;
    enum class ContextState : uint8_t { kNone, kCreating, kLive };

    Session(const Parts& parts, uint64_t id, UniqueFd socket, Ended ended);
    [[nodiscard]] Result<void> start();

    // CompletionQueue::Receiver.
    void on_fence_done(uint64_t ticket) override { fences_.complete(ticket); }
    void on_context_lost(rutabaga::ContextId context, const Error& why) override;
    void on_drained() override { update_watch(); }

    void on_events(uint32_t events);
    [[nodiscard]] Result<void> receive();
    [[nodiscard]] Result<void> dispatch();
    void update_watch();
    void end(const Error& why);

    // Answers. What cannot be sent ends the session.
    void send(wire::local::Report type, uint64_t request,
              std::span<const std::span<const std::byte>> parts, int fd = -1);
    void answer(const wire::local::Answer& body, int fd = -1);
    void answer_wait(uint64_t request);
    void refuse(uint64_t request, const Error& error);

    /// A completion of a renderer's call that the present request waits for. `function` goes on
    /// with the request; its Error is the answer.
    template <typename T, typename Function>
    [[nodiscard]] rutabaga::Completion<T> later(Function function);
    void settle(Result<void> result);
    /// The present request is served, with this result. An Error ends the connection.
    [[nodiscard]] Result<void> finish(Result<void> served);

    /// Makes the context, then goes on with the present request.
    [[nodiscard]] Result<void> create_context(const rutabaga::ContextInfo& info,
                                              std::move_only_function<Result<void>()> then);
    [[nodiscard]] Result<Known*> known(uint32_t resource);
    [[nodiscard]] Result<rutabaga::ResourceId> new_id();
    /// The resource is made: the context may use it, the program hears of it.
    [[nodiscard]] Result<void> enter(rutabaga::ResourceId id, Known entry);
    [[nodiscard]] Result<void> entered(rutabaga::ResourceId id, Known entry, Result<void> attached);
    [[nodiscard]] Result<std::shared_ptr<Backing>> make_guest_memory(Known& entry);
    void drop_guest_memory(const Known& entry);
    [[nodiscard]] Result<void> exported(rutabaga::ResourceId id, rutabaga::SharedMemory memory);
    [[nodiscard]] Result<void> transfer();

    // One for each request; session_requests.cpp. They find it in message_, checked by its row.
    [[nodiscard]] Result<void> hello();
    [[nodiscard]] Result<void> context_init();
    [[nodiscard]] Result<void> create_blob();
    [[nodiscard]] Result<void> create_3d();
    [[nodiscard]] Result<void> map();
    [[nodiscard]] Result<void> execbuffer();
    [[nodiscard]] Result<void> wait();
    [[nodiscard]] Result<void> export_resource();
    [[nodiscard]] Result<void> import_resource();
    [[nodiscard]] Result<void> close_resource();

    template <typename T>
    [[nodiscard]] Result<T> body() const;
    [[nodiscard]] ByteReader payload() const;

    const Parts parts_;
    const uint64_t id_;
    Ended ended_;
    bool ending_ = false;

    std::shared_ptr<virtio_gpu::CompletionQueue> completions_;
    virtio::GuestMemory memory_;
    std::shared_ptr<Budget> budget_;
    std::unique_ptr<rutabaga::Gpu> gpu_;  ///< null until the first context
    std::unique_ptr<EventFile> events_;   ///< null: no ring is polled
    FenceBook fences_;
    ContextState context_ = ContextState::kNone;
    renderer_process::StartLimit contexts_{8, std::chrono::seconds(2)};
    uint32_t num_rings_ = 0;
    uint64_t poll_rings_ = 0;  ///< bit n: fences of ring n are told by events_
    Resources resources_;
    std::unordered_map<FileIdentity, rutabaga::ResourceId, FileIdentityHash> files_;
    uint32_t next_resource_ = 1;
    uint64_t next_address_ = 0;  ///< of guest memory, bytes

    MessageSocket socket_;
    EventLoop::Watch watch_;
    UniqueFd process_;  ///< the program's pidfd; empty: see peer_process()
    EventLoop::Watch process_watch_;
    Message message_;
    wire::local::Header header_{};  ///< of message_
    bool greeted_ = false;
    bool busy_ = false;  ///< a renderer's answer to message_ is out
};

}  // namespace swede::local_socket
