// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/session.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/bytes.h"
#include "base/file_closer.h"
#include "base/log.h"
#include "transports/vhost_user/session_handlers.h"

namespace swede::vhost_user {
namespace {

log::Module log_("vhost_user");

/// Messages served in one turn of the loop: a front end that floods us does not starve the rest.
constexpr int kMessagesPerTurn = 64;
/// QEMU's main loop answers within a few ms; a guest need not wait for one that does not.
constexpr std::chrono::milliseconds kDisplayInfoWait{250};

constexpr MessageSocket::Limits kLimits{
    .header_size = sizeof(Header),
    .max_payload = 4096,
    .max_fds = kMaxTableRegions,
    .max_unsent = size_t{64} * 1024,
};
static_assert(sizeof(MemoryTableHead) + kMaxTableRegions * sizeof(MemoryRegionDescription) <=
              kLimits.max_payload);

Result<uint64_t> payload_size(std::span<const std::byte> bytes) {
    ByteReader reader(bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    if ((header.flags & kVersionMask) != kVersion || (header.flags & kFlagReply) != 0)
        return fail(ErrorCode::kProtocol, "Message {} has flags {:#x}; version 1 is served.",
                    header.request, header.flags);
    return header.size;
}

}  // namespace

Session::Session(const Options& options, const virtio_gpu::DeviceParts& parts, Ended ended)
    : options_(options),
      parts_(parts),
      ended_(std::move(ended)),
      memory_table_(memory_),
      channel_(parts.loop, [this](const Error& why) { end(why); }),
      window_(channel_, is_gpu() ? 0 : options.hostmem),
      qemu_sink_(parts.loop, [this](const wire::RespDisplayInfo* info) { display_info(info); }),
      tee_sink_({&parts.sink, &qemu_sink_}),
      device_options_(parts.options),
      display_info_deadline_(parts.loop, [this] { stop_awaiting_display_info(); }) {
    if (!is_gpu()) return;
    // QEMU tells the guest how many scanouts there are (its max_outputs, up to 16) and plugs them.
    virtio_gpu::OutputSize unplugged;
    unplugged.connected = false;
    device_options_.outputs.resize(wire::kMaxScanouts, unplugged);
}

Session::~Session() {
    ending_ = true;
    qemu_sink_.detach();
    if (device_) {
        parts_.device_changed(nullptr);
        // First, while all that it reports to is still there.
        device_.reset();
    }
    if (socket_) hang_up(socket_->release());
}

Result<std::unique_ptr<Session>> Session::create(UniqueFd socket, const Options& options,
                                                 const virtio_gpu::DeviceParts& parts,
                                                 Ended ended) {
    std::unique_ptr<Session> session(new Session(options, parts, std::move(ended)));
    SWEDE_TRY(session->start(std::move(socket)));
    return session;
}

Result<void> Session::start(UniqueFd socket) {
    SWEDE_TRY(check_unix_stream(socket.get()));
    SWEDE_TRY(set_nonblocking(socket.get()));
    virtio_gpu::DoorAbilities door;
    door.blobs = door.virgl = !is_gpu();
    door.display = is_gpu();
    rutabaga::DisplaySink& sink =
        is_gpu() ? static_cast<rutabaga::DisplaySink&>(tee_sink_) : parts_.sink;
    device_ = SWEDE_TRY(virtio_gpu::GpuDevice::create(parts_.loop, device_options_, door, memory_,
                                                      window_, *this, sink));
    vrings_.emplace(parts_.loop, device_->queues(), memory_table_,
                    [this](uint16_t index) { process_queue(index); });
    watch_ = SWEDE_TRY(
        parts_.loop.watch(socket.get(), EPOLLIN, [this](uint32_t events) { on_events(events); }));
    socket_.emplace(std::move(socket), kLimits, payload_size);
    parts_.device_changed(device_.get());
    return {};
}

void Session::end(const Error& why) {
    if (std::exchange(ending_, true)) return;
    if (why.code == ErrorCode::kClosed)
        log_.info("The front end has gone: {}", why.message);
    else
        log_.error("The front end is dropped: {}", why.message);
    watch_.reset();
    ended_();
}

void Session::on_events(uint32_t events) {
    Result<void> result;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) result = receive();
    if (result) result = socket_->flush();
    if (!result) return end(result.error());
    if (ending_) return;
    watch_.set_events(socket_->unsent() != 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

Result<void> Session::receive() {
    for (int i = 0; i < kMessagesPerTurn && !ending_; ++i) {
        if (!SWEDE_TRY(socket_->receive(message_))) break;
        auto result = dispatch();
        close_elsewhere(message_.fds);  // what no handler took is not kept until the next message
        if (!result) return result;
    }
    return {};
}

Result<void> Session::check(const Handler* handler, const Header& header) const {
    if (handler == nullptr)
        return fail(ErrorCode::kProtocol, "Message {} is not known here.", header.request);
    if (handler->needs && !negotiated(*handler->needs))
        return fail(ErrorCode::kProtocol,
                    "Message {} needs protocol feature {}, which was not negotiated.",
                    header.request, static_cast<unsigned>(*handler->needs));
    if (handler->gpu_only && !is_gpu())
        return fail(ErrorCode::kProtocol, "Message {} is for vhost-user-gpu only.", header.request);
    if (header.size < handler->min_size || header.size > handler->max_size)
        return fail(ErrorCode::kProtocol, "Message {} has {} bytes; {} to {} are possible.",
                    header.request, header.size, handler->min_size, handler->max_size);
    if (message_.fds.size() < handler->min_fds || message_.fds.size() > handler->max_fds)
        return fail(ErrorCode::kProtocol,
                    "Message {} carries {} file descriptors; {} to {} are possible.",
                    header.request, message_.fds.size(), handler->min_fds, handler->max_fds);
    return {};
}

Result<void> Session::dispatch() {
    ByteReader reader(message_.bytes);
    const auto header = SWEDE_TRY(reader.read<Header>());
    const auto found = std::ranges::find(handlers(), Request{header.request}, &Handler::request);
    const Handler* const handler = found == handlers().end() ? nullptr : &*found;
    log_.debug("Message {}: flags {:#x}, {} bytes, {} fds.", header.request, header.flags,
               header.size, message_.fds.size());

    auto result = check(handler, header);
    if (result) result = (this->*handler->handle)();
    const bool answers = handler != nullptr && handler->answers;
    const bool asked =
        (header.flags & kFlagNeedReply) != 0 && negotiated(ProtocolFeature::kReplyAck);
    if (answers || !asked) {
        if (result) return {};
        // Who waits for an answer of another kind, or for none, would go on with a wrong belief.
        if (answers || result.error().code == ErrorCode::kProtocol) {
            result.error().code = ErrorCode::kProtocol;
            return result;
        }
        log_.warn("Message {} fails: {}", header.request, result.error().message);
        return {};
    }
    if (!result) log_.warn("Message {} is refused: {}", header.request, result.error().message);
    const uint64_t status = result ? 0 : 1;
    return reply(header.request, bytes_of(status));
}

Result<void> Session::reply(uint32_t request, std::span<const std::byte> payload,
                            std::span<const std::byte> data) {
    const Header header{request, kVersion | kFlagReply,
                        static_cast<uint32_t>(payload.size() + data.size())};
    const std::array<std::span<const std::byte>, 3> parts{bytes_of(header), payload, data};
    return socket_->send(parts);
}

void Session::queue_interrupt(uint16_t queue) {
    if (vrings_) vrings_->interrupt(queue);
}

void Session::config_interrupt() {
    // On vhost-user-gpu, QEMU itself tells the guest of new sizes, and takes the message for an
    // error (vhost-user-gpu.c, vhost_user_gpu_config_change).
    if (is_gpu()) return;
    config_changed_ = true;
    send_config_change();
}

void Session::queue_broken(uint16_t queue) {
    if (vrings_) vrings_->report_error(queue);
}

void Session::send_config_change() {
    // "Suspended device state": no messages while all rings are stopped.
    if (!config_changed_ || !vrings_ || !vrings_->any_started() || !channel_.attached() ||
        !negotiated(ProtocolFeature::kConfig) || !negotiated(ProtocolFeature::kBackendReq))
        return;
    config_changed_ = false;
    channel_.notify(BackendRequest::kConfigChange);
}

void Session::process_queue(uint16_t index) {
    if (ending_) return;
    device_->process_queue(index);
    if (memory_.truncated())
        end(Error{ErrorCode::kProtocol, "A file behind the guest's memory was made shorter."});
}

void Session::begin_device_reset() {
    if (std::exchange(resetting_, true)) return;  // no ring has run since: nothing is new
    vrings_->hold();
    vrings_->queues_were_reset();
    device_->reset([this] {
        resetting_ = false;
        device_->set_features(features_);  // those of the start that goes on now
        vrings_->queues_were_reset();
        vrings_->release();
    });
}

void Session::display_info(const wire::RespDisplayInfo* info) {
    if (info != nullptr && !ending_) {
        const size_t count = std::min<size_t>(device_->outputs().size(), wire::kMaxScanouts);
        for (uint32_t i = 0; i < count; ++i) {
            const wire::DisplayOne& mode = info->modes[i];
            const virtio_gpu::OutputSize& old = device_->outputs()[i];
            virtio_gpu::OutputSize wanted = old;
            wanted.connected = mode.enabled != 0;
            if (wanted.connected) {
                wanted.width = mode.rect.width;
                wanted.height = mode.rect.height;
            }
            if (wanted.width == old.width && wanted.height == old.height &&
                wanted.connected == old.connected)
                continue;
            if (const auto set = device_->set_output(i, wanted); !set)
                log_.warn("QEMU's output {} is not taken: {}", i, set.error().message);
        }
    }
    stop_awaiting_display_info();
}

void Session::await_display_info() {
    if (!qemu_sink_.waiting_for_display_info() || std::exchange(awaiting_display_info_, true))
        return;
    if (const auto armed = display_info_deadline_.arm(kDisplayInfoWait); !armed) {
        log_.warn("{}", armed.error().message);
        awaiting_display_info_ = false;
        return;
    }
    vrings_->hold();
}

void Session::stop_awaiting_display_info() {
    if (!std::exchange(awaiting_display_info_, false)) return;
    display_info_deadline_.disarm();
    vrings_->release();
}

}  // namespace swede::vhost_user
