// SPDX-License-Identifier: Apache-2.0
// The messages of the front end, one handler each.
#include <array>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "transports/vhost_user/session.h"
#include "transports/vhost_user/session_handlers.h"

namespace swede::vhost_user {
namespace {

log::Module log_("vhost_user");

/// Bits that QEMU lets a guest of vhost-user-gpu negotiate whatever the back end offers, and that
/// ask nothing of us: NOTIFY_ON_EMPTY (legacy), ANY_LAYOUT, ORDER_PLATFORM, RING_RESET (QEMU's own
/// part of it). All others must have been offered: packed rings or IOMMU addresses would be
/// misread.
constexpr uint64_t kHarmlessFeatures =
    (uint64_t{1} << 24) | (uint64_t{1} << 27) | (uint64_t{1} << 36) | (uint64_t{1} << 40);

constexpr uint32_t kMaxTableSize =
    sizeof(MemoryTableHead) + kMaxTableRegions * sizeof(MemoryRegionDescription);

}  // namespace

std::span<const Session::Handler> Session::handlers() {
    static constexpr Handler kHandlers[] = {
        // request, payload bytes, fds, needs, gpu only, answers, handler
        {Request::kGetFeatures, 0, 0, 0, 0, {}, false, true, &Session::get_features},
        {Request::kSetFeatures, 8, 8, 0, 0, {}, false, false, &Session::set_features},
        {Request::kSetOwner, 0, 0, 0, 0, {}, false, false, &Session::ignore},
        // "It is recommended that back-ends either ignore this message" (deprecated).
        {Request::kResetOwner, 0, 0, 0, 0, {}, false, false, &Session::ignore},
        {Request::kSetMemTable,
         8,
         kMaxTableSize,
         0,
         kMaxTableRegions,
         {},
         false,
         false,
         &Session::set_mem_table},
        // Migration is not offered (VHOST_F_LOG_ALL, LOG_SHMFD).
        {Request::kSetLogBase, 0, 16, 0, 1, {}, false, false, &Session::refuse},
        {Request::kSetLogFd, 0, 8, 0, 1, {}, false, false, &Session::refuse},
        {Request::kSetVringNum, 8, 8, 0, 0, {}, false, false, &Session::set_vring_num},
        {Request::kSetVringAddr, 40, 40, 0, 0, {}, false, false, &Session::set_vring_addr},
        {Request::kSetVringBase, 8, 8, 0, 0, {}, false, false, &Session::set_vring_base},
        {Request::kGetVringBase, 8, 8, 0, 0, {}, false, true, &Session::get_vring_base},
        {Request::kSetVringKick, 8, 8, 0, 1, {}, false, false, &Session::set_vring_kick},
        {Request::kSetVringCall, 8, 8, 0, 1, {}, false, false, &Session::set_vring_call},
        {Request::kSetVringErr, 8, 8, 0, 1, {}, false, false, &Session::set_vring_err},
        {Request::kGetProtocolFeatures,
         0,
         0,
         0,
         0,
         {},
         false,
         true,
         &Session::get_protocol_features},
        {Request::kSetProtocolFeatures,
         8,
         8,
         0,
         0,
         {},
         false,
         false,
         &Session::set_protocol_features},
        // QEMU asks before it has acknowledged MQ.
        {Request::kGetQueueNum, 0, 0, 0, 0, {}, false, true, &Session::get_queue_num},
        {Request::kSetVringEnable, 8, 8, 0, 0, {}, false, false, &Session::set_vring_enable},
        {Request::kSetBackendReqFd, 0, 8, 1, 1, ProtocolFeature::kBackendReq, false, false,
         &Session::set_backend_req_fd},
        {Request::kGetConfig, 12, 12 + kMaxConfigSize, 0, 0, ProtocolFeature::kConfig, false, true,
         &Session::get_config},
        {Request::kSetConfig, 12, 12 + kMaxConfigSize, 0, 0, ProtocolFeature::kConfig, false, false,
         &Session::set_config},
        {Request::kGpuSetSocket, 0, 8, 1, 1, {}, true, false, &Session::gpu_set_socket},
        {Request::kResetDevice, 0, 0, 0, 0, ProtocolFeature::kResetDevice, false, false,
         &Session::reset_device},
        {Request::kGetMaxMemSlots, 0, 0, 0, 0, ProtocolFeature::kConfigureMemSlots, false, true,
         &Session::get_max_mem_slots},
        {Request::kAddMemReg, 40, 40, 1, 1, ProtocolFeature::kConfigureMemSlots, false, false,
         &Session::add_mem_reg},
        // "For compatibility with existing incorrect implementations": one fd, which is closed.
        {Request::kRemMemReg, 40, 40, 0, 1, ProtocolFeature::kConfigureMemSlots, false, false,
         &Session::rem_mem_reg},
        {Request::kGetShmemConfig, 0, 0, 0, 0, ProtocolFeature::kShmemMap, false, true,
         &Session::get_shmem_config},
    };
    return kHandlers;
}

bool Session::negotiated(ProtocolFeature feature) const {
    return (protocol_features_ & bit_of(feature)) != 0;
}

ByteReader Session::payload() const {
    return ByteReader(std::span(message_.bytes).subspan(sizeof(Header)));
}

template <typename T>
Result<void> Session::reply_with(Request request, const T& payload) {
    return reply(static_cast<uint32_t>(request), bytes_of(payload));
}

uint64_t Session::offered_features() const {
    return device_->features() | virtio::kFeatureVersion1 | virtio::kFeatureEventIdx |
           virtio::kFeatureIndirectDesc | kFeatureProtocolFeatures;
}

uint64_t Session::offered_protocol_features() const {
    const bool window = !is_gpu() && window_.size() != 0;
    return bit_of(ProtocolFeature::kMq) | bit_of(ProtocolFeature::kReplyAck) |
           bit_of(ProtocolFeature::kBackendReq) | bit_of(ProtocolFeature::kConfig) |
           bit_of(ProtocolFeature::kBackendSendFd) | bit_of(ProtocolFeature::kResetDevice) |
           bit_of(ProtocolFeature::kConfigureMemSlots) |
           (window ? bit_of(ProtocolFeature::kShmemMap) : 0);
}

Result<void> Session::ignore() {
    return {};
}

Result<void> Session::refuse() {
    return fail(ErrorCode::kUnsupported, "Logging for migration is not offered.");
}

Result<void> Session::get_features() {
    return reply_with(Request::kGetFeatures, offered_features());
}

Result<void> Session::set_features() {
    const auto features = SWEDE_TRY(payload().read<uint64_t>());
    const uint64_t unknown = features & ~(offered_features() | kHarmlessFeatures);
    if (unknown != 0)
        return fail(ErrorCode::kProtocol, "Features {:#x} are set and were not offered.", unknown);
    if (features != features_) {
        for (uint16_t i = 0; i < device_->queues().size(); ++i)
            if (vrings_->running(i))
                return fail(ErrorCode::kInvalidParameter, "Features cannot change as ring {} runs.",
                            i);
    }
    log_.debug("The driver takes features {:#x}.", features);
    features_ = features;
    device_->set_features(features & ~kFeatureProtocolFeatures);
    vrings_->set_event_idx((features & virtio::kFeatureEventIdx) != 0);
    if ((features & kFeatureProtocolFeatures) == 0) vrings_->enable_all();
    return {};
}

Result<void> Session::get_protocol_features() {
    return reply_with(Request::kGetProtocolFeatures, offered_protocol_features());
}

Result<void> Session::set_protocol_features() {
    const auto features = SWEDE_TRY(payload().read<uint64_t>());
    const uint64_t unknown = features & ~offered_protocol_features();
    if (unknown != 0)
        return fail(ErrorCode::kProtocol, "Protocol features {:#x} are set and were not offered.",
                    unknown);
    protocol_features_ = features;
    window_.set_negotiated(
        negotiated(ProtocolFeature::kShmemMap) && negotiated(ProtocolFeature::kBackendReq) &&
        negotiated(ProtocolFeature::kBackendSendFd) && negotiated(ProtocolFeature::kReplyAck));
    return {};
}

Result<void> Session::get_queue_num() {
    const uint64_t queues = device_->queues().size();
    return reply_with(Request::kGetQueueNum, queues);
}

// Memory.

Result<void> Session::set_mem_table() {
    ByteReader reader = payload();
    const auto head = SWEDE_TRY(reader.read<MemoryTableHead>());
    if (head.regions > kMaxTableRegions || head.regions != message_.fds.size())
        return fail(ErrorCode::kProtocol, "A table of {} memory regions comes with {} files.",
                    head.regions, message_.fds.size());
    std::array<MemoryRegionDescription, kMaxTableRegions> regions;
    for (uint32_t i = 0; i < head.regions; ++i) {
        const auto region = reader.read<MemoryRegionDescription>();
        if (!region)
            return fail(ErrorCode::kProtocol, "A table of {} memory regions has {} bytes.",
                        head.regions, message_.bytes.size() - sizeof(Header));
        regions[i] = *region;
    }
    // Some front ends always send room for eight.
    if (reader.remaining() % sizeof(MemoryRegionDescription) != 0)
        return fail(ErrorCode::kProtocol, "{} bytes follow a table of {} memory regions.",
                    reader.remaining(), head.regions);
    const auto replaced =
        memory_table_.replace(std::span(regions).first(head.regions), message_.fds);
    vrings_->memory_changed();
    return replaced;
}

/// A duplicate: of a file that is refused the message's is closed last, where nobody waits for it.
UniqueFd Session::first_file() const {
    return message_.fds.empty() ? UniqueFd() : message_.fds.front().duplicate();
}

Result<void> Session::add_mem_reg() {
    const auto message = SWEDE_TRY(payload().read<SingleMemoryRegion>());
    SWEDE_TRY(memory_table_.add(message.region, first_file()));
    vrings_->memory_changed();
    return {};
}

Result<void> Session::rem_mem_reg() {
    const auto message = SWEDE_TRY(payload().read<SingleMemoryRegion>());
    SWEDE_TRY(memory_table_.remove(message.region));
    vrings_->memory_changed();
    return {};
}

Result<void> Session::get_max_mem_slots() {
    return reply_with(Request::kGetMaxMemSlots, kMaxMemorySlots);
}

// Rings.

Result<void> Session::set_vring_num() {
    const auto state = SWEDE_TRY(payload().read<VringState>());
    return vrings_->set_size(state.index, state.value);
}

Result<void> Session::set_vring_addr() {
    const auto address = SWEDE_TRY(payload().read<VringAddress>());
    return vrings_->set_addresses(address);
}

Result<void> Session::set_vring_base() {
    const auto state = SWEDE_TRY(payload().read<VringState>());
    const bool anew = vrings_->starts_anew(state.index, state.value);
    SWEDE_TRY(vrings_->set_base(state.index, state.value));
    // QEMU's generic vhost-user device tells no reset: on a guest's reboot GET_VRING_BASE comes as
    // it does when the guest is paused, but only a new driver starts at entry 0.
    if (anew) {
        log_.debug("Ring {} starts anew: the device is reset.", state.index);
        begin_device_reset();
    }
    return {};
}

Result<void> Session::get_vring_base() {
    const auto state = SWEDE_TRY(payload().read<VringState>());
    const uint16_t base = SWEDE_TRY(vrings_->stop(state.index));
    if (!vrings_->any_started()) device_->set_paused(true);
    return reply_with(Request::kGetVringBase, VringState{state.index, base});
}

Result<void> Session::set_vring_enable() {
    const auto state = SWEDE_TRY(payload().read<VringState>());
    if (state.value > 1)
        return fail(ErrorCode::kInvalidParameter, "Ring {} is neither enabled nor disabled by {}.",
                    state.index, state.value);
    return vrings_->set_enabled(state.index, state.value == 1);
}

Result<uint32_t> Session::vring_fd_index() {
    const auto word = SWEDE_TRY(payload().read<uint64_t>());
    const bool none = (word & kVringFdNone) != 0;
    if ((word & ~(kVringFdIndexMask | kVringFdNone)) != 0 || none != message_.fds.empty())
        return fail(ErrorCode::kProtocol, "A ring's word {:#x} comes with {} file descriptors.",
                    word, message_.fds.size());
    return static_cast<uint32_t>(word & kVringFdIndexMask);
}

Result<void> Session::set_vring_kick() {
    const uint32_t index = SWEDE_TRY(vring_fd_index());
    if (message_.fds.empty())
        return fail(ErrorCode::kUnsupported, "Ring {} has no kick fd; polling is not done.", index);
    SWEDE_TRY(vrings_->set_kick(index, first_file()));
    device_->set_paused(false);
    send_config_change();
    return {};
}

Result<void> Session::set_vring_call() {
    const uint32_t index = SWEDE_TRY(vring_fd_index());
    return vrings_->set_call(index, first_file());
}

Result<void> Session::set_vring_err() {
    const uint32_t index = SWEDE_TRY(vring_fd_index());
    return vrings_->set_error(index, first_file());
}

Result<void> Session::reset_device() {
    vrings_->reset();
    features_ = 0;
    begin_device_reset();
    return {};
}

// Configuration space, back-end channel, window, display.

Result<std::span<const std::byte>> Session::config_range(ConfigHead& head) {
    ByteReader reader = payload();
    head = SWEDE_TRY(reader.read<ConfigHead>());
    if (head.size != reader.remaining())
        return fail(ErrorCode::kProtocol, "A configuration of {} bytes comes with {}.", head.size,
                    reader.remaining());
    if (head.size > kMaxConfigSize || head.offset > kMaxConfigSize - head.size)
        return fail(ErrorCode::kInvalidParameter,
                    "{} bytes at {} are outside the configuration space.", head.size, head.offset);
    return reader.rest();
}

Result<void> Session::get_config() {
    ConfigHead head{};
    const auto range = config_range(head);
    if (!range) {
        log_.warn("The configuration cannot be read: {}", range.error().message);
        // "Zero length of payload to indicate an error."
        return reply(static_cast<uint32_t>(Request::kGetConfig), {});
    }
    // QEMU's window was resized, perhaps: QEMU raised the event itself, and the guest, who reads it
    // here, asks us for the sizes next.
    if (is_gpu() && qemu_sink_.attached()) {
        qemu_sink_.request_display_info();
        await_display_info();
    }
    std::array<std::byte, kMaxConfigSize> bytes;
    device_->read_config(head.offset, std::span(bytes).first(head.size));
    return reply(static_cast<uint32_t>(Request::kGetConfig), bytes_of(head),
                 std::span(bytes).first(head.size));
}

Result<void> Session::set_config() {
    ConfigHead head{};
    const auto bytes = SWEDE_TRY(config_range(head));
    // QEMU writes the whole space whatever the guest wrote; the device takes its writable fields.
    device_->write_config(head.offset, bytes);
    return {};
}

Result<void> Session::set_backend_req_fd() {
    return channel_.attach(std::move(message_.fds.front()));
}

Result<void> Session::get_shmem_config() {
    ShmemConfig config{};
    config.regions = 1;
    config.sizes[wire::kShmIdHostVisible] = window_.size();
    return reply_with(Request::kGetShmemConfig, config);
}

Result<void> Session::gpu_set_socket() {
    // Only sends: QEMU's main thread, which would answer, is waiting for us to take this message.
    SWEDE_TRY(qemu_sink_.attach(std::move(message_.fds.front())));
    await_display_info();
    return {};
}

}  // namespace swede::vhost_user
