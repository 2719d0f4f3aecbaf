// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <string_view>

#include "base/log.h"
#include "renderer_process/client.h"
#include "renderer_process/exported_memory.h"

namespace swede::renderer_process {
namespace {

/// So that a process that talks without end leaves the loop to others in between.
constexpr int kMessagesPerTurn = 64;

/// Text of a hostile process, made fit for logs.
std::string text_of(ByteReader payload) {
    const auto bytes = payload.rest();
    return log::escaped({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

ErrorCode code_of(uint32_t code) {
    return code <= static_cast<uint32_t>(ErrorCode::kSystem) ? static_cast<ErrorCode>(code)
                                                             : ErrorCode::kUnspecified;
}

Result<void> want_no_rest(const ByteReader& payload) {
    if (payload.remaining() == 0) return {};
    return fail(ErrorCode::kProtocol, "A message has {} bytes too many.", payload.remaining());
}

}  // namespace

void RendererProcess::socket_ready(uint32_t events) {
    if ((events & EPOLLOUT) != 0) flush();
    if (child_ && (events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) receive_messages();
}

void RendererProcess::flush() {
    const size_t before = child_->socket.unsent();
    if (auto flushed = child_->socket.flush(); !flushed) return lose_child(flushed.error());
    const size_t after = child_->socket.unsent();
    if (after == 0) {
        child_->stalled_since.reset();
        child_->socket_watch.set_events(EPOLLIN);
    } else if (after != before) {
        child_->stalled_since = Clock::now();
    }
}

void RendererProcess::receive_messages() {
    const uint64_t generation = child_->generation;
    for (int i = 0; i < kMessagesPerTurn && serves(generation); ++i) {
        const auto received = child_->socket.receive(message_);
        if (!received && received.error().code == ErrorCode::kClosed)
            return lose_child(Error{ErrorCode::kDeviceLost, "It has ended."});
        if (!received) return lose_child(received.error());
        if (!*received) return;
        const auto handled = handle(message_);
        message_.fds.clear();  // what nobody took is not kept until the next message
        if (!handled) return lose_child(handled.error());
    }
}

Result<void> RendererProcess::handle(Message& message) {
    ByteReader reader(message.bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    const auto type = static_cast<Report>(header.type);
    if (child_->said_hello == (type == Report::kHello))
        return fail(ErrorCode::kProtocol, "Message {:#x} comes {} the greeting.", header.type,
                    child_->said_hello ? "as a second of" : "before");
    if (!message.fds.empty() && type != Report::kAnswer)
        return fail(ErrorCode::kProtocol, "Message {:#x} carries file descriptors.", header.type);
    switch (type) {
        case Report::kHello:
            return handle_hello(reader);
        case Report::kAnswer:
            return handle_answer(header.request, reader, message.fds);
        case Report::kFencesDone:
            return handle_fences_done(reader);
        case Report::kContextLost:
            return handle_context_lost(reader);
    }
    return fail(ErrorCode::kProtocol, "Message {:#x} is unknown.", header.type);
}

Result<void> RendererProcess::handle_hello(ByteReader payload) {
    const auto hello = SWEDE_TRY(payload.read<Hello>());
    if (hello.version != kProtocolVersion || hello.num_capsets > kMaxCapsets ||
        hello.owns_3d_resources > 1)
        return fail(ErrorCode::kProtocol, "It speaks version {} and offers {} capsets.",
                    hello.version, hello.num_capsets);
    std::vector<rutabaga::Capset> capsets;
    for (uint32_t i = 0; i < hello.num_capsets; ++i) {
        const auto capset = SWEDE_TRY(payload.read<CapsetHeader>());
        const auto data = SWEDE_TRY(payload.read_bytes(capset.size));
        const bool again =
            std::ranges::any_of(capsets, [&](const auto& other) { return other.id == capset.id; });
        if (capset.id == 0 || capset.id > kMaxCapsetId || again)
            return fail(ErrorCode::kProtocol, "Capset {} is out of range or offered twice.",
                        capset.id);
        capsets.push_back({capset.id, capset.version, {data.begin(), data.end()}});
    }
    SWEDE_TRY(want_no_rest(payload));
    const bool owns_3d = hello.owns_3d_resources != 0;
    if (!offer_known_) {
        offer_known_ = true;
        capsets_ = std::move(capsets);
        owns_3d_ = owns_3d;
        if (options_.offer) *options_.offer = {true, owns_3d_, capsets_};
    } else if (const auto same =
                   [](const rutabaga::Capset& a, const rutabaga::Capset& b) {
                       return a.id == b.id && a.version == b.version && a.data == b.data;
                   };
               owns_3d != owns_3d_ || !std::ranges::equal(capsets, capsets_, same)) {
        // The guest has read the first ones' and keeps them.
        return fail(ErrorCode::kProtocol, "It offers other capsets than the process before it.");
    }
    child_->said_hello = true;
    return {};
}

Result<void> RendererProcess::handle_answer(uint64_t number, ByteReader payload,
                                            std::vector<UniqueFd>& fds) {
    const auto answer = SWEDE_TRY(payload.read<Answer>());
    if (number != 0 && number < first_request_) return {};  // of an old epoch
    const auto found = requests_.find(number);
    if (found == requests_.end())
        return fail(ErrorCode::kProtocol, "It answers request {}, which is not out.", number);
    PendingRequest& request = found->second;
    const bool wants_fd = request.type == Request::kExportBlob && answer.failed == 0;
    if (fds.size() != (wants_fd ? 1u : 0u))
        return fail(ErrorCode::kProtocol, "It answers a request of type {} with {} files.",
                    static_cast<uint32_t>(request.type), fds.size());
    if (answer.failed == 0) {
        SWEDE_TRY(want_no_rest(payload));
        SWEDE_TRY(succeed(request, answer, fds));
        const bool reset = request.type == Request::kReset;
        requests_.erase(found);
        if (reset) finish_reset_if_over();
        return {};
    }
    if (std::holds_alternative<std::monostate>(request.waiter))
        return fail(ErrorCode::kProtocol, "It refuses a request of type {}.",
                    static_cast<uint32_t>(request.type));
    // Out of the list first: what failure_of() sends may lose the process, and with it the list.
    PendingRequest refused = std::move(requests_.extract(found).mapped());
    failure_of(std::move(refused), Error{code_of(answer.code), text_of(payload)})();
    return {};
}

Result<void> RendererProcess::succeed(PendingRequest& request, const Answer& answer,
                                      std::vector<UniqueFd>& fds) {
    using rutabaga::Completion;
    if (request.type == Request::kPing) ping_out_ = false;
    if (auto* const done = std::get_if<Completion<>>(&request.waiter)) {
        (*done)({});
    } else if (auto* const blob = std::get_if<Completion<rutabaga::BlobInfo>>(&request.waiter)) {
        if ((answer.map_info & ~wire::kMapCacheMask) != 0 ||
            answer.map_info > wire::kMapCacheWriteCombined)
            return fail(ErrorCode::kProtocol, "A blob has the unknown cache type {:#x}.",
                        answer.map_info);
        (*blob)(rutabaga::BlobInfo{answer.map_info});
    } else if (auto* const memory =
                   std::get_if<Completion<rutabaga::SharedMemory>>(&request.waiter)) {
        rutabaga::SharedMemory exported = SWEDE_TRY(
            accept_exported(std::move(fds.front()), answer.offset, answer.size, request.blob_size));
        exported.stride = answer.stride;  // any value: who reads pixels checks it (check_layout)
        (*memory)(std::move(exported));
    }
    return {};
}

Result<void> RendererProcess::handle_fences_done(ByteReader payload) {
    if (payload.remaining() == 0 || payload.remaining() % sizeof(uint64_t) != 0)
        return fail(ErrorCode::kProtocol, "A list of fences has {} bytes.", payload.remaining());
    while (payload.remaining() != 0) {
        const auto ticket = SWEDE_TRY(payload.read<uint64_t>());
        if (++child_->fences_reported > child_->fences_given)
            return fail(ErrorCode::kProtocol, "It reports more fences than the {} it was given.",
                        child_->fences_given);
        // One that is not out belongs to a context, or an epoch, that is gone.
        if (fences_.take(ticket)) sink_->fence_done(ticket);
    }
    return {};
}

Result<void> RendererProcess::handle_context_lost(ByteReader payload) {
    const auto lost = SWEDE_TRY(payload.read<ContextLost>());
    if (++child_->contexts_reported > child_->contexts_given)
        return fail(ErrorCode::kProtocol, "It reports more lost contexts than the {} it was given.",
                    child_->contexts_given);
    if (is_alive(lost.context))
        lose_context(lost.context, Error{ErrorCode::kDeviceLost, text_of(payload)});
    return {};
}

RendererProcess::Task RendererProcess::failure_of(PendingRequest request, Error why) {
    if (request.type == Request::kCreateContext) {
        contexts_.erase(request.object);
    } else if (request.type == Request::kCreateBlob || request.type == Request::kCreate3d ||
               request.type == Request::kImport3d) {
        if (const auto found = resources_.find(request.object); found != resources_.end()) {
            const uint64_t backing = found->second.backing;
            resources_.erase(found);
            unuse_backing(backing);
        }
    }
    return [waiter = std::move(request.waiter), why = std::move(why)]() mutable {
        std::visit(
            [&](auto& done) {
                if constexpr (!std::is_same_v<std::decay_t<decltype(done)>, std::monostate>)
                    done(std::unexpected(std::move(why)));
            },
            waiter);
    };
}

}  // namespace swede::renderer_process
