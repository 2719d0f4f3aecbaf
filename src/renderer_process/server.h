// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "renderer_process/guest_regions.h"
#include "renderer_process/messages.h"
#include "renderer_process/report_sink.h"
#include "renderer_process/sandbox.h"
#include "rutabaga/renderer.h"

namespace swede::renderer_process {

/// Makes the renderers of a renderer process. They report to `sink`, from any thread.
using ServedRenderers = std::function<Result<std::vector<std::unique_ptr<rutabaga::Renderer>>>(
    std::shared_ptr<rutabaga::CompletionSink> sink)>;

/// The other end of RendererProcess: real renderers, driven by messages. Lives in the renderer
/// process, on its main thread; for the tests and the fuzzer, on any loop.
///
/// Contexts are its own bookkeeping: messages about what it does not have are refused, or without
/// effect where they want no answer. A message that breaks the protocol ends the service.
class Server final : private ReportSink::Receiver {
  public:
    /// `ended` runs once, on the loop's thread, when the device has hung up or broken the protocol;
    /// the server serves nothing from then on. It may not destroy the server.
    [[nodiscard]] static Result<std::unique_ptr<Server>> create(
        EventLoop& loop, UniqueFd socket, const ServedRenderers& renderers,
        std::move_only_function<void(const Error&)> ended);
    ~Server() override;

    /// Says hello: the process is ready. Once.
    void start() { say_hello(); }

  private:
    struct ContextState {
        rutabaga::Renderer* renderer;
        bool lost = false;
    };
    struct ResourceState {
        rutabaga::Renderer* renderer;
    };
    /// What a message is besides its structure.
    struct Incoming {
        uint64_t request;
        ByteReader payload;
        std::vector<UniqueFd>& fds;
    };
    struct Row;
    static const Row kRows[];

    Server(EventLoop& loop, UniqueFd socket, std::move_only_function<void(const Error&)> ended);

    void socket_ready(uint32_t events);
    [[nodiscard]] Result<void> receive_messages();
    [[nodiscard]] Result<void> handle(Message& message);
    void end(const Error& why);
    void say_hello();

    void send(Report type, uint64_t request, std::span<const std::byte> body,
              std::span<const std::byte> tail = {}, int fd = -1);
    void answer(uint64_t request, const Answer& body, int fd = -1);
    void answer_error(uint64_t request, const Error& error);
    void report_lost(rutabaga::ContextId context, const Error& why);
    void send_fences();
    /// A completion that answers the request.
    [[nodiscard]] rutabaga::Completion<> completion(uint64_t request);

    // ReportSink::Receiver.
    void fences_wait() override { send_fences(); }
    void context_is_lost(rutabaga::ContextId context, const Error& why) override;

    // One for each Request.
    Result<void> add_region(Incoming& message);
    Result<void> remove_region(Incoming& message);
    Result<void> add_backing(Incoming& message);
    Result<void> drop_backing(Incoming& message);
    Result<void> create_context(Incoming& message);
    Result<void> destroy_context(Incoming& message);
    Result<void> attach_resource(Incoming& message);
    Result<void> detach_resource(Incoming& message);
    Result<void> create_blob(Incoming& message);
    Result<void> create_3d(Incoming& message);
    Result<void> import_3d(Incoming& message);
    Result<void> attach_backing(Incoming& message);
    Result<void> detach_backing(Incoming& message);
    Result<void> destroy_resource(Incoming& message);
    Result<void> export_blob(Incoming& message);
    Result<void> place_blob(Incoming& message);
    Result<void> displace_blob(Incoming& message);
    Result<void> transfer_to_host(Incoming& message);
    Result<void> transfer_from_host(Incoming& message);
    Result<void> submit(Incoming& message);
    Result<void> create_fence(Incoming& message);
    Result<void> reset(Incoming& message);
    Result<void> ping(Incoming& message);

    /// Null, and the request answered with an error, when there is no such resource.
    [[nodiscard]] rutabaga::Renderer* renderer_of(rutabaga::ResourceId resource, uint64_t request);
    [[nodiscard]] ContextState* context(rutabaga::ContextId context);
    /// Null, and the request answered with an error, when no renderer owns 3D resources.
    [[nodiscard]] rutabaga::Renderer* renderer_of_3d(uint64_t request);
    /// Answers the request that makes a resource; the id is free again when that failed.
    [[nodiscard]] rutabaga::Completion<> made(rutabaga::ResourceId resource, uint64_t request);
    [[nodiscard]] bool refuse_new_resource(rutabaga::ResourceId resource, uint64_t request);

    std::move_only_function<void(const Error&)> ended_;
    MessageSocket socket_;
    EventLoop::Watch watch_;
    std::shared_ptr<ReportSink> sink_;
    std::vector<std::unique_ptr<rutabaga::Renderer>> renderers_;
    std::unordered_map<rutabaga::ContextId, ContextState> contexts_;
    std::unordered_map<rutabaga::ResourceId, ResourceState> resources_;
    GuestRegions regions_;
    Message message_;                ///< being received; kept for its memory
    std::vector<uint64_t> tickets_;  ///< being sent; kept for its memory
    std::vector<Segment> segments_;  ///< of a received backing; kept for its memory
};

/// The whole life of a renderer process: main() of a program calls it with the socket that spawn()
/// gave (kRendererSocketFd), and returns what it returns. Renderers are made before the sandbox is
/// entered. Ends when the device hangs up.
[[nodiscard]] int run_renderer_process(UniqueFd socket, Sandbox sandbox,
                                       const ServedRenderers& renderers);

}  // namespace swede::renderer_process
