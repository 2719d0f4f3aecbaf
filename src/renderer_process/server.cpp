// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/server.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.h"
#include "base/log.h"

namespace swede::renderer_process {
namespace {

log::Module log_("renderer_server");

/// Bytes. The device always reads; one that does not is broken.
constexpr size_t kMaxUnsent = size_t{16} << 20;
constexpr size_t kMaxErrorText = 256;  ///< bytes
constexpr int kMessagesPerTurn = 64;
/// Bytes of a received message whose memory is kept for the next.
constexpr size_t kKeptBytes = size_t{1} << 20;

std::optional<uint8_t> ring_of(int32_t ring) {
    if (ring < 0 || ring > UINT8_MAX) return std::nullopt;
    return static_cast<uint8_t>(ring);
}

std::span<const std::byte> text_of(const Error& error) {
    return std::as_bytes(std::span(error.message))
        .first(std::min(error.message.size(), kMaxErrorText));
}

}  // namespace

// --- the table of requests ---

struct Server::Row {
    Request type;
    size_t body;  ///< bytes of the structure
    bool tail;    ///< whether more may follow it
    size_t fds;
    bool answered;
    Result<void> (Server::*handler)(Incoming&);
};

const Server::Row Server::kRows[] = {
    {Request::kAddRegion, sizeof(AddRegion), false, 1, false, &Server::add_region},
    {Request::kRemoveRegion, sizeof(RemoveRegion), false, 0, true, &Server::remove_region},
    {Request::kAddBacking, sizeof(AddBacking), true, 0, false, &Server::add_backing},
    {Request::kDropBacking, sizeof(DropBacking), false, 0, false, &Server::drop_backing},
    {Request::kCreateContext, sizeof(CreateContext), false, 0, true, &Server::create_context},
    {Request::kDestroyContext, sizeof(ContextOnly), false, 0, true, &Server::destroy_context},
    {Request::kAttachResource, sizeof(AttachResource), false, 0, false, &Server::attach_resource},
    {Request::kDetachResource, sizeof(DetachResource), false, 0, false, &Server::detach_resource},
    {Request::kCreateBlob, sizeof(CreateBlob), false, 0, true, &Server::create_blob},
    {Request::kCreate3d, sizeof(wire::ResourceCreate3d), false, 0, true, &Server::create_3d},
    {Request::kImport3d, sizeof(Import3d), false, 1, true, &Server::import_3d},
    {Request::kAttachBacking, sizeof(AttachBacking), false, 0, false, &Server::attach_backing},
    {Request::kDetachBacking, sizeof(ResourceOnly), false, 0, false, &Server::detach_backing},
    {Request::kDestroyResource, sizeof(ResourceOnly), false, 0, true, &Server::destroy_resource},
    {Request::kExportBlob, sizeof(ResourceOnly), false, 0, true, &Server::export_blob},
    {Request::kPlaceBlob, sizeof(PlaceBlob), false, 1, true, &Server::place_blob},
    {Request::kDisplaceBlob, sizeof(ResourceOnly), false, 0, true, &Server::displace_blob},
    {Request::kTransferToHost, sizeof(Transfer), false, 0, true, &Server::transfer_to_host},
    {Request::kTransferFromHost, sizeof(Transfer), false, 0, true, &Server::transfer_from_host},
    {Request::kSubmit, sizeof(Submit), true, 0, false, &Server::submit},
    {Request::kCreateFence, sizeof(CreateFence), false, 0, false, &Server::create_fence},
    {Request::kReset, 0, false, 0, true, &Server::reset},
    {Request::kPing, 0, false, 0, true, &Server::ping},
};

// --- life ---

Result<std::unique_ptr<Server>> Server::create(EventLoop& loop, UniqueFd socket,
                                               const ServedRenderers& renderers,
                                               std::move_only_function<void(const Error&)> ended) {
    static_assert(std::size(kRows) == static_cast<size_t>(Request::kCount) - 1);
    std::unique_ptr<Server> server(new Server(loop, std::move(socket), std::move(ended)));
    server->renderers_ = SWEDE_TRY(renderers(server->sink_));
    Server* const self = server.get();
    server->watch_ = SWEDE_TRY(loop.watch(self->socket_.fd(), EPOLLIN,
                                          [self](uint32_t events) { self->socket_ready(events); }));
    return server;
}

Server::Server(EventLoop& loop, UniqueFd socket, std::move_only_function<void(const Error&)> ended)
    : ended_(std::move(ended)),
      socket_(std::move(socket),
              MessageSocket::Limits{.header_size = sizeof(Header),
                                    .max_payload = kMaxRequestPayload,
                                    .max_fds = kMaxFdsInMessage,
                                    .max_unsent = kMaxUnsent},
              payload_size),
      sink_(std::make_shared<ReportSink>(loop, static_cast<ReportSink::Receiver&>(*this))) {}

Server::~Server() {
    sink_->close();
    renderers_.clear();  // before the guest's memory that they may be using
}

void Server::say_hello() {
    std::vector<std::byte> capsets;
    uint32_t count = 0;
    bool owns_3d = false;
    const auto append = [&](std::span<const std::byte> bytes) {
        capsets.insert(capsets.end(), bytes.begin(), bytes.end());
    };
    for (const auto& renderer : renderers_) {
        owns_3d = owns_3d || renderer->owns_3d_resources();
        for (const rutabaga::Capset& capset : renderer->capsets()) {
            append(bytes_of(CapsetHeader{capset.id, capset.version,
                                         static_cast<uint32_t>(capset.data.size()), 0}));
            append(capset.data);
            ++count;
        }
    }
    send(Report::kHello, 0, bytes_of(Hello{kProtocolVersion, count, owns_3d, 0}), capsets);
}

void Server::end(const Error& why) {
    if (!ended_) return;
    watch_.reset();
    sink_->close();
    std::exchange(ended_, nullptr)(why);
}

void Server::socket_ready(uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
        if (const auto flushed = socket_.flush(); !flushed) return end(flushed.error());
        if (socket_.unsent() == 0) watch_.set_events(EPOLLIN);
    }
    if ((events & ~static_cast<uint32_t>(EPOLLOUT)) == 0) return;
    sink_->set_handling(true);
    const auto received = receive_messages();
    sink_->set_handling(false);
    if (!received) return end(received.error());
    send_fences();
}

Result<void> Server::receive_messages() {
    for (int i = 0; i < kMessagesPerTurn && ended_; ++i) {
        if (!SWEDE_TRY(socket_.receive(message_))) break;
        SWEDE_TRY(handle(message_));
        message_.fds.clear();
        if (message_.bytes.capacity() > kKeptBytes) message_.bytes = {};
    }
    return {};
}

Result<void> Server::handle(Message& message) {
    ByteReader reader(message.bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    const uint32_t first = static_cast<uint32_t>(Request::kAddRegion);
    if (header.type < first || header.type >= static_cast<uint32_t>(Request::kCount))
        return fail(ErrorCode::kProtocol, "Request {:#x} is unknown.", header.type);
    const Row& row = kRows[header.type - first];
    const size_t size = reader.remaining();
    if (size < row.body || (size > row.body && !row.tail) || message.fds.size() != row.fds ||
        (header.request != 0) != row.answered)
        return fail(ErrorCode::kProtocol,
                    "Request {:#x} has {} bytes, {} file descriptors and the number {}.",
                    header.type, size, message.fds.size(), header.request);
    Incoming incoming{header.request, reader, message.fds};
    return (this->*row.handler)(incoming);
}

// --- sending ---

void Server::send(Report type, uint64_t request, std::span<const std::byte> body,
                  std::span<const std::byte> tail, int fd) {
    if (!ended_) return;
    const Header header{static_cast<uint32_t>(type),
                        static_cast<uint32_t>(body.size() + tail.size()), request};
    const std::array<std::span<const std::byte>, 3> parts{bytes_of(header), body, tail};
    const auto sent =
        socket_.send(parts, fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1));
    if (!sent) return end(sent.error());
    if (socket_.unsent() != 0) watch_.set_events(EPOLLIN | EPOLLOUT);
}

void Server::answer(uint64_t request, const Answer& body, int fd) {
    send(Report::kAnswer, request, bytes_of(body), {}, fd);
}

void Server::answer_error(uint64_t request, const Error& error) {
    Answer body;
    body.failed = 1;
    body.code = static_cast<uint32_t>(error.code);
    send(Report::kAnswer, request, bytes_of(body), text_of(error));
}

void Server::report_lost(rutabaga::ContextId id, const Error& why) {
    ContextState* const state = context(id);
    if (state == nullptr || std::exchange(state->lost, true)) return;
    send(Report::kContextLost, 0, bytes_of(ContextLost{id, static_cast<uint32_t>(why.code)}),
         text_of(why));
}

void Server::context_is_lost(rutabaga::ContextId id, const Error& why) {
    report_lost(id, why);
}

void Server::send_fences() {
    tickets_.clear();
    sink_->take_fences(tickets_);
    // A report of fences has a bound; a renderer may complete thousands at once.
    constexpr size_t kPerMessage = kMaxReportPayload / sizeof(uint64_t);
    for (std::span<const uint64_t> rest = tickets_; !rest.empty();) {
        const auto part = rest.first(std::min(rest.size(), kPerMessage));
        send(Report::kFencesDone, 0, std::as_bytes(part));
        rest = rest.subspan(part.size());
    }
}

rutabaga::Completion<> Server::completion(uint64_t request) {
    return {sink_, [this, request](Result<void> result) {
                if (result)
                    answer(request, Answer{});
                else
                    answer_error(request, result.error());
            }};
}

// --- guest memory ---

Result<void> Server::add_region(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<AddRegion>());
    return regions_.add(body, std::move(message.fds.front()));
}

Result<void> Server::remove_region(Incoming& message) {
    regions_.remove(SWEDE_TRY(message.payload.read<RemoveRegion>()).id);
    answer(message.request, Answer{});
    return {};
}

Result<void> Server::add_backing(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<AddBacking>());
    const auto tail = message.payload.rest();
    if (body.count != tail.size() / sizeof(Segment) || tail.size() % sizeof(Segment) != 0)
        return fail(ErrorCode::kProtocol, "Backing {} of {} segments has {} bytes.", body.id,
                    body.count, tail.size());
    // The message's bytes are not aligned for the structure.
    segments_.resize(body.count);
    if (!tail.empty()) std::memcpy(segments_.data(), tail.data(), tail.size());
    auto added = regions_.add_backing(body.id, segments_);
    if (segments_.capacity() * sizeof(Segment) > kKeptBytes) segments_ = {};
    return added;
}

Result<void> Server::drop_backing(Incoming& message) {
    regions_.drop_backing(SWEDE_TRY(message.payload.read<DropBacking>()).id);
    return {};
}

// --- contexts ---

Server::ContextState* Server::context(rutabaga::ContextId id) {
    const auto found = contexts_.find(id);
    return found == contexts_.end() ? nullptr : &found->second;
}

Result<void> Server::create_context(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<CreateContext>());
    const auto offers = [&](const auto& renderer) {
        return body.capset == 0
                   ? renderer->owns_3d_resources()
                   : std::ranges::any_of(renderer->capsets(), [&](const rutabaga::Capset& capset) {
                         return capset.id == body.capset;
                     });
    };
    const auto found = std::ranges::find_if(renderers_, offers);
    if (found == renderers_.end() || body.context == 0 || contexts_.contains(body.context)) {
        answer_error(message.request, Error{ErrorCode::kInvalidParameter,
                                            fmt::format("Context {} of capset {} cannot be made.",
                                                        body.context, body.capset)});
        return {};
    }
    contexts_.emplace(body.context, ContextState{found->get()});
    const size_t name = std::min<size_t>(body.name_size, sizeof(body.name));
    (*found)->create_context(
        body.context, {body.capset, std::string(body.name, name)},
        {sink_, [this, request = message.request, id = body.context](Result<void> result) {
             if (result) return answer(request, Answer{});
             contexts_.erase(id);
             answer_error(request, result.error());
         }});
    return {};
}

Result<void> Server::destroy_context(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<ContextOnly>());
    const auto found = contexts_.find(body.context);
    if (found == contexts_.end()) {
        answer_error(message.request,
                     Error{ErrorCode::kInvalidContext, "There is no such context."});
        return {};
    }
    rutabaga::Renderer* const renderer = found->second.renderer;
    contexts_.erase(found);
    renderer->destroy_context(body.context, completion(message.request));
    return {};
}

Result<void> Server::attach_resource(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<AttachResource>());
    const auto backing = SWEDE_TRY(regions_.backing(body.backing));
    if (const ContextState* const state = context(body.context))
        state->renderer->attach_resource(body.context, body.resource, {body.size, backing});
    return {};
}

Result<void> Server::detach_resource(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<DetachResource>());
    if (const ContextState* const state = context(body.context))
        state->renderer->detach_resource(body.context, body.resource);
    return {};
}

Result<void> Server::submit(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<Submit>());
    const ContextState* const state = context(body.context);
    if (state == nullptr || state->lost) return {};
    const auto taken =
        state->renderer->submit(body.context, ring_of(body.ring), message.payload.rest());
    // The guest has had its answer; what is wrong with the commands can only cost the context.
    if (!taken) report_lost(body.context, taken.error());
    return {};
}

Result<void> Server::create_fence(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<CreateFence>());
    rutabaga::Renderer* renderer = nullptr;
    if (body.context != 0) {
        if (const ContextState* const state = context(body.context); state && !state->lost)
            renderer = state->renderer;
    } else {
        const auto owner =
            std::ranges::find_if(renderers_, [](const auto& r) { return r->owns_3d_resources(); });
        if (owner != renderers_.end()) renderer = owner->get();
    }
    if (renderer == nullptr)
        sink_->fence_done(body.ticket);
    else
        renderer->create_fence({body.ticket, body.fence_id, body.context, ring_of(body.ring)});
    return {};
}

// --- resources ---

rutabaga::Renderer* Server::renderer_of(rutabaga::ResourceId resource, uint64_t request) {
    const auto found = resources_.find(resource);
    if (found != resources_.end()) return found->second.renderer;
    if (request != 0)
        answer_error(request, Error{ErrorCode::kInvalidResource,
                                    fmt::format("There is no resource {}.", resource)});
    return nullptr;
}

bool Server::refuse_new_resource(rutabaga::ResourceId resource, uint64_t request) {
    if (resource != 0 && !resources_.contains(resource)) return false;
    answer_error(request, Error{ErrorCode::kInvalidResource,
                                fmt::format("Resource {} cannot be made.", resource)});
    return true;
}

Result<void> Server::create_blob(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<CreateBlob>());
    const auto backing = SWEDE_TRY(regions_.backing(body.backing));
    if (refuse_new_resource(body.resource, message.request)) return {};
    const ContextState* const state = context(body.context);
    if (state == nullptr || state->lost || body.size == 0) {
        answer_error(message.request, Error{ErrorCode::kInvalidContext,
                                            fmt::format("Context {} makes no blob of {} bytes.",
                                                        body.context, body.size)});
        return {};
    }
    resources_.emplace(body.resource, ResourceState{state->renderer});
    state->renderer->create_blob(body.context, body.resource,
                                 {body.blob_mem, body.blob_flags, body.blob_id, body.size}, backing,
                                 {sink_, [this, request = message.request,
                                          id = body.resource](Result<rutabaga::BlobInfo> result) {
                                      if (!result) {
                                          resources_.erase(id);
                                          return answer_error(request, result.error());
                                      }
                                      Answer made;
                                      made.map_info = result->map_info;
                                      answer(request, made);
                                  }});
    return {};
}

rutabaga::Renderer* Server::renderer_of_3d(uint64_t request) {
    const auto owner =
        std::ranges::find_if(renderers_, [](const auto& r) { return r->owns_3d_resources(); });
    if (owner != renderers_.end()) return owner->get();
    answer_error(request, Error{ErrorCode::kUnsupported, "No renderer does 3D."});
    return nullptr;
}

rutabaga::Completion<> Server::made(rutabaga::ResourceId id, uint64_t request) {
    return {sink_, [this, request, id](Result<void> result) {
                if (result) return answer(request, Answer{});
                resources_.erase(id);
                answer_error(request, result.error());
            }};
}

Result<void> Server::create_3d(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<wire::ResourceCreate3d>());
    if (refuse_new_resource(body.resource_id, message.request)) return {};
    rutabaga::Renderer* const owner = renderer_of_3d(message.request);
    if (owner == nullptr) return {};
    resources_.emplace(body.resource_id, ResourceState{owner});
    owner->create_3d(body.resource_id, body, made(body.resource_id, message.request));
    return {};
}

Result<void> Server::import_3d(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<Import3d>());
    const rutabaga::ResourceId id = body.request.resource_id;
    if (refuse_new_resource(id, message.request)) return {};
    rutabaga::Renderer* const owner = renderer_of_3d(message.request);
    if (owner == nullptr) return {};
    resources_.emplace(id, ResourceState{owner});
    owner->import_3d(id, body.request, {std::move(message.fds.front()), body.offset, body.size},
                     made(id, message.request));
    return {};
}

Result<void> Server::attach_backing(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<AttachBacking>());
    auto backing = SWEDE_TRY(regions_.backing(body.backing));
    if (backing == nullptr) return fail(ErrorCode::kProtocol, "Backing 0 is attached.");
    if (rutabaga::Renderer* const renderer = renderer_of(body.resource, 0))
        renderer->attach_backing(body.resource, std::move(backing));
    return {};
}

Result<void> Server::detach_backing(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<ResourceOnly>());
    if (rutabaga::Renderer* const renderer = renderer_of(body.resource, 0))
        renderer->detach_backing(body.resource);
    return {};
}

Result<void> Server::destroy_resource(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<ResourceOnly>());
    rutabaga::Renderer* const renderer = renderer_of(body.resource, message.request);
    if (renderer == nullptr) return {};
    resources_.erase(body.resource);
    renderer->destroy_resource(body.resource, completion(message.request));
    return {};
}

Result<void> Server::export_blob(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<ResourceOnly>());
    rutabaga::Renderer* const renderer = renderer_of(body.resource, message.request);
    if (renderer == nullptr) return {};
    renderer->export_blob(
        body.resource,
        {sink_, [this, request = message.request](Result<rutabaga::SharedMemory> result) {
             if (!result) return answer_error(request, result.error());
             Answer exported;
             exported.offset = result->offset;
             exported.size = result->size;
             exported.stride = result->stride;
             answer(request, exported, result->fd.get());
         }});
    return {};
}

Result<void> Server::place_blob(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<PlaceBlob>());
    if (!is_page_aligned(body.offset) || !is_page_aligned(body.size) || body.size == 0)
        return fail(ErrorCode::kProtocol, "A window range of {:#x} bytes at {:#x} is no pages.",
                    body.size, body.offset);
    if (rutabaga::Renderer* const renderer = renderer_of(body.resource, message.request))
        renderer->place_blob(body.resource, {message.fds.front().get(), body.offset, body.size},
                             completion(message.request));
    return {};
}

Result<void> Server::displace_blob(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<ResourceOnly>());
    if (rutabaga::Renderer* const renderer = renderer_of(body.resource, message.request))
        renderer->displace_blob(body.resource, completion(message.request));
    return {};
}

Result<void> Server::transfer_to_host(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<Transfer>());
    if (rutabaga::Renderer* const renderer = renderer_of(body.resource, message.request))
        renderer->transfer_to_host(body.context, body.resource, body.transfer,
                                   completion(message.request));
    return {};
}

Result<void> Server::transfer_from_host(Incoming& message) {
    const auto body = SWEDE_TRY(message.payload.read<Transfer>());
    if (rutabaga::Renderer* const renderer = renderer_of(body.resource, message.request))
        renderer->transfer_from_host(body.context, body.resource, body.transfer,
                                     completion(message.request));
    return {};
}

// --- all of it ---

Result<void> Server::reset(Incoming& message) {
    contexts_.clear();
    resources_.clear();
    struct Progress {
        size_t left;
        std::optional<Error> failure;
    };
    const auto progress = std::make_shared<Progress>(Progress{renderers_.size() + 1, {}});
    const auto step = [this, progress, request = message.request](Result<void> result) {
        if (!result) progress->failure = result.error();
        if (--progress->left != 0) return;
        if (progress->failure) return answer_error(request, *progress->failure);
        answer(request, Answer{});
    };
    for (const auto& renderer : renderers_) renderer->reset({sink_, step});
    // Renderers have let go of the guest's memory, or find it revoked.
    regions_.drop_backings();
    step({});
    return {};
}

Result<void> Server::ping(Incoming& message) {
    answer(message.request, Answer{});
    return {};
}

}  // namespace swede::renderer_process
