// SPDX-License-Identifier: Apache-2.0
#include "transports/vfio_user/virtio_pci.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <random>
#include <vector>

#include "base/event_fd.h"
#include "unit/virtio/driver.h"

namespace swede::vfio_user {
namespace {

constexpr uint64_t kOffered = 0x0b;  // VIRGL, EDID and RESOURCE_BLOB of a device that says so
constexpr uint64_t kTransport =
    virtio::kFeatureVersion1 | virtio::kFeatureIndirectDesc | virtio::kFeatureEventIdx;

// struct virtio_pci_common_cfg (virtio 1.3, 4.1.4.3).
constexpr uint64_t kDeviceFeatureSelect = 0x00;
constexpr uint64_t kDeviceFeature = 0x04;
constexpr uint64_t kDriverFeatureSelect = 0x08;
constexpr uint64_t kDriverFeature = 0x0c;
constexpr uint64_t kConfigVector = 0x10;
constexpr uint64_t kNumQueues = 0x12;
constexpr uint64_t kStatus = 0x14;
constexpr uint64_t kGeneration = 0x15;
constexpr uint64_t kQueueSelect = 0x16;
constexpr uint64_t kQueueSize = 0x18;
constexpr uint64_t kQueueVector = 0x1a;
constexpr uint64_t kQueueEnable = 0x1c;
constexpr uint64_t kQueueNotifyOff = 0x1e;
constexpr uint64_t kQueueDesc = 0x20;
constexpr uint64_t kQueueDriver = 0x28;
constexpr uint64_t kQueueDevice = 0x30;

/// Records what the registers ask of a device, and answers a reset when told to.
class RecordingDevice final : public virtio::Device {
  public:
    explicit RecordingDevice(virtio::GuestMemory& memory) {
        queues_.emplace_back(memory);
        queues_.emplace_back(memory);
    }
    uint64_t features() const override { return kOffered; }
    void set_features(uint64_t features) override { taken.push_back(features); }
    std::span<virtio::Virtqueue> queues() override { return queues_; }
    void read_config(uint32_t offset, std::span<std::byte> to) override {
        for (size_t i = 0; i < to.size(); ++i)
            to[i] = std::byte{static_cast<uint8_t>(offset + i < 16 ? offset + i + 1 : 0)};
    }
    void write_config(uint32_t offset, std::span<const std::byte> from) override {
        config_writes.emplace_back(offset, from.size());
    }
    void process_queue(uint16_t queue) override {
        processed.push_back(queue);
        virtio::Chain chain;
        Result<bool> popped;
        while ((popped = queues_[queue].pop(chain)) && *popped)
            (void)queues_[queue].push(chain, {});
        if (!popped && host != nullptr) host->queue_broken(queue);
    }
    void set_paused(bool) override {}
    void reset(std::move_only_function<void()> done) override {
        ++resets;
        for (virtio::Virtqueue& queue : queues_) queue.reset();
        if (holds_resets)
            held.push_back(std::move(done));
        else
            done();
    }

    std::vector<uint64_t> taken;
    std::vector<std::pair<uint32_t, size_t>> config_writes;
    std::vector<uint16_t> processed;
    virtio::DeviceHost* host = nullptr;
    int resets = 0;
    bool holds_resets = false;
    std::vector<std::move_only_function<void()>> held;

  private:
    std::vector<virtio::Virtqueue> queues_;
};

class VirtioPciTest : public ::testing::Test {
  protected:
    VirtioPciTest() {
        device.host = &registers;
        registers.attach(device);
    }
    ~VirtioPciTest() override { registers.detach(); }

    template <typename T>
    T get(uint64_t offset) {
        std::array<std::byte, sizeof(T)> bytes;
        registers.read(offset, bytes);
        return std::bit_cast<T>(bytes);
    }
    template <typename T>
    VirtioPci::QueueMask put(uint64_t offset, T value) {
        return registers.write(offset, std::as_bytes(std::span(&value, 1)));
    }

    void take_features(uint64_t features) {
        for (uint32_t i = 0; i < 2; ++i) {
            put<uint32_t>(kDriverFeatureSelect, i);
            put<uint32_t>(kDriverFeature, static_cast<uint32_t>(features >> (32 * i)));
        }
    }
    void negotiate(uint64_t features = kTransport) {
        put<uint8_t>(kStatus, 1);
        put<uint8_t>(kStatus, 3);
        take_features(features);
        put<uint8_t>(kStatus, 11);
    }
    void describe(uint16_t queue, uint16_t size) {
        put<uint16_t>(kQueueSelect, queue);
        put<uint16_t>(kQueueSize, size);
        const uint64_t at = guest.base() + 0x10000 * (1 + queue);
        // In halves, as Linux writes them.
        for (const auto& [field, address] : {std::pair{kQueueDesc, at},
                                             {kQueueDriver, at + 0x4000},
                                             {kQueueDevice, at + 0x8000}}) {
            put<uint32_t>(field, static_cast<uint32_t>(address));
            put<uint32_t>(field + 4, static_cast<uint32_t>(address >> 32));
        }
    }
    void start(uint64_t features = kTransport) {
        negotiate(features);
        for (uint16_t i = 0; i < 2; ++i) {
            describe(i, 16);
            put<uint16_t>(kQueueVector, static_cast<uint16_t>(i + 1));
            put<uint16_t>(kQueueEnable, 1);
        }
        put<uint16_t>(kConfigVector, 0);
        put<uint8_t>(kStatus, 15);
    }

    virtio::testing::TestGuest guest;
    std::unique_ptr<EventLoop> loop = EventLoop::create().value();
    PciConfig config{uint64_t{1} << 28};
    Interrupts interrupts{*loop};
    VirtioPci registers{guest.memory, config, interrupts};
    RecordingDevice device{guest.memory};
};

TEST_F(VirtioPciTest, StartsAsTheSpecificationSays) {
    EXPECT_EQ(get<uint8_t>(kStatus), 0);
    EXPECT_EQ(get<uint16_t>(kNumQueues), 2);
    EXPECT_EQ(get<uint16_t>(kConfigVector), 0xffff);
    for (uint16_t i = 0; i < 2; ++i) {
        put<uint16_t>(kQueueSelect, i);
        EXPECT_TRUE(std::has_single_bit(get<uint16_t>(kQueueSize)));
        EXPECT_EQ(get<uint16_t>(kQueueEnable), 0);
        EXPECT_EQ(get<uint16_t>(kQueueVector), 0xffff);
        EXPECT_EQ(get<uint16_t>(kQueueNotifyOff), i);
    }
}

TEST_F(VirtioPciTest, QueueThatDoesNotExistHasSizeZero) {
    for (const uint16_t queue : {uint16_t{2}, uint16_t{3}, uint16_t{0xffff}}) {
        put<uint16_t>(kQueueSelect, queue);
        EXPECT_EQ(get<uint16_t>(kQueueSize), 0);
        put<uint64_t>(kQueueDesc, 0x1000);
        put<uint16_t>(kQueueEnable, 1);
        EXPECT_EQ(get<uint64_t>(kQueueDesc), 0u);
        EXPECT_EQ(get<uint16_t>(kQueueEnable), 0);
    }
}

TEST_F(VirtioPciTest, OffersTheDevicesFeaturesAndItsOwn) {
    uint64_t features = 0;
    for (uint32_t i = 0; i < 2; ++i) {
        put<uint32_t>(kDeviceFeatureSelect, i);
        features |= uint64_t{get<uint32_t>(kDeviceFeature)} << (32 * i);
    }
    EXPECT_EQ(features, kOffered | kTransport);
    put<uint32_t>(kDeviceFeatureSelect, 2);
    EXPECT_EQ(get<uint32_t>(kDeviceFeature), 0u);
    put<uint32_t>(kDeviceFeatureSelect, ~0u);
    EXPECT_EQ(get<uint32_t>(kDeviceFeature), 0u);
}

TEST_F(VirtioPciTest, FeaturesOkIsKeptForASubsetWithVersion1) {
    negotiate(kTransport | 2);
    EXPECT_EQ(get<uint8_t>(kStatus), 11);
    EXPECT_EQ(device.taken, std::vector<uint64_t>{kTransport | 2});
    // Agreed on, they are fixed.
    take_features(virtio::kFeatureVersion1);
    put<uint8_t>(kStatus, 11);
    EXPECT_EQ(device.taken.size(), 1u);
}

TEST_F(VirtioPciTest, FeaturesOkIsTakenBackForAFeatureNotOffered) {
    negotiate(kTransport | uint64_t{1} << 40);
    EXPECT_EQ(get<uint8_t>(kStatus), 3);
    EXPECT_TRUE(device.taken.empty());
    // The driver may choose again.
    take_features(kTransport);
    put<uint8_t>(kStatus, 11);
    EXPECT_EQ(get<uint8_t>(kStatus), 11);
}

TEST_F(VirtioPciTest, FeaturesOkNeedsVersion1) {
    negotiate(kOffered);
    EXPECT_EQ(get<uint8_t>(kStatus), 3);
}

TEST_F(VirtioPciTest, DriverOkNeedsFeaturesOk) {
    put<uint8_t>(kStatus, 7);
    EXPECT_EQ(get<uint8_t>(kStatus), 3);
}

TEST_F(VirtioPciTest, StatusBitsAreTakenBackOnlyByAReset) {
    start();
    put<uint8_t>(kStatus, 1);
    EXPECT_EQ(get<uint8_t>(kStatus), 15);
    put<uint8_t>(kStatus, 0x40);  // the device's own bit
    EXPECT_EQ(get<uint8_t>(kStatus), 15);
    put<uint8_t>(kStatus, 0);
    EXPECT_EQ(get<uint8_t>(kStatus), 0);
    EXPECT_EQ(device.resets, 1);
}

TEST_F(VirtioPciTest, QueueCannotBeEnabledBeforeFeaturesAreAgreed) {
    describe(0, 16);
    put<uint16_t>(kQueueEnable, 1);
    EXPECT_EQ(get<uint16_t>(kQueueEnable), 0);
}

TEST_F(VirtioPciTest, EnabledQueueHasWhatTheDriverSaid) {
    start();
    const virtio::Virtqueue& queue = device.queues()[1];
    EXPECT_TRUE(queue.enabled());
    EXPECT_EQ(queue.size(), 16);
    EXPECT_EQ(queue.descriptors(), guest.base() + 0x20000);
    EXPECT_EQ(queue.available(), guest.base() + 0x24000);
    EXPECT_EQ(queue.used(), guest.base() + 0x28000);
    put<uint16_t>(kQueueSelect, 1);
    EXPECT_EQ(get<uint64_t>(kQueueDesc), guest.base() + 0x20000);
    // Fixed until a reset.
    put<uint64_t>(kQueueDesc, 0);
    put<uint16_t>(kQueueSize, 4);
    put<uint16_t>(kQueueEnable, 0);
    EXPECT_EQ(get<uint64_t>(kQueueDesc), guest.base() + 0x20000);
    EXPECT_EQ(get<uint16_t>(kQueueSize), 16);
    EXPECT_EQ(get<uint16_t>(kQueueEnable), 1);
}

TEST_F(VirtioPciTest, WrongQueuesNeedAReset) {
    const uint64_t good = guest.base() + 0x10000;
    struct Case {
        uint16_t size;
        uint64_t descriptors, available, used;
    };
    for (const Case& wrong : {Case{0, good, good + 0x4000, good + 0x8000},
                              {3, good, good + 0x4000, good + 0x8000},
                              {1024, good, good + 0x4000, good + 0x8000},
                              {0x8000, good, good + 0x4000, good + 0x8000},
                              {0xffff, good, good + 0x4000, good + 0x8000},
                              {16, 0, good + 0x4000, good + 0x8000},
                              {16, good, 0, good + 0x8000},
                              {16, good, good + 0x4000, 0},
                              {16, ~uint64_t{0} - 15, good, good + 0x8000},
                              {16, good + 1, good + 0x4000, good + 0x8000},
                              {16, good, good + 0x4001, good + 0x8000},
                              {16, good, good + 0x4000, good + 0x8002},
                              {16, guest.base() + guest.size() - 16, good, good + 0x8000}}) {
        negotiate();
        put<uint16_t>(kQueueSelect, 0);
        put<uint16_t>(kQueueSize, wrong.size);
        put<uint64_t>(kQueueDesc, wrong.descriptors);
        put<uint64_t>(kQueueDriver, wrong.available);
        put<uint64_t>(kQueueDevice, wrong.used);
        put<uint16_t>(kQueueEnable, 1);
        EXPECT_EQ(get<uint16_t>(kQueueEnable), 0);
        EXPECT_EQ(get<uint8_t>(kStatus) & 0x40, 0x40);
        put<uint8_t>(kStatus, 0);
        EXPECT_EQ(get<uint8_t>(kStatus), 0);
    }
}

TEST_F(VirtioPciTest, QueueInMemoryWithoutAFileNeedsAReset) {
    guest.memory.add(uint64_t{1} << 40, 1 << 20, UniqueFd(), 0, Access::kReadWrite).value();
    negotiate();
    put<uint16_t>(kQueueSize, 16);
    put<uint64_t>(kQueueDesc, uint64_t{1} << 40);
    put<uint64_t>(kQueueDriver, (uint64_t{1} << 40) + 0x4000);
    put<uint64_t>(kQueueDevice, (uint64_t{1} << 40) + 0x8000);
    ::testing::internal::CaptureStderr();
    put<uint16_t>(kQueueEnable, 1);
    put<uint16_t>(kQueueEnable, 1);
    const std::string said = ::testing::internal::GetCapturedStderr();
    const size_t first = said.find("memory-backend-memfd");
    EXPECT_NE(first, std::string::npos) << said;
    EXPECT_NE(said.find("share=on"), std::string::npos);
    EXPECT_EQ(said.find("memory-backend-memfd", first + 1), std::string::npos) << "said twice";
    EXPECT_EQ(get<uint8_t>(kStatus) & 0x40, 0x40);
}

TEST_F(VirtioPciTest, DoorbellSaysWhichQueueAndServesNothingItself) {
    start();
    EXPECT_EQ(put<uint16_t>(kNotifyBlock, 0), 1u);
    EXPECT_EQ(put<uint16_t>(kNotifyBlock + kNotifyMultiplier, 1), 2u);
    EXPECT_EQ(put<uint32_t>(kNotifyBlock + kNotifyMultiplier, 7), 2u);
    EXPECT_TRUE(device.processed.empty());
    registers.serve(2);
    EXPECT_EQ(device.processed, std::vector<uint16_t>{1});
}

TEST_F(VirtioPciTest, DoorbellsThatDoNotExistAreSilent) {
    start();
    EXPECT_EQ(put<uint16_t>(kNotifyBlock + 2 * kNotifyMultiplier, 0), 0u);
    EXPECT_EQ(put<uint16_t>(kNotifyBlock + 2, 0), 0u);
    EXPECT_EQ(put<uint64_t>(kNotifyBlock, 0), 0u);
    EXPECT_EQ(put<uint16_t>(kBar2Size - 2, 0), 0u);
    registers.serve(~0u & ~3u);
    EXPECT_TRUE(device.processed.empty());
}

TEST_F(VirtioPciTest, NothingIsServedBeforeDriverOk) {
    negotiate();
    describe(0, 16);
    EXPECT_EQ(put<uint16_t>(kQueueEnable, 1), 0u);
    registers.serve(put<uint16_t>(kNotifyBlock, 0));
    EXPECT_TRUE(device.processed.empty());
    // What lay in the queue is found when the driver is ready.
    EXPECT_EQ(put<uint8_t>(kStatus, 15), 1u);
}

TEST_F(VirtioPciTest, BrokenQueueIsToldToTheDriver) {
    start();
    const UniqueFd event = create_event_fd().value();
    std::vector<UniqueFd> fds;
    fds.push_back(event.duplicate());
    ASSERT_TRUE(interrupts.set(
        IrqSet{20, kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, 1}, {}, fds));
    guest.store<uint16_t>(guest.base() + 0x14002, 0x7fff);  // available index far ahead
    registers.serve(1);
    EXPECT_EQ(get<uint8_t>(kStatus), 15 | 0x40);
    uint64_t count = 0;
    EXPECT_EQ(::read(event.get(), &count, sizeof(count)), 8);
    // Once broken it is left alone.
    registers.serve(1);
    EXPECT_EQ(device.processed.size(), 1u);
    put<uint8_t>(kStatus, 0);
    start();
    EXPECT_EQ(get<uint8_t>(kStatus), 15);
}

TEST_F(VirtioPciTest, QueueInterruptGoesToTheQueuesVector) {
    start();
    std::vector<UniqueFd> events;
    std::vector<UniqueFd> fds;
    for (int i = 0; i < 3; ++i) {
        events.push_back(create_event_fd().value());
        fds.push_back(events.back().duplicate());
    }
    ASSERT_TRUE(interrupts.set(
        IrqSet{20, kIrqSetDataEventFd | kIrqSetActionTrigger, kIrqMsix, 0, 3}, {}, fds));
    const auto counts = [&] {
        std::vector<uint64_t> result;
        for (const UniqueFd& event : events) {
            uint64_t count = 0;
            (void)!::read(event.get(), &count, sizeof(count));
            result.push_back(count);
        }
        return result;
    };
    registers.queue_interrupt(0);
    EXPECT_EQ(counts(), (std::vector<uint64_t>{0, 1, 0}));
    registers.queue_interrupt(1);
    EXPECT_EQ(counts(), (std::vector<uint64_t>{0, 0, 1}));
    const uint8_t generation = get<uint8_t>(kGeneration);
    registers.config_interrupt();
    EXPECT_EQ(counts(), (std::vector<uint64_t>{1, 0, 0}));
    EXPECT_NE(get<uint8_t>(kGeneration), generation);
    EXPECT_EQ(get<uint8_t>(kIsrBlock), 0);  // not used with MSI-X
    registers.queue_interrupt(7);
    EXPECT_EQ(counts(), (std::vector<uint64_t>{0, 0, 0}));
}

TEST_F(VirtioPciTest, VectorThatDoesNotExistBecomesNoVector) {
    for (const uint16_t vector : {uint16_t{3}, uint16_t{100}, uint16_t{0xffff}}) {
        put<uint16_t>(kConfigVector, vector);
        EXPECT_EQ(get<uint16_t>(kConfigVector), 0xffff);
        put<uint16_t>(kQueueVector, vector);
        EXPECT_EQ(get<uint16_t>(kQueueVector), 0xffff);
    }
}

TEST_F(VirtioPciTest, WithoutMsixTheIsrTellsAndReadingClearsIt) {
    start();
    registers.queue_interrupt(0);
    registers.config_interrupt();
    std::array<std::byte, 2> status;
    config.read(6, status);
    EXPECT_NE(status[0] & std::byte{8}, std::byte{0});
    EXPECT_EQ(get<uint8_t>(kIsrBlock), 3);
    EXPECT_EQ(get<uint8_t>(kIsrBlock), 0);
    config.read(6, status);
    EXPECT_EQ(status[0] & std::byte{8}, std::byte{0});
}

TEST_F(VirtioPciTest, ReadingBesideTheIsrDoesNotClearIt) {
    start();
    registers.queue_interrupt(0);
    (void)get<uint32_t>(kIsrBlock + 1);
    EXPECT_EQ(get<uint32_t>(kIsrBlock), 1u);
}

TEST_F(VirtioPciTest, ResetThatTakesTimeShowsInTheStatus) {
    start();
    device.holds_resets = true;
    put<uint8_t>(kStatus, 0);
    EXPECT_EQ(get<uint8_t>(kStatus), 15);
    put<uint8_t>(kStatus, 1);
    put<uint8_t>(kStatus, 0);
    EXPECT_EQ(put<uint16_t>(kNotifyBlock, 0), 0u);
    bool done = false;
    registers.reset([&] { done = true; });
    EXPECT_EQ(device.resets, 1);  // all wait for the same one
    EXPECT_FALSE(done);
    ASSERT_EQ(device.held.size(), 1u);
    device.held[0]();
    EXPECT_TRUE(done);
    EXPECT_EQ(get<uint8_t>(kStatus), 0);
    device.holds_resets = false;
    start();
    EXPECT_EQ(get<uint8_t>(kStatus), 15);
}

TEST_F(VirtioPciTest, ResetThatEndsAfterTheSessionIsHarmless) {
    start();
    device.holds_resets = true;
    bool done = false;
    registers.reset([&] { done = true; });
    registers.detach();
    device.held[0]();
    EXPECT_FALSE(done);
    registers.attach(device);
}

TEST_F(VirtioPciTest, ResetReturnsEveryRegister) {
    const auto all = [&] {
        std::vector<std::byte> bytes;
        for (uint16_t queue = 0; queue < 2; ++queue) {
            put<uint16_t>(kQueueSelect, queue);
            std::vector<std::byte> block(0x40);
            registers.read(0, block);
            block[kGeneration] = std::byte{0};  // counts on
            bytes.insert(bytes.end(), block.begin(), block.end());
        }
        put<uint16_t>(kQueueSelect, 0);
        return bytes;
    };
    const auto before = all();
    for (int i = 0; i < 3; ++i) {
        start(kTransport | kOffered);
        registers.queue_interrupt(0);
        put<uint8_t>(kStatus, 0);
        EXPECT_EQ(all(), before);
        EXPECT_EQ(get<uint8_t>(kIsrBlock), 0);
    }
}

TEST_F(VirtioPciTest, DeviceConfigurationIsTheDevices) {
    EXPECT_EQ(get<uint32_t>(kDeviceBlock + 4), 0x08070605u);
    EXPECT_EQ(get<uint32_t>(kDeviceBlock + 14), 0x0000100fu);
    put<uint32_t>(kDeviceBlock + 4, 1);
    EXPECT_EQ(device.config_writes, (std::vector<std::pair<uint32_t, size_t>>{{4, 4}}));
}

TEST_F(VirtioPciTest, RegistersAreReadInAnyParts) {
    start();
    std::vector<std::byte> whole(kBar2Size, std::byte{0xaa});
    registers.read(0, whole);
    for (uint64_t offset = 0; offset < 0x48; ++offset) {
        for (size_t size = 1; size <= 8; ++size) {
            std::vector<std::byte> part(size, std::byte{0xaa});
            registers.read(offset, part);
            EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + offset))
                << offset << " " << size;
        }
    }
}

TEST_F(VirtioPciTest, AddressesAreWrittenInAnyParts) {
    const uint64_t address = 0x1122334455667788;
    for (const size_t width : {1, 2, 4, 8}) {
        put<uint64_t>(kQueueDesc, 0);
        for (size_t i = 0; i < 8; i += width)
            (void)registers.write(kQueueDesc + i,
                                  std::as_bytes(std::span(&address, 1)).subspan(i, width));
        EXPECT_EQ(get<uint64_t>(kQueueDesc), address) << width;
    }
}

TEST_F(VirtioPciTest, AnyAccessIsAnswered) {
    std::mt19937_64 random(7);
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> bytes(random() % 80);
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
        const uint64_t offset = random() % 8 != 0 ? random() % 0x48 : random() % kBar2Size;
        bytes.resize(std::min<size_t>(bytes.size(), kBar2Size - offset));
        if (random() % 2 != 0)
            registers.serve(registers.write(offset, bytes));
        else
            registers.read(offset, bytes);
    }
    put<uint8_t>(kStatus, 0);
    start();
    EXPECT_EQ(get<uint8_t>(kStatus), 15);
}

}  // namespace
}  // namespace swede::vfio_user
