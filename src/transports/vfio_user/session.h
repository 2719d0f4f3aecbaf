// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "transports/vfio_user/capabilities.h"
#include "transports/vfio_user/interrupts.h"
#include "transports/vfio_user/pci_config.h"
#include "transports/vfio_user/protocol.h"
#include "transports/vfio_user/vfio_user.h"
#include "transports/vfio_user/virtio_pci.h"
#include "virtio/guest_memory.h"
#include "virtio_gpu/gpu_device.h"
#include "virtio_gpu/no_window.h"
#include "virtio_gpu/static_window.h"

namespace swede::vfio_user {

/// One client: its connection, its guest's memory, its device and the device's window. Owned by the
/// server, on the device thread; everything of the guest dies with it.
///
/// A message that is whole but wrong gets an error reply; one that breaks the framing ends the
/// client. Messages are served in order, a bounded number a turn; while a reply waits to be read by
/// a slow client, or a DEVICE_RESET for its end, no further message is taken.
class Session {
  public:
    using Ended = std::move_only_function<void()>;

    /// `ended` is called once when the client is gone or has to go, from inside the session:
    /// destroy it later.
    [[nodiscard]] static Result<std::unique_ptr<Session>> create(
        UniqueFd socket, const Options& options, const virtio_gpu::DeviceParts& parts, Ended ended);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

  private:
    using Fds = std::vector<UniqueFd>;

    Session(UniqueFd socket, const Options& options, const virtio_gpu::DeviceParts& parts,
            Ended ended);
    [[nodiscard]] Result<void> start(const Options& options);

    void on_socket(uint32_t events);
    [[nodiscard]] Result<void> take_messages();
    [[nodiscard]] Result<void> handle(Message& message);
    [[nodiscard]] Result<void> dispatch(const Header& header, ByteReader& payload, Fds& fds);
    [[nodiscard]] Result<void> send_reply(const Header& header, int error_number);
    void update_watch();
    void end(const Error& why);

    // One for each message. An Error becomes the reply's errno.
    [[nodiscard]] Result<void> version(ByteReader& payload);
    [[nodiscard]] Result<void> dma_map(ByteReader& payload, Fds& fds);
    [[nodiscard]] Result<void> dma_unmap(ByteReader& payload);
    [[nodiscard]] Result<void> get_info(ByteReader& payload);
    [[nodiscard]] Result<void> get_region_info(ByteReader& payload);
    [[nodiscard]] Result<void> get_region_io_fds(ByteReader& payload);
    [[nodiscard]] Result<void> get_irq_info(ByteReader& payload);
    [[nodiscard]] Result<void> set_irqs(ByteReader& payload, Fds& fds);
    [[nodiscard]] Result<void> region_read(ByteReader& payload);
    [[nodiscard]] Result<void> region_write(ByteReader& payload);
    [[nodiscard]] Result<void> region_write_multi(ByteReader& payload);
    [[nodiscard]] Result<void> device_reset(const Header& header);

    [[nodiscard]] uint64_t region_size(uint32_t index) const;
    [[nodiscard]] Result<void> check_access(const RegionAccess& access) const;
    [[nodiscard]] Result<void> read_region(uint32_t index, uint64_t offset,
                                           std::span<std::byte> to);
    [[nodiscard]] Result<void> write_region(uint32_t index, uint64_t offset,
                                            std::span<const std::byte> from);
    void read_config(uint64_t offset, std::span<std::byte> to);
    [[nodiscard]] Result<void> write_config(uint64_t offset, std::span<const std::byte> from);
    [[nodiscard]] Result<void> read_window(uint64_t offset, std::span<std::byte> to) const;
    [[nodiscard]] Result<void> write_window(uint64_t offset, std::span<const std::byte> from) const;

    /// Sets the reply to `info`, cut to what the client has room for.
    template <WireStruct T>
    [[nodiscard]] bool answer_sized(uint32_t argsz, const T& info);

    const virtio_gpu::DeviceParts& parts_;
    Ended ended_;
    MessageSocket socket_;
    Message message_;
    bool negotiated_ = false;
    bool over_ = false;
    ClientCapabilities client_;
    EventLoop::Timer handshake_;

    // The reply to the message at hand; its memory is reused.
    std::vector<std::byte> reply_;
    int reply_fd_ = -1;
    VirtioPci::QueueMask work_ = 0;      ///< to serve after the reply
    std::optional<Header> reset_reply_;  ///< a DEVICE_RESET that goes on
    uint64_t sigbus_hits_ = 0;           ///< process-wide count when last looked at

    uint64_t hostmem_;  ///< bytes
    virtio::GuestMemory memory_;
    std::unique_ptr<virtio_gpu::StaticWindow> window_;  ///< null: no hostmem
    virtio_gpu::NoWindow no_window_;
    PciConfig config_;
    Interrupts interrupts_;
    VirtioPci registers_;
    std::unique_ptr<virtio_gpu::GpuDevice> device_;
    EventLoop::Watch watch_;  ///< ends before the socket's fd closes
    uint32_t watched_events_ = EPOLLIN;
};

}  // namespace swede::vfio_user
