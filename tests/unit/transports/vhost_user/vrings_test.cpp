// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/vrings.h"

#include <gtest/gtest.h>

#include <vector>

#include "peer.h"
#include "unit/virtio/driver.h"
#include "virtio/split_ring.h"

namespace swede::vhost_user {
namespace {

using testing::count;
using testing::eventfd;

constexpr uint64_t kBase = 0x10'0000;
constexpr uint64_t kSize = 1 << 20;
constexpr uint64_t kUser = 0x7f00'0000'0000;
constexpr uint16_t kEntries = 16;

class VringsTest : public ::testing::Test {
  protected:
    VringsTest()
        : loop_(EventLoop::create().value()),
          ram_(create_memfd("ram", kSize).value()),
          view_(Mapping::own_file(ram_.get(), 0, kSize, Access::kReadWrite).value()),
          vrings_(*loop_, queues_, table_,
                  [this](uint16_t index) { processed_.push_back(index); }) {
        plug();
    }

    void plug() { ASSERT_TRUE(table_.add({kBase, kSize, kUser, 0}, ram_.duplicate())); }
    void unplug() { ASSERT_TRUE(table_.remove({kBase, kSize, kUser, 0})); }
    static VringAddress addresses(uint32_t index) {
        const uint64_t at = kUser + 0x1'0000 * (index + 1);
        return {index, 0, at, at + 0x2000, at + 0x1000, 0};
    }
    void configure(uint32_t index, uint32_t base = 0) {
        ASSERT_TRUE(vrings_.set_size(index, kEntries));
        ASSERT_TRUE(vrings_.set_base(index, base));
        ASSERT_TRUE(vrings_.set_addresses(addresses(index)));
        ASSERT_TRUE(vrings_.set_enabled(index, true));
    }
    void start(uint32_t index, uint32_t base = 0) {
        configure(index, base);
        kick_ = eventfd();
        ASSERT_TRUE(vrings_.set_kick(index, kick_.duplicate()));
    }
    void kick() {
        const uint64_t one = 1;
        ASSERT_EQ(::write(kick_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
        testing::turn(*loop_);
    }
    size_t take_processed() {
        const size_t count = processed_.size();
        processed_.clear();
        return count;
    }

    std::unique_ptr<EventLoop> loop_;
    UniqueFd ram_;
    Mapping view_;
    virtio::GuestMemory memory_;
    MemoryTable table_{memory_};
    std::vector<virtio::Virtqueue> queues_{virtio::Virtqueue(memory_), virtio::Virtqueue(memory_)};
    std::vector<uint16_t> processed_;
    UniqueFd kick_;
    Vrings vrings_;
};

TEST_F(VringsTest, Ring_RunsOnceItIsWholeAndServesWhatIsThere) {
    configure(0);
    EXPECT_FALSE(vrings_.running(0));
    kick_ = eventfd();
    ASSERT_TRUE(vrings_.set_kick(0, kick_.duplicate()));
    EXPECT_TRUE(vrings_.running(0));
    EXPECT_TRUE(queues_[0].enabled());
    EXPECT_EQ(take_processed(), 1u) << "entries may wait since before the start";
    kick();
    EXPECT_EQ(take_processed(), 1u);
    testing::turn(*loop_);
    EXPECT_EQ(take_processed(), 0u);
}

TEST_F(VringsTest, Ring_RunsInWhateverOrderItsPartsCome) {
    kick_ = eventfd();
    ASSERT_TRUE(vrings_.set_kick(1, kick_.duplicate()));
    ASSERT_TRUE(vrings_.set_enabled(1, true));
    ASSERT_TRUE(vrings_.set_size(1, kEntries));
    EXPECT_FALSE(vrings_.running(1));
    ASSERT_TRUE(vrings_.set_addresses(addresses(1)));
    EXPECT_TRUE(vrings_.running(1));
}

TEST_F(VringsTest, Ring_IsNotServedWhileDisabled) {
    start(0);
    take_processed();
    ASSERT_TRUE(vrings_.set_enabled(0, false));
    kick();
    EXPECT_EQ(take_processed(), 0u);
    EXPECT_FALSE(queues_[0].enabled());
    ASSERT_TRUE(vrings_.set_enabled(0, true));
    EXPECT_EQ(take_processed(), 1u);
}

TEST_F(VringsTest, Stop_GivesTheBaseAndALaterStartGoesOnThere) {
    start(0, 65530);
    EXPECT_EQ(queues_[0].next_available(), 65530);
    EXPECT_EQ(vrings_.stop(0).value(), 65530);
    EXPECT_FALSE(queues_[0].enabled());
    EXPECT_FALSE(vrings_.any_started());
    kick();
    take_processed();
    EXPECT_FALSE(vrings_.starts_anew(0, 65530));
    start(0, 65530);
    EXPECT_EQ(queues_[0].next_available(), 65530);
}

TEST_F(VringsTest, StartsAnew_OnlyAfterAStopElsewhere) {
    EXPECT_FALSE(vrings_.starts_anew(0, 0));
    start(0, 0);
    EXPECT_FALSE(vrings_.starts_anew(0, 0)) << "it runs";
    vrings_.stop(0).value();
    EXPECT_FALSE(vrings_.starts_anew(0, 0)) << "it was never used";
    start(0, 7);
    vrings_.stop(0).value();
    EXPECT_FALSE(vrings_.starts_anew(0, 7)) << "a resumed guest";
    EXPECT_TRUE(vrings_.starts_anew(0, 0));
    EXPECT_FALSE(vrings_.starts_anew(2, 0));
    vrings_.queues_were_reset();
    EXPECT_FALSE(vrings_.starts_anew(0, 0)) << "the device was reset since";
}

TEST_F(VringsTest, StartsAnew_AfterAStopOfABrokenQueue) {
    start(0);
    view_.data()[0x1'1003] = std::byte{1};  // the available index: 256 entries ahead, of 16
    virtio::Chain chain;
    EXPECT_FALSE(queues_[0].pop(chain));
    EXPECT_FALSE(vrings_.starts_anew(0, 0)) << "it runs";
    EXPECT_EQ(vrings_.stop(0).value(), 0);
    EXPECT_TRUE(vrings_.starts_anew(0, 0));
}

TEST_F(VringsTest, Hold_NothingRunsUntilTheLastRelease) {
    vrings_.hold();
    vrings_.hold();
    start(0);
    EXPECT_FALSE(vrings_.running(0));
    vrings_.release();
    EXPECT_FALSE(vrings_.running(0));
    vrings_.release();
    EXPECT_TRUE(vrings_.running(0));
    take_processed();
    vrings_.hold();
    kick();
    EXPECT_EQ(take_processed(), 0u);
    vrings_.release();
    EXPECT_EQ(take_processed(), 1u) << "a kick is not lost";
}

TEST_F(VringsTest, Reset_StopsAllAndKeepsTheCallFd) {
    start(0, 5);
    const UniqueFd call = eventfd();
    ASSERT_TRUE(vrings_.set_call(0, call.duplicate()));
    vrings_.reset();
    EXPECT_FALSE(vrings_.running(0));
    EXPECT_FALSE(vrings_.any_started());
    kick_ = eventfd();
    ASSERT_TRUE(vrings_.set_kick(0, kick_.duplicate()));
    EXPECT_FALSE(vrings_.running(0)) << "disabled and without addresses";
    start(0);
    EXPECT_EQ(queues_[0].next_available(), 0);
    vrings_.interrupt(0);
    EXPECT_EQ(count(call), 1u);
}

TEST_F(VringsTest, QueuesWereReset_RingsOfTheNewStartGoOn) {
    start(0, 3);
    vrings_.stop(0).value();
    vrings_.hold();
    start(0, 0);
    queues_[0].reset();
    vrings_.queues_were_reset();
    vrings_.release();
    EXPECT_TRUE(vrings_.running(0));
    EXPECT_TRUE(queues_[0].enabled());
}

TEST_F(VringsTest, EventIdx_FollowsTheFeaturesOfTheStart) {
    const auto avail_event = [&] {
        uint16_t index;
        std::memcpy(&index, view_.data() + 0x1'2000 + virtio::avail_event_offset(kEntries),
                    sizeof(index));
        return index;
    };
    start(0, 9);
    EXPECT_EQ(avail_event(), 0) << "without EVENT_IDX the field is not the device's";
    vrings_.set_event_idx(true);
    vrings_.stop(0).value();
    start(0, 9);
    EXPECT_EQ(avail_event(), 9) << "the driver is to notify for the next entry";
}

TEST_F(VringsTest, Memory_ARingThatLosesItWaitsAndGoesOn) {
    start(0, 9);
    take_processed();
    unplug();
    vrings_.memory_changed();
    EXPECT_FALSE(vrings_.running(0));
    kick();
    EXPECT_EQ(take_processed(), 0u);
    plug();
    vrings_.memory_changed();
    EXPECT_TRUE(vrings_.running(0));
    EXPECT_EQ(queues_[0].next_available(), 9);
    EXPECT_EQ(take_processed(), 1u);
}

TEST_F(VringsTest, Memory_ARingThatMovedIsFoundAnew) {
    start(0);
    unplug();
    ASSERT_TRUE(table_.add({0x8000'0000, kSize, kUser, 0}, ram_.duplicate()));
    vrings_.memory_changed();
    EXPECT_TRUE(vrings_.running(0));
    EXPECT_EQ(queues_[0].descriptors(), 0x8000'0000u + 0x1'0000);
}

TEST_F(VringsTest, Memory_OtherRegionsDoNotDisturbARing) {
    start(0);
    take_processed();
    const UniqueFd more = create_memfd("more", 4096).value();
    ASSERT_TRUE(table_.add({0, 4096, 0x1000, 0}, more.duplicate()));
    vrings_.memory_changed();
    ASSERT_TRUE(table_.remove({0, 4096, 0x1000, 0}));
    vrings_.memory_changed();
    EXPECT_TRUE(vrings_.running(0));
    EXPECT_EQ(take_processed(), 0u);
}

TEST_F(VringsTest, Bad_IndexPastTheRings) {
    for (const uint32_t index : {2u, 255u, 0xffffffffu}) {
        EXPECT_FALSE(vrings_.set_size(index, kEntries));
        EXPECT_FALSE(vrings_.set_base(index, 0));
        EXPECT_FALSE(vrings_.set_addresses(addresses(index)));
        EXPECT_FALSE(vrings_.set_enabled(index, true));
        EXPECT_FALSE(vrings_.set_kick(index, eventfd()));
        EXPECT_FALSE(vrings_.set_call(index, eventfd()));
        EXPECT_FALSE(vrings_.set_error(index, eventfd()));
        EXPECT_FALSE(vrings_.stop(index));
    }
}

TEST_F(VringsTest, Bad_Sizes) {
    for (const uint32_t size : {0u, 3u, 17u, 2048u, 0x10000u, 0x10010u, 0xffffffffu})
        EXPECT_FALSE(vrings_.set_size(0, size)) << size;
    EXPECT_TRUE(vrings_.set_size(0, 1024));
}

TEST_F(VringsTest, Bad_Base) {
    EXPECT_FALSE(vrings_.set_base(0, 0x10000));
}

TEST_F(VringsTest, Bad_AddressesOutsideMemoryOrMisaligned) {
    ASSERT_TRUE(vrings_.set_size(0, 1024));
    const auto with = [](uint64_t VringAddress::* part, uint64_t value) {
        VringAddress address = addresses(0);
        address.used = address.descriptors + 0x8000;
        address.available = address.descriptors + 0x4000;
        address.*part = value;
        return address;
    };
    EXPECT_TRUE(vrings_.set_addresses(with(&VringAddress::log, 0)));
    for (const auto part :
         {&VringAddress::descriptors, &VringAddress::used, &VringAddress::available}) {
        for (const uint64_t value : {uint64_t{0}, kUser - 16, kUser + kSize - 16, kUser + kSize,
                                     UINT64_MAX - 15, kUser + 0x4'0001})
            EXPECT_FALSE(vrings_.set_addresses(with(part, value))) << value;
    }
    VringAddress logged = addresses(0);
    logged.flags = kVringFlagLog;
    EXPECT_FALSE(vrings_.set_addresses(logged));
}

TEST_F(VringsTest, Bad_AddressesLeaveTheRingStopped) {
    configure(0);
    VringAddress bad = addresses(0);
    bad.used = 0;
    EXPECT_FALSE(vrings_.set_addresses(bad));
    kick_ = eventfd();
    ASSERT_TRUE(vrings_.set_kick(0, kick_.duplicate()));
    EXPECT_FALSE(vrings_.running(0));
}

TEST_F(VringsTest, Bad_ARunningRingDoesNotChange) {
    start(0);
    EXPECT_TRUE(vrings_.set_size(0, kEntries));
    EXPECT_FALSE(vrings_.set_size(0, 2 * kEntries));
    EXPECT_FALSE(vrings_.set_base(0, 1));
    EXPECT_TRUE(vrings_.set_addresses(addresses(0)));
    VringAddress other = addresses(0);
    other.used += 0x800;
    EXPECT_FALSE(vrings_.set_addresses(other));
    EXPECT_TRUE(vrings_.running(0));
}

TEST_F(VringsTest, Bad_NotifiersThatCouldBlock) {
    configure(0);
    const UniqueFd file = create_memfd("file", 4096).value();
    EXPECT_FALSE(vrings_.set_kick(0, file.duplicate()));
    EXPECT_FALSE(vrings_.set_call(0, file.duplicate()));
    EXPECT_FALSE(vrings_.set_error(0, file.duplicate()));
    EXPECT_FALSE(vrings_.set_kick(0, UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC))));
    EXPECT_FALSE(vrings_.set_kick(0, UniqueFd(::open("/", O_RDONLY | O_CLOEXEC))));
    EXPECT_FALSE(vrings_.running(0));
}

TEST_F(VringsTest, Kick_APipeWorksAndItsEndIsNoBusyLoop) {
    configure(0);
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    kick_.reset(pipe[1]);
    ASSERT_TRUE(vrings_.set_kick(0, UniqueFd(pipe[0])));
    take_processed();
    kick();
    EXPECT_EQ(take_processed(), 1u);
    kick_.reset();
    for (int i = 0; i < 5; ++i) testing::turn(*loop_);
    EXPECT_EQ(take_processed(), 0u);
    EXPECT_TRUE(vrings_.running(0));
}

TEST_F(VringsTest, Kick_ASocketWhoseWriterShutDownIsNoBusyLoop) {
    configure(0);
    testing::SocketPair pair;
    ASSERT_TRUE(vrings_.set_kick(0, std::move(pair.ours)));
    take_processed();
    ::shutdown(pair.theirs.get(), SHUT_WR);
    for (int i = 0; i < 5; ++i) testing::turn(*loop_);
    EXPECT_EQ(take_processed(), 0u);
}

TEST_F(VringsTest, Kick_IsNotWaitedForThoughTheFrontEndMakesItBlocking) {
    start(0);
    take_processed();
    const uint64_t one = 1;
    ASSERT_EQ(::write(kick_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    EXPECT_EQ(count(kick_), 1u);  // taken by the front end itself
    ::fcntl(kick_.get(), F_SETFL, 0);
    testing::turn(*loop_);
    EXPECT_EQ(take_processed(), 0u);
}

TEST_F(VringsTest, Kick_ANewFdTakesThePlaceOfTheOld) {
    start(0);
    const UniqueFd old = std::move(kick_);
    kick_ = eventfd();
    ASSERT_TRUE(vrings_.set_kick(0, kick_.duplicate()));
    take_processed();
    const uint64_t one = 1;
    ASSERT_EQ(::write(old.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    testing::turn(*loop_);
    EXPECT_EQ(take_processed(), 0u);
    kick();
    EXPECT_EQ(take_processed(), 1u);
}

TEST_F(VringsTest, Error_IsToldToTheRingsOwnFd) {
    vrings_.report_error(0);
    const UniqueFd error = eventfd();
    const UniqueFd other = eventfd();
    ASSERT_TRUE(vrings_.set_error(0, error.duplicate()));
    ASSERT_TRUE(vrings_.set_error(1, other.duplicate()));
    vrings_.report_error(0);
    EXPECT_EQ(count(error), 1u);
    EXPECT_EQ(count(other), 0u);
    ASSERT_TRUE(vrings_.set_error(0, UniqueFd()));
    vrings_.report_error(0);
    EXPECT_EQ(count(error), 0u);
}

TEST_F(VringsTest, Call_WithoutAnFdIsQuiet) {
    vrings_.interrupt(0);
    const UniqueFd call = eventfd();
    ASSERT_TRUE(vrings_.set_call(1, call.duplicate()));
    vrings_.interrupt(1);
    vrings_.interrupt(0);
    EXPECT_EQ(count(call), 1u);
    ASSERT_TRUE(vrings_.set_call(1, UniqueFd()));
    vrings_.interrupt(1);
    EXPECT_EQ(count(call), 0u);
}

}  // namespace
}  // namespace swede::vhost_user
