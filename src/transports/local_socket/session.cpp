// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/file_closer.h"
#include "base/log.h"
#include "transports/local_socket/session_table.h"

namespace swede::local_socket {
namespace {

log::Module log_("local_socket");

using namespace wire::local;  // NOLINT: this file is one end of that protocol

/// Requests served in one turn of the loop: a program that floods us does not starve the others.
constexpr int kRequestsPerTurn = 64;
/// Bytes of a received request whose memory is kept for the next.
constexpr size_t kKeptBytes = size_t{64} << 10;
constexpr size_t kMaxText = 256;  ///< bytes of a sentence

constexpr MessageSocket::Limits kLimits{
    .header_size = sizeof(Header),
    .max_payload = kMaxRequestPayload,
    .max_fds = 1,
    .max_unsent = size_t{1} << 20,
};

Result<uint64_t> payload_size(std::span<const std::byte> header) {
    return SWEDE_TRY(ByteReader(header).read<Header>()).size;
}

std::span<const std::byte> text_of(const Error& error) {
    return std::as_bytes(std::span(error.message)).first(std::min(error.message.size(), kMaxText));
}

/// What an ioctl of Linux's driver would say.
uint32_t ioctl_error(ErrorCode code) {
    return static_cast<uint32_t>(code == ErrorCode::kDeviceLost ? EIO : errno_of(code));
}

}  // namespace

Session::Session(const Parts& parts, uint64_t id, UniqueFd socket, Ended ended)
    : parts_(parts),
      id_(id),
      ended_(std::move(ended)),
      completions_(virtio_gpu::CompletionQueue::create(parts.loop, *this)),
      budget_(Budget::create(parts.limits)),
      fences_(budget_, [this](uint64_t request) { answer_wait(request); }),
      socket_(std::move(socket), kLimits, payload_size) {}

Session::~Session() {
    ending_ = true;
    completions_->close();
    gpu_.reset();  // the renderers let go of memory_
    for (const auto& [id, entry] : resources_)
        if (entry.file) parts_.minted.orphan(*entry.file, id_, id);
    // The socket may be full of files whose close() waits.
    watch_.reset();
    hang_up(socket_.release());
    close_elsewhere(message_.fds);
}

Result<std::unique_ptr<Session>> Session::create(const Parts& parts, uint64_t id, UniqueFd socket,
                                                 Ended ended) {
    std::unique_ptr<Session> session(new Session(parts, id, std::move(socket), std::move(ended)));
    SWEDE_TRY(session->start());
    return session;
}

Result<void> Session::start() {
    watch_ = SWEDE_TRY(
        parts_.loop.watch(socket_.fd(), EPOLLIN, [this](uint32_t events) { on_events(events); }));
    // A program can send us its end of the socket, in half a message or as a fence's file: then the
    // socket lives as long as we do, and only the process tells that the program has gone.
    process_ = SWEDE_TRY(peer_process(socket_.fd()));
    if (process_)
        process_watch_ = SWEDE_TRY(parts_.loop.watch(process_.get(), EPOLLIN, [this](uint32_t) {
            end(Error{ErrorCode::kClosed, "Its process has ended."});
        }));
    return {};
}

void Session::end(const Error& why) {
    if (std::exchange(ending_, true)) return;
    if (why.code == ErrorCode::kClosed)
        log_.debug("Connection {} has gone: {}", id_, why.message);
    else
        log_.error("Connection {} is ended: {}", id_, why.message);
    if (why.code == ErrorCode::kDeviceLost) {
        const std::array<std::span<const std::byte>, 1> parts{text_of(why)};
        send(Report::kLost, 0, parts);
    }
    watch_.reset();
    process_watch_.reset();
    ended_();
}

void Session::on_context_lost(rutabaga::ContextId context, const Error& why) {
    gpu_->lose_context(context, why);
    end(Error{ErrorCode::kDeviceLost, why.message});
}

void Session::on_events(uint32_t events) {
    Result<void> result;
    if (busy_ && (events & (EPOLLHUP | EPOLLERR)) != 0)
        result = fail(ErrorCode::kClosed, "The program closed it.");
    else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        result = receive();
    if (result) result = socket_.flush();
    if (!result) return end(result.error());
    update_watch();
}

void Session::update_watch() {
    if (ending_) return;
    watch_.set_events((busy_ ? 0u : static_cast<uint32_t>(EPOLLIN)) |
                      (socket_.unsent() != 0 ? static_cast<uint32_t>(EPOLLOUT) : 0u));
}

Result<void> Session::receive() {
    for (int i = 0; i < kRequestsPerTurn && !busy_ && !ending_; ++i) {
        if (!SWEDE_TRY(socket_.receive(message_))) break;
        SWEDE_TRY(finish(dispatch()));
        if (message_.bytes.capacity() > kKeptBytes && !busy_) message_.bytes = {};
    }
    return {};
}

Result<void> Session::finish(Result<void> served) {
    const bool has_file = !message_.fds.empty();
    if (!busy_) close_elsewhere(message_.fds);  // what no handler took
    if (served || ending_) return {};
    if (served.error().code == ErrorCode::kProtocol) return served;
    // What was refused is charged to nobody while it is closed.
    if (has_file && files_to_close() > kMostFilesToClose)
        return fail(ErrorCode::kProtocol, "A file is refused, and {} files do not close.",
                    files_to_close());
    refuse(header_.request, served.error());
    return {};
}

Result<void> Session::dispatch() {
    ByteReader reader(message_.bytes);
    header_ = SWEDE_TRY(reader.read<Header>());
    const auto found = std::ranges::find(rows(), RequestType{header_.type}, &Row::type);
    if (found == rows().end())
        return fail(ErrorCode::kProtocol, "Request {} is not known.", header_.type);
    const Row& row = *found;
    if (greeted_ == (row.type == RequestType::kHello))
        return fail(ErrorCode::kProtocol, "Request {} comes {} the greeting.", header_.type,
                    greeted_ ? "as a second of" : "before");
    if (header_.size < row.body || header_.size - row.body > row.max_tail)
        return fail(ErrorCode::kProtocol, "Request {} has {} bytes; {} to {} are possible.",
                    header_.type, header_.size, row.body, row.body + row.max_tail);
    if (message_.fds.size() < row.min_fds || message_.fds.size() > row.max_fds)
        return fail(ErrorCode::kProtocol, "Request {} carries {} files; {} to {} are possible.",
                    header_.type, message_.fds.size(), row.min_fds, row.max_fds);
    if (header_.request == 0 && row.answered)
        return fail(ErrorCode::kProtocol, "Request {} wants no answer, but has one.", header_.type);
    if (row.needs_context && context_ != ContextState::kLive)
        return create_context({}, [this, &row] { return (this->*row.handler)(); });
    return (this->*row.handler)();
}

void Session::send(Report type, uint64_t request, std::span<const std::span<const std::byte>> parts,
                   int fd) {
    if (ending_ && type != Report::kLost) return;  // nothing comes after it
    size_t size = 0;
    std::vector<std::span<const std::byte>> all(1);
    for (const auto part : parts) {
        size += part.size();
        all.push_back(part);
    }
    const Header header{static_cast<uint32_t>(type), static_cast<uint32_t>(size), request};
    all[0] = bytes_of(header);
    const auto sent =
        socket_.send(all, fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1));
    if (!sent) end(sent.error());
}

void Session::answer(const Answer& body, int fd) {
    const std::array<std::span<const std::byte>, 1> parts{bytes_of(body)};
    send(Report::kAnswer, header_.request, parts, fd);
}

void Session::answer_wait(uint64_t request) {
    const Answer body{};
    const std::array<std::span<const std::byte>, 1> parts{bytes_of(body)};
    send(Report::kAnswer, request, parts);
}

void Session::refuse(uint64_t request, const Error& error) {
    log_.warn("Connection {}: request {} fails: {}", id_, header_.type, error.message);
    if (request == 0) return;
    Answer body{};
    body.error = ioctl_error(error.code);
    const std::array<std::span<const std::byte>, 2> parts{bytes_of(body), text_of(error)};
    send(Report::kAnswer, request, parts);
}

void Session::settle(Result<void> result) {
    if (const auto finished = finish(std::move(result)); !finished) end(finished.error());
}

Result<void> Session::create_context(const rutabaga::ContextInfo& info,
                                     std::move_only_function<Result<void>()> then) {
    // Anew after one that failed: it may have been of another capset. Each may cost a process, so
    // there is the same limit to them as to those of one guest.
    if (contexts_.take(std::chrono::steady_clock::now()) > std::chrono::steady_clock::duration(0))
        return fail(ErrorCode::kOutOfMemory, "Contexts of the connection fail too often.");
    gpu_.reset();
    std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
    if (parts_.options.renderers)
        renderers = SWEDE_TRY(parts_.options.renderers({.loop = parts_.loop,
                                                        .memory = memory_,
                                                        .sink = completions_,
                                                        .budget = budget_,
                                                        .only_capset = info.capset_id}));
    gpu_ = std::make_unique<rutabaga::Gpu>(budget_, completions_, std::move(renderers));
    context_ = ContextState::kCreating;
    gpu_->create_context(
        kContext, info,
        later<void>([this, then = std::move(then)](Result<void> made) mutable -> Result<void> {
            context_ = made ? ContextState::kLive : ContextState::kNone;
            SWEDE_TRY(std::move(made));
            return then();
        }));
    return {};
}

}  // namespace swede::local_socket
