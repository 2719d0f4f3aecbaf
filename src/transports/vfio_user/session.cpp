// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/session.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/checked.h"
#include "base/file_closer.h"
#include "base/log.h"
#include "base/sigbus_guard.h"

namespace swede::vfio_user {
namespace {

using std::chrono_literals::operator""s;

log::Module log_("vfio_user");

/// How long a client may take to say VERSION, so that one that says nothing does not keep the next
/// one waiting.
constexpr auto kHandshakeTime = 5s;
/// Messages served before others on the loop have their turn.
constexpr int kMessagesPerTurn = 64;

constexpr MessageSocket::Limits kLimits{
    .header_size = sizeof(Header),
    .max_payload = sizeof(RegionAccess) + kMaxTransferSize,
    .max_fds = kMaxMessageFds,
    // No message is taken while a reply is unsent, so the longest reply is all that can wait.
    .max_unsent = sizeof(Header) + sizeof(RegionAccess) + kMaxTransferSize,
};

Result<uint64_t> payload_size(std::span<const std::byte> bytes) {
    const Header header = SWEDE_TRY(ByteReader(bytes).read<Header>());
    if (header.message_size < sizeof(Header))
        return fail(ErrorCode::kProtocol, "A message says that it is {} bytes long.",
                    header.message_size);
    return header.message_size - sizeof(Header);
}

Result<void> expect_end(const ByteReader& payload) {
    if (payload.remaining() == 0) return {};
    return fail(ErrorCode::kInvalidParameter, "A message has {} bytes more than its command takes.",
                payload.remaining());
}

template <WireStruct T>
Result<T> read_whole(ByteReader& payload) {
    const T value = SWEDE_TRY(payload.read<T>());
    SWEDE_TRY(expect_end(payload));
    return value;
}

Result<void> check_argsz(uint32_t argsz, size_t size) {
    if (argsz >= size) return {};
    return fail(ErrorCode::kInvalidParameter, "A message has the argsz {}; {} is needed.", argsz,
                size);
}

}  // namespace

Session::Session(UniqueFd socket, const Options& options, const virtio_gpu::DeviceParts& parts,
                 Ended ended)
    : parts_(parts),
      ended_(std::move(ended)),
      socket_(std::move(socket), kLimits, payload_size),
      handshake_(parts.loop,
                 [this] {
                     if (!negotiated_)
                         end(Error{ErrorCode::kProtocol, "The client does not say its version."});
                 }),
      sigbus_hits_(sigbus_guard::hits()),
      hostmem_(options.hostmem),
      config_(options.hostmem),
      interrupts_(parts.loop),
      registers_(memory_, config_, interrupts_) {}

Result<std::unique_ptr<Session>> Session::create(UniqueFd socket, const Options& options,
                                                 const virtio_gpu::DeviceParts& parts,
                                                 Ended ended) {
    std::unique_ptr<Session> session(
        new Session(std::move(socket), options, parts, std::move(ended)));
    SWEDE_TRY(session->start(options));
    return session;
}

Result<void> Session::start(const Options& options) {
    // One window a client: the last one's VMM may still map its own.
    if (options.hostmem != 0)
        window_ = SWEDE_TRY(virtio_gpu::StaticWindow::create(options.hostmem));
    virtio_gpu::HostVisibleWindow& window =
        window_ ? static_cast<virtio_gpu::HostVisibleWindow&>(*window_) : no_window_;
    device_ = SWEDE_TRY(virtio_gpu::GpuDevice::create(parts_.loop, parts_.options,
                                                      virtio_gpu::DoorAbilities{}, memory_, window,
                                                      registers_, parts_.sink));
    registers_.attach(*device_);
    watch_ = SWEDE_TRY(
        parts_.loop.watch(socket_.fd(), EPOLLIN, [this](uint32_t events) { on_socket(events); }));
    SWEDE_TRY(handshake_.arm(kHandshakeTime));
    parts_.device_changed(device_.get());
    return {};
}

Session::~Session() {
    if (device_) parts_.device_changed(nullptr);
    registers_.detach();
    device_.reset();  // before the memory, window and interrupts that it uses
    hang_up(socket_.release());
}

void Session::end(const Error& why) {
    if (std::exchange(over_, true)) return;
    if (why.code == ErrorCode::kClosed)
        log_.info("The client is gone: {}", why.message);
    else
        log_.error("The client is dropped: {}", why.message);
    watch_.reset();
    handshake_.disarm();
    ended_();
}

void Session::on_socket(uint32_t events) {
    if (socket_.unsent() != 0) {
        if (const auto flushed = socket_.flush(); !flushed) return end(flushed.error());
    } else if (reset_reply_) {
        // Nothing is read until the reset is done, so only the end of the connection wakes us.
        if ((events & (EPOLLHUP | EPOLLERR)) != 0)
            end(Error{ErrorCode::kClosed, "The peer closed the connection during a reset."});
        return;
    } else if (const auto taken = take_messages(); !taken) {
        return end(taken.error());
    }
    update_watch();
}

void Session::update_watch() {
    uint32_t events = EPOLLIN;
    if (reset_reply_) events = 0;
    if (socket_.unsent() != 0) events = EPOLLOUT;
    if (events != watched_events_) watch_.set_events(events);
    watched_events_ = events;
}

Result<void> Session::take_messages() {
    for (int i = 0; i < kMessagesPerTurn && socket_.unsent() == 0 && !reset_reply_; ++i) {
        if (!SWEDE_TRY(socket_.receive(message_))) return {};
        SWEDE_TRY(handle(message_));
    }
    return {};
}

Result<void> Session::handle(Message& message) {
    ByteReader payload(message.bytes);
    const Header header = SWEDE_TRY(payload.read<Header>());
    if ((header.flags & kFlagTypeMask) != kFlagTypeCommand)
        return fail(ErrorCode::kProtocol, "A message of type {} comes where commands are taken.",
                    header.flags & kFlagTypeMask);
    reply_.clear();
    reply_fd_ = -1;
    work_ = 0;
    const auto done = dispatch(header, payload, message.fds);
    close_elsewhere(message.fds);  // what no handler took
    if (!done) log_.warn("Command {} is refused: {}", header.command, done.error().message);
    const bool answers_itself =
        done && header.command == static_cast<uint16_t>(Command::kDeviceReset);
    if (!answers_itself) SWEDE_TRY(send_reply(header, done ? 0 : errno_of(done.error().code)));
    if (!done && done.error().code == ErrorCode::kProtocol) return done;
    // The client has its answer: now the work that it asked for.
    if (work_ != 0) registers_.serve(work_);
    if (const uint64_t hits = sigbus_guard::hits(); hits != sigbus_hits_) [[unlikely]] {
        sigbus_hits_ = hits;
        if (memory_.truncated())
            return fail(ErrorCode::kProtocol, "A file behind the guest's memory was truncated.");
    }
    return {};
}

Result<void> Session::dispatch(const Header& header, ByteReader& payload, Fds& fds) {
    const auto command = static_cast<Command>(header.command);
    const bool takes_fds = command == Command::kDmaMap || command == Command::kDeviceSetIrqs;
    if (!takes_fds && !fds.empty())
        return fail(ErrorCode::kInvalidParameter, "It comes with {} file descriptors.", fds.size());
    if (!negotiated_ && command != Command::kVersion)
        return fail(ErrorCode::kInvalidParameter, "The client has not said its version.");
    switch (command) {
        case Command::kVersion:
            return version(payload);
        case Command::kDmaMap:
            return dma_map(payload, fds);
        case Command::kDmaUnmap:
            return dma_unmap(payload);
        case Command::kDeviceGetInfo:
            return get_info(payload);
        case Command::kDeviceGetRegionInfo:
            return get_region_info(payload);
        case Command::kDeviceGetRegionIoFds:
            return get_region_io_fds(payload);
        case Command::kDeviceGetIrqInfo:
            return get_irq_info(payload);
        case Command::kDeviceSetIrqs:
            return set_irqs(payload, fds);
        case Command::kRegionRead:
            return region_read(payload);
        case Command::kRegionWrite:
            return region_write(payload);
        case Command::kRegionWriteMulti:
            return region_write_multi(payload);
        case Command::kDeviceReset:
            SWEDE_TRY(expect_end(payload));
            return device_reset(header);
        case Command::kDmaRead:
        case Command::kDmaWrite:
            break;  // only a server sends these
    }
    return fail(ErrorCode::kInvalidParameter, "The device knows no such command.");
}

Result<void> Session::send_reply(const Header& header, int error_number) {
    if ((header.flags & kFlagNoReply) != 0) return {};
    Header reply = header;
    reply.flags = kFlagTypeReply | (error_number != 0 ? kFlagError : 0);
    reply.error = static_cast<uint32_t>(error_number);
    if (error_number != 0) reply_.clear();
    reply.message_size = static_cast<uint32_t>(sizeof(Header) + reply_.size());
    const std::array<std::span<const std::byte>, 2> parts{bytes_of(reply), reply_};
    const bool with_fd = error_number == 0 && reply_fd_ >= 0;
    return socket_.send(parts,
                        with_fd ? std::span<const int>(&reply_fd_, 1) : std::span<const int>());
}

template <WireStruct T>
void append(std::vector<std::byte>& to, const T& value) {
    const auto bytes = bytes_of(value);
    to.insert(to.end(), bytes.begin(), bytes.end());
}

template <WireStruct T>
bool Session::answer_sized(uint32_t argsz, const T& info) {
    append(reply_, info);
    if (argsz >= sizeof(T)) return true;
    // "Message sizes": what does not fit is left out; the structure's argsz tells the size needed.
    reply_.resize(argsz);
    return false;
}

Result<void> Session::version(ByteReader& payload) {
    if (negotiated_) return fail(ErrorCode::kInvalidParameter, "The version is agreed on already.");
    const Version proposed = SWEDE_TRY(payload.read<Version>());
    if (proposed.major != kVersionMajor)
        return fail(ErrorCode::kProtocol, "The client speaks version {}.{}; {}.x is spoken here.",
                    proposed.major, proposed.minor, kVersionMajor);
    client_ = SWEDE_TRY(parse_capabilities(payload.rest()));
    append(reply_, Version{kVersionMajor, std::min(proposed.minor, kVersionMinor)});
    const std::string text = capabilities_text(client_);
    const auto characters = std::as_bytes(std::span(text.c_str(), text.size() + 1));
    reply_.insert(reply_.end(), characters.begin(), characters.end());
    negotiated_ = true;
    handshake_.disarm();
    return {};
}

Result<void> Session::dma_map(ByteReader& payload, Fds& fds) {
    const auto map = SWEDE_TRY(read_whole<DmaMap>(payload));
    SWEDE_TRY(check_argsz(map.argsz, sizeof(map)));
    if (fds.size() > 1)
        return fail(ErrorCode::kInvalidParameter, "DMA_MAP comes with {} file descriptors.",
                    fds.size());
    if ((map.flags & ~(kDmaMapRead | kDmaMapWrite)) != 0 || (map.flags & kDmaMapRead) == 0)
        return fail(ErrorCode::kInvalidParameter, "DMA_MAP has the flags {:#x}.", map.flags);
    if (!is_page_aligned(map.address) || !is_page_aligned(map.size) || !is_page_aligned(map.offset))
        return fail(ErrorCode::kInvalidParameter,
                    "DMA_MAP of {:#x} bytes at {:#x} from offset {:#x} is not made of whole pages.",
                    map.size, map.address, map.offset);
    for (const auto& region : memory_.regions())
        if (ranges_overlap(map.address, map.size, region->address, region->size))
            return fail(ErrorCode::kExists,
                        "DMA_MAP of {:#x} bytes at {:#x} overlaps {:#x} at {:#x}.", map.size,
                        map.address, region->size, region->address);
    // A duplicate: one that cannot be mapped is closed with the message, where nobody waits for it.
    UniqueFd fd = fds.empty() ? UniqueFd() : fds[0].duplicate();
    const bool is_readable = static_cast<bool>(fd);
    SWEDE_TRY(memory_.add(map.address, map.size, std::move(fd), map.offset,
                          (map.flags & kDmaMapWrite) != 0 ? Access::kReadWrite : Access::kRead));
    log_.debug("Memory: {:#x} bytes at {:#x}{}.", map.size, map.address,
               is_readable ? "" : ", without a file");
    // Rings may be in it: what completed while they were gone is given back now.
    work_ = ~VirtioPci::QueueMask{0};
    return {};
}

Result<void> Session::dma_unmap(ByteReader& payload) {
    const auto unmap = SWEDE_TRY(read_whole<DmaUnmap>(payload));
    if ((unmap.flags & kDmaUnmapDirtyBitmap) != 0)
        return fail(ErrorCode::kUnsupported,
                    "DMA_UNMAP asks for dirty pages, which are not logged.");
    if ((unmap.flags & ~kDmaUnmapAll) != 0)
        return fail(ErrorCode::kInvalidParameter, "DMA_UNMAP has the flags {:#x}.", unmap.flags);
    SWEDE_TRY(check_argsz(unmap.argsz, sizeof(unmap)));
    if ((unmap.flags & kDmaUnmapAll) != 0) {
        if (unmap.address != 0 || unmap.size != 0)
            return fail(ErrorCode::kInvalidParameter,
                        "DMA_UNMAP of all names {:#x} bytes at {:#x}.", unmap.size, unmap.address);
        memory_.clear();
    } else {
        SWEDE_TRY(memory_.remove(unmap.address, unmap.size));
        log_.debug("Memory: {:#x} bytes at {:#x} are gone.", unmap.size, unmap.address);
    }
    append(reply_, unmap);
    return {};
}

Result<void> Session::get_info(ByteReader& payload) {
    const auto request = SWEDE_TRY(read_whole<DeviceInfo>(payload));
    SWEDE_TRY(check_argsz(request.argsz, sizeof(request.argsz)));
    (void)answer_sized(request.argsz, DeviceInfo{.argsz = sizeof(DeviceInfo),
                                                 .flags = kDeviceInfoReset | kDeviceInfoPci,
                                                 .num_regions = kRegionCount,
                                                 .num_irqs = kIrqCount});
    return {};
}

uint64_t Session::region_size(uint32_t index) const {
    switch (index) {
        case kRegionBar0:
            return kBar0Size;
        case kRegionBar2:
            return kBar2Size;
        case kRegionBar4:
            return hostmem_;
        case kRegionConfig:
            return PciConfig::kSize;
        default:
            return 0;
    }
}

Result<void> Session::get_region_info(ByteReader& payload) {
    const auto request = SWEDE_TRY(read_whole<RegionInfo>(payload));
    SWEDE_TRY(check_argsz(request.argsz, sizeof(request.argsz)));
    if (request.index >= kRegionCount)
        return fail(ErrorCode::kInvalidParameter, "Region {} does not exist.", request.index);
    RegionInfo info{};
    info.argsz = sizeof(info);
    info.index = request.index;
    info.size = region_size(request.index);
    if (info.size != 0) info.flags = kRegionInfoRead | kRegionInfoWrite;
    const bool mappable = request.index == kRegionBar4 && window_ && client_.max_msg_fds > 0;
    if (mappable) info.flags |= kRegionInfoMmap;
    if (answer_sized(request.argsz, info) && mappable) reply_fd_ = window_->fd();
    return {};
}

/// No doorbell can be an eventfd yet: QEMU's client never asks. An empty list is a valid answer.
Result<void> Session::get_region_io_fds(ByteReader& payload) {
    const auto request = SWEDE_TRY(read_whole<RegionIoFds>(payload));
    SWEDE_TRY(check_argsz(request.argsz, sizeof(request.argsz)));
    if (request.index >= kRegionCount || request.flags != 0 || request.count != 0)
        return fail(ErrorCode::kInvalidParameter,
                    "GET_REGION_IO_FDS names region {}, flags {:#x}, count {}.", request.index,
                    request.flags, request.count);
    (void)answer_sized(
        request.argsz,
        RegionIoFds{.argsz = sizeof(request), .flags = 0, .index = request.index, .count = 0});
    return {};
}

Result<void> Session::get_irq_info(ByteReader& payload) {
    const auto request = SWEDE_TRY(read_whole<IrqInfo>(payload));
    SWEDE_TRY(check_argsz(request.argsz, sizeof(request.argsz)));
    if (request.index >= kIrqCount)
        return fail(ErrorCode::kInvalidParameter, "Interrupt index {} does not exist.",
                    request.index);
    (void)answer_sized(request.argsz, IrqInfo{.argsz = sizeof(request),
                                              .flags = Interrupts::info_flags(request.index),
                                              .index = request.index,
                                              .count = Interrupts::count(request.index)});
    return {};
}

Result<void> Session::set_irqs(ByteReader& payload, Fds& fds) {
    const IrqSet request = SWEDE_TRY(payload.read<IrqSet>());
    SWEDE_TRY(check_argsz(request.argsz, sizeof(request)));
    return interrupts_.set(request, payload.rest(), fds);
}

Result<void> Session::check_access(const RegionAccess& access) const {
    const uint64_t size = region_size(access.region);
    if (access.count == 0 || access.count > kMaxTransferSize ||
        !range_fits(access.offset, access.count, size))
        return fail(ErrorCode::kInvalidParameter,
                    "An access of {} bytes at {:#x} of region {}, which has {:#x}.", access.count,
                    access.offset, access.region, size);
    return {};
}

Result<void> Session::region_read(ByteReader& payload) {
    const auto access = SWEDE_TRY(read_whole<RegionAccess>(payload));
    SWEDE_TRY(check_access(access));
    append(reply_, access);
    reply_.resize(sizeof(access) + access.count);
    return read_region(access.region, access.offset,
                       std::span(reply_).subspan(sizeof(access), access.count));
}

Result<void> Session::region_write(ByteReader& payload) {
    const auto access = SWEDE_TRY(payload.read<RegionAccess>());
    SWEDE_TRY(check_access(access));
    const auto data = SWEDE_TRY(payload.read_bytes(access.count));
    SWEDE_TRY(expect_end(payload));
    SWEDE_TRY(write_region(access.region, access.offset, data));
    append(reply_, access);
    return {};
}

Result<void> Session::region_write_multi(ByteReader& payload) {
    const auto count = SWEDE_TRY(payload.read<uint64_t>());
    if (count == 0 || checked_mul<uint64_t>(count, sizeof(RegionWriteSmall)) != payload.remaining())
        return fail(ErrorCode::kInvalidParameter, "REGION_WRITE_MULTI of {} writes has {} bytes.",
                    count, payload.remaining());
    uint64_t done = 0;
    for (; done < count; ++done) {
        const auto write = SWEDE_TRY(payload.read<RegionWriteSmall>());
        const RegionAccess access{write.offset, write.region, write.count};
        Result<void> result = check_access(access);
        if (result && write.count > sizeof(write.data))
            result = fail(ErrorCode::kInvalidParameter, "A small write of {} bytes.", write.count);
        if (result)
            result = write_region(write.region, write.offset,
                                  std::as_bytes(std::span(write.data)).first(write.count));
        if (result) continue;
        if (done == 0) return result;
        log_.warn("Write {} of {} is refused: {}", done, count, result.error().message);
        break;
    }
    append(reply_, done);
    return {};
}

Result<void> Session::device_reset(const Header& header) {
    reset_reply_ = header;
    registers_.reset([this] {
        config_.reset();
        const Header request = *std::exchange(reset_reply_, std::nullopt);
        reply_.clear();
        reply_fd_ = -1;
        // A client that cannot take the reply shows at the next read.
        if (const auto sent = send_reply(request, 0); !sent)
            log_.warn("The reply to a reset is lost: {}", sent.error().message);
        if (!over_) update_watch();
    });
    return {};
}

Result<void> Session::read_region(uint32_t index, uint64_t offset, std::span<std::byte> to) {
    switch (index) {
        case kRegionBar0: {
            // VFIO clients emulate the vector table; of ours they only read the pending bits.
            std::ranges::fill(to, std::byte{0});
            const uint64_t pending = interrupts_.pending();
            for (size_t i = 0; i < sizeof(pending); ++i) {
                const uint64_t at = kMsixPendingOffset + i;
                if (at >= offset && at - offset < to.size()) to[at - offset] = bytes_of(pending)[i];
            }
            return {};
        }
        case kRegionBar2:
            registers_.read(offset, to);
            return {};
        case kRegionBar4:
            return read_window(offset, to);
        case kRegionConfig:
            read_config(offset, to);
            return {};
        default:
            return fail(ErrorCode::kInvalidParameter, "Region {} is not there.", index);
    }
}

Result<void> Session::write_region(uint32_t index, uint64_t offset,
                                   std::span<const std::byte> from) {
    switch (index) {
        case kRegionBar0:
            return {};
        case kRegionBar2:
            work_ |= registers_.write(offset, from);
            return {};
        case kRegionBar4:
            return write_window(offset, from);
        case kRegionConfig:
            return write_config(offset, from);
        default:
            return fail(ErrorCode::kInvalidParameter, "Region {} is not there.", index);
    }
}

Result<void> Session::read_window(uint64_t offset, std::span<std::byte> to) const {
    while (!to.empty()) {
        const ssize_t size =
            ::pread(window_->fd(), to.data(), to.size(), static_cast<off_t>(offset));
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return fail_errno("Cannot read the window", errno);
        to = to.subspan(static_cast<size_t>(size));
        offset += static_cast<uint64_t>(size);
    }
    return {};
}

Result<void> Session::write_window(uint64_t offset, std::span<const std::byte> from) const {
    while (!from.empty()) {
        const ssize_t size =
            ::pwrite(window_->fd(), from.data(), from.size(), static_cast<off_t>(offset));
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return fail_errno("Cannot write to the window", errno);
        from = from.subspan(static_cast<size_t>(size));
        offset += static_cast<uint64_t>(size);
    }
    return {};
}

void Session::read_config(uint64_t offset, std::span<std::byte> to) {
    if (const auto window = config_.window_access(offset, to.size())) {
        const RegionAccess access{window->offset, window->bar, window->length};
        if (window->bar <= kRegionBar4 && check_access(access))
            (void)read_region(window->bar, window->offset,
                              config_.window_data().first(window->length));
    }
    config_.read(offset, to);
}

Result<void> Session::write_config(uint64_t offset, std::span<const std::byte> from) {
    config_.write(offset, from);
    registers_.update_interrupt_line();
    if (const auto window = config_.window_access(offset, from.size())) {
        const RegionAccess access{window->offset, window->bar, window->length};
        if (window->bar <= kRegionBar4 && check_access(access))
            return write_region(window->bar, window->offset,
                                config_.window_data().first(window->length));
    }
    return {};
}

}  // namespace swede::vfio_user
