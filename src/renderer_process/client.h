// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "renderer_process/backing_ids.h"
#include "renderer_process/child_process.h"
#include "renderer_process/messages.h"
#include "renderer_process/pending_fences.h"
#include "renderer_process/start_limit.h"
#include "rutabaga/renderer.h"
#include "virtio/guest_memory.h"

namespace swede::renderer_process {

/// What the renderer processes of one program offer. Shared by the RendererProcesses of many
/// guests: the first process that says it is waited for, and later guests start theirs with their
/// first context. Device thread only.
struct Offer {
    bool known = false;
    bool owns_3d = false;
    std::vector<rutabaga::Capset> capsets;
    /// Killed processes of guests that have gone, with a thread each that waits for the end (any
    /// thread). With kMaxReaped of them no process starts: guests that come and go could start them
    /// faster than a driver lets go of a GPU.
    static constexpr size_t kMaxReaped = 128;
    std::shared_ptr<std::atomic<size_t>> reaped = std::make_shared<std::atomic<size_t>>(0);
};

/// Deadlines and bounds of one renderer process. Zero is no special value.
struct ClientOptions {
    /// Starts a process that serves renderers on its socket (server.h).
    std::function<Result<ChildProcess>()> start;
    /// Null: create() starts a process and asks it. Else it does so once for all that share it.
    std::shared_ptr<Offer> offer;
    /// From the start to its first word. Only the first process is waited for, in create().
    std::chrono::milliseconds start_deadline{5'000};
    /// From a request to its answer; and for a full socket, to the renderer's next read.
    std::chrono::milliseconds request_deadline{10'000};
    /// With exit_limit, less than the second in which a reset must be over (decision 8).
    std::chrono::milliseconds reset_deadline{700};
    /// For the kernel to end a killed process, before its requests are answered nevertheless.
    std::chrono::milliseconds exit_limit{250};
    /// The destructor waits for no process; a thread does that. For a device of many guests, which
    /// come and go beside one another; with an offer, which counts these threads.
    bool reap_in_background = false;
    /// A fence may be out as long as its work takes; after each such time we ask whether the
    /// process still answers.
    std::chrono::milliseconds fence_limit{20'000};
    /// A guest can end its renderer as fast as that starts, and each start costs the host some
    /// milliseconds: so many in a row are possible beside the first, and one more for each interval
    /// that passes. A context that comes too early is OUT_OF_MEMORY.
    uint32_t start_burst = 8;
    std::chrono::milliseconds start_interval{2'000};
    /// Bytes that may wait for the renderer, at most 64 MiB; over it the guest's command is
    /// OUT_OF_MEMORY.
    size_t max_queued = size_t{32} << 20;
    /// Bytes of one SUBMIT_3D; QEMU's own device has the same limit.
    size_t max_commands = size_t{4} << 20;
};

/// A Renderer whose contexts live in another process (decision 8): the stub on the device thread.
///
/// What the process says is hostile: it is checked, and a process that breaks the protocol, ends,
/// or leaves a request unanswered is killed. Then every request that is out is answered
/// kDeviceLost, its contexts are reported lost, its fences are reported done, and the next context
/// gets a new process (start_burst bounds how often). Answers wait until the kernel has ended the
/// process, so that whoever hears "displaced" knows that nothing writes there any more.
///
/// Nothing here blocks the device thread, with three short exceptions: create() waits for the first
/// process, a later start takes the few milliseconds of posix_spawn, and the destructor waits (at
/// most exit_limit, or not at all with reap_in_background) for the end of a process that it killed.
/// Guest RAM that the VMM takes away is revoked in the process asynchronously, within
/// request_deadline at the latest.
class RendererProcess final : public rutabaga::Renderer, private virtio::GuestMemory::Observer {
  public:
    /// Starts the first process and hears its capsets, if they are not known yet. `loop` and
    /// `memory` outlive the renderer.
    [[nodiscard]] static Result<std::unique_ptr<RendererProcess>> create(
        EventLoop& loop, virtio::GuestMemory& memory,
        std::shared_ptr<rutabaga::CompletionSink> sink, ClientOptions options);
    ~RendererProcess() override;

    [[nodiscard]] std::span<const rutabaga::Capset> capsets() const override { return capsets_; }
    [[nodiscard]] bool owns_3d_resources() const override { return owns_3d_; }
    void create_context(rutabaga::ContextId context, const rutabaga::ContextInfo& info,
                        rutabaga::Completion<> done) override;
    void destroy_context(rutabaga::ContextId context, rutabaga::Completion<> done) override;
    void attach_resource(rutabaga::ContextId context, rutabaga::ResourceId resource,
                         const rutabaga::AttachedResource& view) override;
    void detach_resource(rutabaga::ContextId context, rutabaga::ResourceId resource) override;
    void create_blob(rutabaga::ContextId context, rutabaga::ResourceId resource,
                     const rutabaga::BlobRequest& request, std::shared_ptr<Backing> backing,
                     rutabaga::Completion<rutabaga::BlobInfo> done) override;
    void create_3d(rutabaga::ResourceId resource, const wire::ResourceCreate3d& request,
                   rutabaga::Completion<> done) override;
    void import_3d(rutabaga::ResourceId resource, const wire::ResourceCreate3d& request,
                   rutabaga::SharedMemory memory, rutabaga::Completion<> done) override;
    void attach_backing(rutabaga::ResourceId resource, std::shared_ptr<Backing> backing) override;
    void detach_backing(rutabaga::ResourceId resource) override;
    void destroy_resource(rutabaga::ResourceId resource, rutabaga::Completion<> done) override;
    void settle_detaches(rutabaga::Completion<> done) override;
    void export_blob(rutabaga::ResourceId resource,
                     rutabaga::Completion<rutabaga::SharedMemory> done) override;
    void place_blob(rutabaga::ResourceId resource, const rutabaga::WindowRange& range,
                    rutabaga::Completion<> done) override;
    void displace_blob(rutabaga::ResourceId resource, rutabaga::Completion<> done) override;
    void transfer_to_host(rutabaga::ContextId context, rutabaga::ResourceId resource,
                          const wire::TransferHost3d& transfer,
                          rutabaga::Completion<> done) override;
    void transfer_from_host(rutabaga::ContextId context, rutabaga::ResourceId resource,
                            const wire::TransferHost3d& transfer,
                            rutabaga::Completion<> done) override;
    [[nodiscard]] Result<void> submit(rutabaga::ContextId context, std::optional<uint8_t> ring,
                                      std::span<const std::byte> commands) override;
    void create_fence(const rutabaga::Fence& fence) override;
    void reset(rutabaga::Completion<> done) override;

    // What tests and logs look at.
    [[nodiscard]] pid_t process_id() const {
        return child_ ? child_->process.pid : 0;
    }  ///< 0: none
    [[nodiscard]] size_t ending_processes() const { return ending_.size(); }
    [[nodiscard]] size_t pending_requests() const { return requests_.size(); }
    [[nodiscard]] size_t pending_fences() const { return fences_.size(); }
    [[nodiscard]] size_t queued_bytes() const { return child_ ? child_->socket.unsent() : 0; }

  private:
    using Clock = std::chrono::steady_clock;
    using Task = std::move_only_function<void()>;

    /// What hears the answer to a request; nothing for our own (ping, region removal).
    using Waiter = std::variant<std::monostate, rutabaga::Completion<>,
                                rutabaga::Completion<rutabaga::BlobInfo>,
                                rutabaga::Completion<rutabaga::SharedMemory>>;
    struct PendingRequest {
        Request type;
        uint32_t object;     ///< id of the context or resource that it creates or exports, or 0
        uint64_t blob_size;  ///< bytes, of an export; 0 for a 3D resource
        Clock::time_point deadline;
        Waiter waiter;
    };

    /// The process that serves now.
    struct Child {
        explicit Child(ChildProcess started);
        ChildProcess process;  ///< its socket has moved into `socket`
        MessageSocket socket;
        EventLoop::Watch socket_watch;
        uint64_t generation = 0;
        bool said_hello = false;
        Clock::time_point hello_deadline;
        std::optional<Clock::time_point> stalled_since;  ///< it has not read since
        // A process may say each of these once for each that it was given.
        uint64_t fences_given = 0;
        uint64_t fences_reported = 0;
        uint64_t contexts_given = 0;
        uint64_t contexts_reported = 0;
    };

    /// One that was killed, or ended, and is not reaped.
    struct Ending {
        ChildProcess process;
        uint64_t generation;
        EventLoop::Watch exit_watch;
        std::unique_ptr<EventLoop::Timer> limit;
        std::vector<Task> answers;  ///< to give when it has ended
        bool given_up = false;      ///< exit_limit has passed
    };
    using EndingPosition = std::list<Ending>::iterator;

    struct ContextState {
        uint64_t generation;
        bool lost = false;
    };
    struct ResourceState {
        uint64_t generation;
        uint64_t size = 0;     ///< bytes, of a blob; of a 3D resource 0
        uint64_t backing = 0;  ///< id, or 0
    };

    RendererProcess(EventLoop& loop, virtio::GuestMemory& memory,
                    std::shared_ptr<rutabaga::CompletionSink> sink, ClientOptions options);

    // The process: client_life.cpp.
    [[nodiscard]] Result<void> start_child();
    /// As start_child() where the guest is why: within its limit. Nothing when there is a process.
    [[nodiscard]] Result<void> want_child();
    [[nodiscard]] Result<void> wait_for_hello();
    /// Ends the process that serves now; what was asked of it is answered kDeviceLost.
    void lose_child(const Error& why);
    [[nodiscard]] EndingPosition end_process(ChildProcess process, uint64_t generation);
    void process_ended(EndingPosition ending);
    void give_up(EndingPosition ending);
    [[nodiscard]] bool all_ended() const;
    /// Runs once the process of that generation has ended: at once if it has.
    void after_end(uint64_t generation, Task task);
    void finish_reset_if_over();
    void check_deadlines();
    void wake_at(Clock::time_point when);

    // What it says: client_messages.cpp.
    void socket_ready(uint32_t events);
    void flush();
    void receive_messages();
    [[nodiscard]] Result<void> handle(Message& message);
    [[nodiscard]] Result<void> handle_hello(ByteReader payload);
    [[nodiscard]] Result<void> handle_answer(uint64_t number, ByteReader payload,
                                             std::vector<UniqueFd>& fds);
    [[nodiscard]] Result<void> handle_fences_done(ByteReader payload);
    [[nodiscard]] Result<void> handle_context_lost(ByteReader payload);
    /// Checks a success as far as the request's kind goes, and passes it on.
    [[nodiscard]] Result<void> succeed(PendingRequest& request, const Answer& answer,
                                       std::vector<UniqueFd>& fds);
    /// Undoes what the call put down, and yields what tells its caller.
    [[nodiscard]] Task failure_of(PendingRequest request, Error why);

    // Sending: client.cpp.
    [[nodiscard]] bool room_for(size_t bytes) const;
    /// One message; the process is lost when it cannot be sent.
    bool send(Request type, uint64_t number, std::span<const std::byte> body,
              std::span<const std::byte> tail = {}, int fd = -1);
    /// A request with an answer, to a process that lives.
    void ask(Request type, std::span<const std::byte> body, Waiter waiter, uint32_t object = 0,
             uint64_t blob_size = 0, int fd = -1);
    void send_region(const MemoryRegion& region);
    /// Gives the backing an id, telling the process if it does not know it. 0 for null.
    [[nodiscard]] Result<uint64_t> use_backing(const std::shared_ptr<Backing>& backing);
    void unuse_backing(uint64_t id);
    void lose_context(rutabaga::ContextId context, const Error& why);
    /// Whether it is the process of that generation that serves now.
    [[nodiscard]] bool serves(uint64_t generation) const {
        return child_ && child_->generation == generation;
    }
    [[nodiscard]] bool is_alive(rutabaga::ContextId context) const;
    /// Null, and the call answered with an error, when the resource is not in the process that
    /// serves now.
    template <typename T>
    ResourceState* living_resource(rutabaga::ResourceId resource, rutabaga::Completion<T>& done);
    void transfer(Request type, rutabaga::ContextId context, rutabaga::ResourceId resource,
                  const wire::TransferHost3d& transfer, rutabaga::Completion<> done);

    // GuestMemory::Observer.
    void region_added(const std::shared_ptr<const MemoryRegion>& region) override;
    void region_removed(const MemoryRegion& region) override;

    EventLoop& loop_;
    virtio::GuestMemory& memory_;
    std::shared_ptr<rutabaga::CompletionSink> sink_;
    const ClientOptions options_;
    bool offer_known_ = false;
    std::vector<rutabaga::Capset> capsets_;
    bool owns_3d_ = false;

    std::unique_ptr<Child> child_;  ///< null: the next context starts one
    StartLimit starts_;
    std::list<Ending> ending_;
    uint64_t generations_ = 0;
    Error lost_because_;  ///< the last process that was lost
    Message message_;     ///< being received; kept for its memory

    uint64_t next_request_ = 1;
    uint64_t first_request_ = 1;  ///< answers to earlier ones belong to an old epoch
    std::map<uint64_t, PendingRequest> requests_;  ///< by number, so the oldest is first
    std::vector<Task> before_reset_;  ///< answers of the old epoch, given when the reset is over
    std::vector<rutabaga::Completion<>> resets_;  ///< that wait
    std::unordered_map<rutabaga::ContextId, ContextState> contexts_;
    std::unordered_map<rutabaga::ResourceId, ResourceState> resources_;
    /// Ids of the backings that contexts see through resources.
    std::map<std::pair<rutabaga::ContextId, rutabaga::ResourceId>, uint64_t> attachments_;
    BackingIds backings_;
    PendingFences fences_;
    Clock::time_point asked_alive_at_{};  ///< when the last ping was sent
    bool ping_out_ = false;
    EventLoop::Timer timer_;
    std::optional<Clock::time_point> timer_due_;
    std::vector<Segment> segments_;  ///< being sent; kept for its memory
};

}  // namespace swede::renderer_process
