// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/backend_channel.h"

#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/file_closer.h"
#include "base/log.h"

namespace swede::vhost_user {
namespace {

log::Module log_("vhost_user");

/// Room for a map and an unmap of every blob while the front end is busy.
constexpr size_t kMaxUnsent = size_t{128} * 1024;

constexpr MessageSocket::Limits kLimits{
    .header_size = sizeof(Header),
    .max_payload = sizeof(uint64_t),
    .max_fds = 0,
    .max_unsent = kMaxUnsent,
};

Result<uint64_t> payload_size(std::span<const std::byte> bytes) {
    ByteReader reader(bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    if (header.size != sizeof(uint64_t))
        return fail(ErrorCode::kProtocol, "An answer to request {} has {} bytes.", header.request,
                    header.size);
    return header.size;
}

}  // namespace

BackendChannel::BackendChannel(EventLoop& loop, Broken broken)
    : loop_(loop), broken_(std::move(broken)) {}

BackendChannel::~BackendChannel() {
    if (socket_) hang_up(socket_->release());
}

Result<void> BackendChannel::attach(UniqueFd fd) {
    PeerFile socket(std::move(fd));  // one that is refused must not wait
    SWEDE_TRY(check_unix_stream(socket.get()));
    close(Error{ErrorCode::kClosed, "The front end replaced the channel."});
    watch_ = SWEDE_TRY(
        loop_.watch(socket.get(), EPOLLIN, [this](uint32_t events) { on_events(events); }));
    socket_.emplace(socket.take(), kLimits, payload_size);
    return {};
}

void BackendChannel::close(const Error& why) {
    if (socket_) log_.warn("The back-end channel ends: {}", why.message);
    watch_.reset();
    if (socket_) hang_up(socket_->release());
    socket_.reset();
    std::deque<Outstanding> failed;
    failed.swap(outstanding_);  // a `done` may send the next request, which fails at once
    for (Outstanding& request : failed) request.done(std::unexpected(why));
}

Result<void> BackendChannel::send(BackendRequest request, uint32_t flags,
                                  std::span<const std::byte> payload, int fd) {
    if (!socket_) return fail(ErrorCode::kClosed, "The front end gave no back-end channel.");
    const Header header{static_cast<uint32_t>(request), kVersion | flags,
                        static_cast<uint32_t>(payload.size())};
    const std::array<std::span<const std::byte>, 2> parts{bytes_of(header), payload};
    SWEDE_TRY(socket_->send(parts, std::span(&fd, fd >= 0 ? 1 : 0)));
    if (socket_->unsent() != 0) watch_.set_events(EPOLLIN | EPOLLOUT);
    return {};
}

void BackendChannel::request(BackendRequest request, std::span<const std::byte> payload, int fd,
                             Done done) {
    outstanding_.push_back({request, std::move(done)});
    if (const auto sent = send(request, kFlagNeedReply, payload, fd); !sent) close(sent.error());
}

void BackendChannel::notify(BackendRequest request) {
    if (const auto sent = send(request, 0, {}, -1); !sent) close(sent.error());
}

void BackendChannel::on_events(uint32_t events) {
    auto result = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 ? receive() : Result<void>();
    if (result && socket_) {
        result = socket_->flush();
        if (result && socket_->unsent() == 0) watch_.set_events(EPOLLIN);
    }
    if (result) return;
    const Error why = std::move(result).error();
    close(why);
    if (why.code == ErrorCode::kProtocol) broken_(why);
}

Result<void> BackendChannel::receive() {
    while (socket_ && SWEDE_TRY(socket_->receive(message_))) {
        ByteReader reader(message_.bytes);
        const auto header = SWEDE_TRY(reader.read<Header>());
        const auto status = SWEDE_TRY(reader.read<uint64_t>());
        if (header.flags != (kVersion | kFlagReply))
            return fail(ErrorCode::kProtocol, "A message with flags {:#x} is no answer.",
                        header.flags);
        if (outstanding_.empty() ||
            header.request != static_cast<uint32_t>(outstanding_.front().request))
            return fail(ErrorCode::kProtocol, "An answer to request {} was not asked for.",
                        header.request);
        Done done = std::move(outstanding_.front().done);
        outstanding_.pop_front();
        if (status == 0)
            done({});
        else
            done(fail(ErrorCode::kOutOfMemory, "The front end refuses request {} (status {:#x}).",
                      header.request, status));
    }
    return {};
}

}  // namespace swede::vhost_user
