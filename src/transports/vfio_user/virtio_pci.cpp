// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/virtio_pci.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace swede::vfio_user {
namespace {

log::Module log_("vfio_user");

// virtio 1.3, 2.1.
constexpr uint8_t kStatusDriverOk = 4;
constexpr uint8_t kStatusFeaturesOk = 8;
constexpr uint8_t kStatusNeedsReset = 64;
constexpr uint8_t kStatusDriverBits = 1 | 2 | kStatusDriverOk | kStatusFeaturesOk | 128;

// 4.1.4.5.
constexpr uint8_t kIsrQueue = 1;
constexpr uint8_t kIsrConfig = 2;

constexpr uint16_t kNoVector = 0xffff;

/// Entries of the control queue and of the cursor queue. Linux fills the control queue with one
/// entry a command; the cursor queue only ever holds a few.
constexpr std::array<uint16_t, VirtioPci::kMaxQueues> kQueueSizes{512, 16};

}  // namespace

/// One register of struct virtio_pci_common_cfg (4.1.4.3).
struct VirtioPci::Field {
    enum class Name : uint8_t {
        kDeviceFeatureSelect,
        kDeviceFeature,
        kDriverFeatureSelect,
        kDriverFeature,
        kConfigVector,
        kNumQueues,
        kStatus,
        kConfigGeneration,
        kQueueSelect,
        kQueueSize,
        kQueueVector,
        kQueueEnable,
        kQueueNotifyOff,
        kQueueDescriptors,
        kQueueDriver,
        kQueueDevice,
    };
    Name name;
    uint8_t offset;
    uint8_t size;  ///< bytes
};

const VirtioPci::Field VirtioPci::kFields[] = {
    {Field::Name::kDeviceFeatureSelect, 0x00, 4},
    {Field::Name::kDeviceFeature, 0x04, 4},
    {Field::Name::kDriverFeatureSelect, 0x08, 4},
    {Field::Name::kDriverFeature, 0x0c, 4},
    {Field::Name::kConfigVector, 0x10, 2},
    {Field::Name::kNumQueues, 0x12, 2},
    {Field::Name::kStatus, 0x14, 1},
    {Field::Name::kConfigGeneration, 0x15, 1},
    {Field::Name::kQueueSelect, 0x16, 2},
    {Field::Name::kQueueSize, 0x18, 2},
    {Field::Name::kQueueVector, 0x1a, 2},
    {Field::Name::kQueueEnable, 0x1c, 2},
    {Field::Name::kQueueNotifyOff, 0x1e, 2},
    {Field::Name::kQueueDescriptors, 0x20, 8},
    {Field::Name::kQueueDriver, 0x28, 8},
    {Field::Name::kQueueDevice, 0x30, 8},
};

VirtioPci::VirtioPci(virtio::GuestMemory& memory, PciConfig& config, Interrupts& interrupts)
    : memory_(memory), config_(config), interrupts_(interrupts) {
    clear_registers();
}

void VirtioPci::attach(virtio::Device& device) {
    device_ = &device;
    self_ = std::make_shared<VirtioPci*>(this);
}

void VirtioPci::detach() {
    device_ = nullptr;
    if (self_) *self_ = nullptr;
    reset_waiters_.clear();
}

void VirtioPci::clear_registers() {
    device_feature_select_ = driver_feature_select_ = 0;
    driver_features_ = 0;
    config_vector_ = kNoVector;
    status_ = 0;
    queue_select_ = 0;
    for (size_t i = 0; i < kMaxQueues; ++i) {
        queues_[i] = Queue{};
        queues_[i].size = kQueueSizes[i];
    }
    set_isr(0);
    interrupts_.reset();
}

uint64_t VirtioPci::offered_features() const {
    return device_->features() | virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc |
           virtio::kFeatureEventIdx;
}

VirtioPci::Queue* VirtioPci::selected() {
    return queue_select_ < std::min(kMaxQueues, device_->queues().size()) ? &queues_[queue_select_]
                                                                          : nullptr;
}

void VirtioPci::read(uint64_t offset, std::span<std::byte> to) {
    std::ranges::fill(to, std::byte{0});
    while (!to.empty() && offset < kBar2Size) {
        const auto block = static_cast<uint32_t>(offset / kBlockSize) * kBlockSize;
        const auto inside = static_cast<uint32_t>(offset % kBlockSize);
        const auto part = to.first(std::min<size_t>(to.size(), kBlockSize - inside));
        if (block == kCommonBlock) {
            read_common(inside, part);
        } else if (block == kIsrBlock && inside == 0) {
            part[0] = std::byte{isr_};  // reading acknowledges (4.1.4.5)
            set_isr(0);
        } else if (block == kDeviceBlock) {
            device_->read_config(inside, part);
        }
        to = to.subspan(part.size());
        offset += part.size();
    }
}

VirtioPci::QueueMask VirtioPci::write(uint64_t offset, std::span<const std::byte> from) {
    QueueMask work = 0;
    if (resetting()) {
        log_.debug("A register is written at {:#x} while the device resets; dropped.", offset);
        return work;
    }
    // The doorbells first: they are all that is written while a guest runs.
    if (offset >= kNotifyBlock && offset < kNotifyBlock + kNotifyMultiplier * kMaxQueues) {
        const auto queue = static_cast<uint32_t>((offset - kNotifyBlock) / kNotifyMultiplier);
        if (offset % kNotifyMultiplier == 0 && from.size() <= kNotifyMultiplier)
            work = QueueMask{1} << queue;
        return work;
    }
    while (!from.empty() && offset < kNotifyBlock) {
        const auto block = static_cast<uint32_t>(offset / kBlockSize) * kBlockSize;
        const auto inside = static_cast<uint32_t>(offset % kBlockSize);
        const auto part = from.first(std::min<size_t>(from.size(), kBlockSize - inside));
        if (block == kCommonBlock)
            write_common(inside, part, work);
        else if (block == kDeviceBlock)
            device_->write_config(inside, part);
        from = from.subspan(part.size());
        offset += part.size();
    }
    return work;
}

void VirtioPci::read_common(uint32_t offset, std::span<std::byte> to) {
    for (const Field& field : kFields) {
        const uint32_t start = std::max<uint32_t>(field.offset, offset);
        const uint32_t end = std::min<uint32_t>(field.offset + field.size,
                                                offset + static_cast<uint32_t>(to.size()));
        if (start >= end) continue;
        const uint64_t value = get(field);
        std::memcpy(to.data() + (start - offset),
                    reinterpret_cast<const std::byte*>(&value) + (start - field.offset),
                    end - start);
    }
}

/// A driver writes registers whole, and 64-bit ones in halves too (4.1.3.1); any other part of one
/// is merged with the bytes that it has.
void VirtioPci::write_common(uint32_t offset, std::span<const std::byte> from, QueueMask& work) {
    for (const Field& field : kFields) {
        const uint32_t start = std::max<uint32_t>(field.offset, offset);
        const uint32_t end = std::min<uint32_t>(field.offset + field.size,
                                                offset + static_cast<uint32_t>(from.size()));
        if (start >= end) continue;
        uint64_t value = end - start < field.size ? get(field) : 0;
        std::memcpy(reinterpret_cast<std::byte*>(&value) + (start - field.offset),
                    from.data() + (start - offset), end - start);
        set(field, value, work);
        if (resetting()) return;  // the rest is dropped, as any write before the reset is done
    }
}

uint64_t VirtioPci::get(const Field& field) {
    const Queue* const queue = selected();
    const auto half = [](uint64_t features, uint32_t select) {
        return select < 2 ? features >> (32 * select) & 0xffffffff : 0;
    };
    switch (field.name) {
        case Field::Name::kDeviceFeatureSelect:
            return device_feature_select_;
        case Field::Name::kDeviceFeature:
            return half(offered_features(), device_feature_select_);
        case Field::Name::kDriverFeatureSelect:
            return driver_feature_select_;
        case Field::Name::kDriverFeature:
            return half(driver_features_, driver_feature_select_);
        case Field::Name::kConfigVector:
            return config_vector_;
        case Field::Name::kNumQueues:
            return std::min(kMaxQueues, device_->queues().size());
        case Field::Name::kStatus:
            return status_;
        case Field::Name::kConfigGeneration:
            return config_generation_;
        case Field::Name::kQueueSelect:
            return queue_select_;
        case Field::Name::kQueueSize:
            return queue != nullptr ? queue->size : 0;
        case Field::Name::kQueueVector:
            return queue != nullptr ? queue->vector : kNoVector;
        case Field::Name::kQueueEnable:
            return queue != nullptr && device_->queues()[queue_select_].enabled() ? 1 : 0;
        case Field::Name::kQueueNotifyOff:
            return queue != nullptr ? queue_select_ : 0;
        case Field::Name::kQueueDescriptors:
            return queue != nullptr ? queue->descriptors : 0;
        case Field::Name::kQueueDriver:
            return queue != nullptr ? queue->available : 0;
        case Field::Name::kQueueDevice:
            return queue != nullptr ? queue->used : 0;
    }
    return 0;
}

void VirtioPci::set(const Field& field, uint64_t value, QueueMask& work) {
    Queue* const queue = selected();
    // What describes a queue is fixed while it is enabled (4.1.4.3.2).
    const bool is_open = queue != nullptr && !device_->queues()[queue_select_].enabled();
    const auto vector = static_cast<uint16_t>(value < kMsixVectors ? value : kNoVector);
    switch (field.name) {
        case Field::Name::kDeviceFeatureSelect:
            device_feature_select_ = static_cast<uint32_t>(value);
            break;
        case Field::Name::kDriverFeatureSelect:
            driver_feature_select_ = static_cast<uint32_t>(value);
            break;
        case Field::Name::kDriverFeature: {
            if (driver_feature_select_ > 1 || (status_ & kStatusFeaturesOk) != 0) break;
            const uint32_t shift = 32 * driver_feature_select_;
            driver_features_ &= ~(uint64_t{0xffffffff} << shift);
            driver_features_ |= (value & 0xffffffff) << shift;
            break;
        }
        case Field::Name::kConfigVector:
            config_vector_ = vector;
            break;
        case Field::Name::kStatus:
            set_status(static_cast<uint8_t>(value), work);
            break;
        case Field::Name::kQueueSelect:
            queue_select_ = static_cast<uint16_t>(value);
            break;
        case Field::Name::kQueueSize:
            if (is_open) queue->size = static_cast<uint16_t>(value);
            break;
        case Field::Name::kQueueVector:
            if (queue != nullptr) queue->vector = vector;
            break;
        case Field::Name::kQueueEnable:
            if (is_open && value == 1) enable_queue(queue_select_, work);
            break;
        case Field::Name::kQueueDescriptors:
            if (is_open) queue->descriptors = value;
            break;
        case Field::Name::kQueueDriver:
            if (is_open) queue->available = value;
            break;
        case Field::Name::kQueueDevice:
            if (is_open) queue->used = value;
            break;
        case Field::Name::kDeviceFeature:
        case Field::Name::kNumQueues:
        case Field::Name::kConfigGeneration:
        case Field::Name::kQueueNotifyOff:
            break;  // read-only
    }
}

void VirtioPci::set_status(uint8_t value, QueueMask& work) {
    if (value == 0) {
        // At 0 nothing is to reset, and a driver that reads 0 may go on at once.
        if (status_ != 0) reset([] {});
        return;
    }
    uint8_t taken = value & kStatusDriverBits & static_cast<uint8_t>(~status_);
    if ((taken & kStatusFeaturesOk) != 0) {
        const uint64_t unknown = driver_features_ & ~offered_features();
        if (unknown != 0 || (driver_features_ & virtio::kFeatureVersion1) == 0) {
            // 2.2.2: the driver reads the bit back and finds that its set is not taken.
            log_.warn(
                "The driver's features ({:#x}) are not taken: {:#x} are offered, VERSION_1 is "
                "needed.",
                driver_features_, offered_features());
            taken &= static_cast<uint8_t>(~kStatusFeaturesOk);
        } else {
            device_->set_features(driver_features_);
        }
    }
    if (((status_ | taken) & kStatusFeaturesOk) == 0)
        taken &= static_cast<uint8_t>(~kStatusDriverOk);
    status_ |= taken;  // bits are only ever taken back by a reset (2.1.1)
    if ((taken & kStatusDriverOk) != 0)
        for (size_t i = 0; i < std::min(kMaxQueues, device_->queues().size()); ++i)
            if (device_->queues()[i].enabled()) work |= QueueMask{1} << i;
}

void VirtioPci::enable_queue(uint16_t index, QueueMask& work) {
    if ((status_ & kStatusFeaturesOk) == 0) {
        log_.warn("Queue {} is enabled before features are agreed; dropped.", index);
        return;
    }
    virtio::Virtqueue& target = device_->queues()[index];
    const Queue& queue = queues_[index];
    Result<void> enabled =
        queue.size <= kQueueSizes[index]
            ? target.set_size(queue.size)
            : fail(ErrorCode::kInvalidParameter, "Queue {} shall have {} entries; {} is the most.",
                   index, queue.size, kQueueSizes[index]);
    if (enabled) {
        target.set_addresses(queue.descriptors, queue.available, queue.used);
        enabled = target.enable((driver_features_ & virtio::kFeatureEventIdx) != 0);
    }
    if (!enabled) {
        explain(queue, enabled.error());
        needs_reset();
        return;
    }
    if ((status_ & kStatusDriverOk) != 0) work |= QueueMask{1} << index;
}

bool VirtioPci::is_unreadable(uint64_t address) const {
    return std::ranges::any_of(memory_.regions(), [address](const auto& region) {
        return region->host == nullptr && address >= region->address &&
               address - region->address < region->size;
    });
}

void VirtioPci::explain(const Queue& queue, const Error& error) {
    if (is_unreadable(queue.descriptors) || is_unreadable(queue.available) ||
        is_unreadable(queue.used)) {
        if (!std::exchange(told_unshared_, true))
            log_.error(
                "The guest's memory at {:#x} came without a file, so the device cannot read it: "
                "start QEMU with '-object memory-backend-memfd,id=mem0,size=SIZE,share=on "
                "-machine memory-backend=mem0'.",
                queue.descriptors);
        return;
    }
    log_.warn("A queue cannot be enabled: {}", error.message);
}

void VirtioPci::serve(QueueMask queues) {
    if ((status_ & kStatusDriverOk) == 0) return;  // 2.1.2: nothing is consumed before DRIVER_OK
    for (uint16_t i = 0; i < std::min(kMaxQueues, device_->queues().size()); ++i) {
        if ((queues & QueueMask{1} << i) == 0) continue;
        virtio::Virtqueue& queue = device_->queues()[i];
        if (!queue.enabled() || queue.broken()) continue;
        device_->process_queue(i);
    }
}

void VirtioPci::needs_reset() {
    if ((status_ & kStatusNeedsReset) != 0) return;
    status_ |= kStatusNeedsReset;
    if ((status_ & kStatusDriverOk) != 0) config_interrupt();  // 2.1.2
}

void VirtioPci::reset(std::move_only_function<void()> done) {
    reset_waiters_.push_back(std::move(done));
    if (reset_waiters_.size() > 1) return;
    device_->reset([self = self_] {
        if (*self == nullptr) return;
        VirtioPci& registers = **self;
        registers.clear_registers();
        for (auto& waiter : std::exchange(registers.reset_waiters_, {})) waiter();
    });
}

void VirtioPci::queue_interrupt(uint16_t queue) {
    if (queue < kMaxQueues) interrupt(queues_[queue].vector, kIsrQueue);
}

void VirtioPci::queue_broken(uint16_t) {
    needs_reset();
}

void VirtioPci::config_interrupt() {
    ++config_generation_;
    if ((status_ & kStatusDriverOk) != 0) interrupt(config_vector_, kIsrConfig);
}

void VirtioPci::interrupt(uint16_t vector, uint8_t isr) {
    if (config_.msix_enabled() || interrupts_.msix_configured())
        interrupts_.signal(vector);
    else
        set_isr(isr_ | isr);
}

void VirtioPci::update_interrupt_line() {
    set_isr(isr_);
}

void VirtioPci::set_isr(uint8_t isr) {
    isr_ = isr;
    config_.set_interrupt_status(isr != 0);
    interrupts_.set_intx(isr != 0 && !config_.intx_disabled());
}

}  // namespace swede::vfio_user
