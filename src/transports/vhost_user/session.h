// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "display/qemu_socket_sink.h"
#include "display/tee_sink.h"
#include "transports/vhost_user/backend_channel.h"
#include "transports/vhost_user/memory_table.h"
#include "transports/vhost_user/protocol.h"
#include "transports/vhost_user/shmem_window.h"
#include "transports/vhost_user/vhost_user.h"
#include "transports/vhost_user/vrings.h"
#include "virtio/device.h"
#include "virtio/guest_memory.h"
#include "virtio_gpu/gpu_device.h"

namespace swede::vhost_user {

/// One front end: its connection, its guest's memory and rings, and the device that serves them.
/// Owned by the server, on the loop's thread; dies when the front end has gone or broken the
/// protocol, and everything of the guest with it.
///
/// Three kinds of failure. A broken frame (version, length, too many fds) ends the client, for
/// nothing after it can be read. A message that cannot be meant (unknown, not negotiated, wrong
/// size or count of fds) is refused when the front end asked for a reply, and ends the client when
/// it did not. A request that cannot be done (a bad address, a ring too long) is refused, or logged
/// when no reply was asked for, and leaves all else as it was.
class Session : private virtio::DeviceHost {
  public:
    /// Runs on the loop's thread, from inside the session: destroy it later.
    using Ended = std::function<void()>;

    [[nodiscard]] static Result<std::unique_ptr<Session>> create(
        UniqueFd socket, const Options& options, const virtio_gpu::DeviceParts& parts, Ended ended);
    ~Session() override;
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

  private:
    /// A row of the table of messages.
    struct Handler;
    [[nodiscard]] static std::span<const Handler> handlers();

    Session(const Options& options, const virtio_gpu::DeviceParts& parts, Ended ended);
    [[nodiscard]] Result<void> start(UniqueFd socket);

    // virtio::DeviceHost
    void queue_interrupt(uint16_t queue) override;
    void config_interrupt() override;
    void queue_broken(uint16_t queue) override;

    void on_events(uint32_t events);
    [[nodiscard]] Result<void> receive();
    [[nodiscard]] Result<void> dispatch();
    [[nodiscard]] Result<void> check(const Handler* handler, const Header& header) const;
    void end(const Error& why);
    [[nodiscard]] Result<void> reply(uint32_t request, std::span<const std::byte> payload,
                                     std::span<const std::byte> data = {});
    template <typename T>
    [[nodiscard]] Result<void> reply_with(Request request, const T& payload);

    // One for each message; session_messages.cpp. They find it in message_, checked by `check`.
    [[nodiscard]] Result<void> get_features();
    [[nodiscard]] Result<void> set_features();
    [[nodiscard]] Result<void> ignore();
    [[nodiscard]] Result<void> refuse();
    [[nodiscard]] Result<void> set_mem_table();
    [[nodiscard]] Result<void> set_vring_num();
    [[nodiscard]] Result<void> set_vring_addr();
    [[nodiscard]] Result<void> set_vring_base();
    [[nodiscard]] Result<void> get_vring_base();
    [[nodiscard]] Result<void> set_vring_kick();
    [[nodiscard]] Result<void> set_vring_call();
    [[nodiscard]] Result<void> set_vring_err();
    [[nodiscard]] Result<void> get_protocol_features();
    [[nodiscard]] Result<void> set_protocol_features();
    [[nodiscard]] Result<void> get_queue_num();
    [[nodiscard]] Result<void> set_vring_enable();
    [[nodiscard]] Result<void> set_backend_req_fd();
    [[nodiscard]] Result<void> get_config();
    [[nodiscard]] Result<void> set_config();
    [[nodiscard]] Result<void> gpu_set_socket();
    [[nodiscard]] Result<void> reset_device();
    [[nodiscard]] Result<void> get_max_mem_slots();
    [[nodiscard]] UniqueFd first_file() const;
    [[nodiscard]] Result<void> add_mem_reg();
    [[nodiscard]] Result<void> rem_mem_reg();
    [[nodiscard]] Result<void> get_shmem_config();

    [[nodiscard]] ByteReader payload() const;
    [[nodiscard]] Result<uint32_t> vring_fd_index();
    [[nodiscard]] Result<std::span<const std::byte>> config_range(ConfigHead& head);
    [[nodiscard]] bool negotiated(ProtocolFeature feature) const;
    [[nodiscard]] bool is_gpu() const { return options_.personality == Personality::kGpu; }
    [[nodiscard]] uint64_t offered_features() const;
    [[nodiscard]] uint64_t offered_protocol_features() const;

    void process_queue(uint16_t index);
    void begin_device_reset();
    void send_config_change();
    void display_info(const wire::RespDisplayInfo* info);
    /// Keeps the guest's GET_DISPLAY_INFO waiting until QEMU has told its sizes, for a while.
    void await_display_info();
    void stop_awaiting_display_info();

    const Options options_;
    const virtio_gpu::DeviceParts& parts_;
    Ended ended_;
    bool ending_ = false;

    virtio::GuestMemory memory_;
    MemoryTable memory_table_;
    BackendChannel channel_;
    ShmemWindow window_;
    display::QemuSocketSink qemu_sink_;
    display::TeeSink tee_sink_;
    virtio_gpu::Options device_options_;  ///< the program's, with all outputs for QEMU to plug
    std::unique_ptr<virtio_gpu::GpuDevice> device_;
    std::optional<Vrings> vrings_;  ///< after the device, whose queues it drives

    std::optional<MessageSocket> socket_;
    EventLoop::Watch watch_;
    Message message_;

    uint64_t features_ = 0;               ///< as SET_FEATURES took them
    uint64_t protocol_features_ = 0;      ///< as SET_PROTOCOL_FEATURES took them
    bool resetting_ = false;              ///< the device's reset is not done; the rings are held
    bool config_changed_ = false;         ///< the front end is to be told
    bool awaiting_display_info_ = false;  ///< the rings are held
    EventLoop::Timer display_info_deadline_;
};

}  // namespace swede::vhost_user
