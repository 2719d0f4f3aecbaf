// SPDX-License-Identifier: Apache-2.0
// Random good drivers against a naive model of a queue, and a driver on a thread of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "unit/virtio/driver.h"
#include "virtio/virtqueue.h"

namespace swede::virtio {
namespace {

using testing::DriverQueue;
using testing::read_request;
using testing::TestGuest;

struct Expected {
    uint16_t head;
    std::vector<std::byte> request;
    uint64_t room = 0;  ///< bytes of the writable ranges
};

/// One run of random steps. The model: chains come out in the order offered, whole, and go back as
/// pushed; a driver notifies exactly when the device, having found nothing, asked for it; an
/// interrupt comes exactly when the step of the used index passes the driver's event.
class ModelRun {
  public:
    explicit ModelRun(uint32_t seed)
        : random_(seed),
          options_{.size = static_cast<uint16_t>(1u << number(0, 8)),
                   .event_idx = number(0, 1) == 0,
                   .indirect = number(0, 1) == 0},
          driver_(guest_, queue_, options_) {}

    void step() {
        switch (number(0, 9)) {
            case 0:
            case 1:
            case 2:
                return offer();
            case 3:
            case 4:
            case 5:
                return pop();
            case 6:
            case 7:
                return push();
            case 8:
                return interrupts();
            default:
                return notifications();
        }
    }

  private:
    uint64_t number(uint64_t from, uint64_t to) {
        return std::uniform_int_distribution<uint64_t>(from, to)(random_);
    }
    std::vector<GuestRange> ranges(uint64_t most) {
        std::vector<GuestRange> out;
        for (uint64_t left = number(0, most); left != 0; --left) {
            const auto size = static_cast<uint32_t>(number(0, 8) == 0 ? 0 : number(1, 300));
            out.push_back({guest_.allocate(size), size});
        }
        return out;
    }

    void offer() {
        const auto readable = ranges(6);
        const auto writable = ranges(3);
        Expected expected;
        for (const GuestRange& range : readable)
            for (uint32_t i = 0; i < range.size; ++i) {
                expected.request.push_back(static_cast<std::byte>(random_()));
                guest_.store(range.address + i, expected.request.back());
            }
        for (const GuestRange& range : writable) expected.room += range.size;
        if (const auto head = driver_.add_buffer(readable, writable)) {
            expected.head = *head;
            memory_[*head] = {readable, writable};
            offered_.push_back(std::move(expected));
            ASSERT_EQ(driver_.kick_wanted(), options_.event_idx ? asked_ : wanted_);
            asked_ = false;
        } else {
            release({readable, writable});
        }
    }

    void pop() {
        Chain chain;
        const auto popped = queue_.pop(chain);
        ASSERT_TRUE(popped) << popped.error().message;
        ASSERT_EQ(*popped, !offered_.empty());
        if (!*popped) {
            asked_ = wanted_;
            return;
        }
        asked_ = false;
        const Expected& expected = offered_.front();
        ASSERT_EQ(chain.head, expected.head);
        ASSERT_EQ(read_request(queue_, chain).value(), expected.request);
        ASSERT_EQ(chain.writable_size, expected.room);
        taken_.push_back(chain);
        offered_.pop_front();
    }

    void push() {
        if (taken_.empty()) return;
        const auto index = static_cast<std::ptrdiff_t>(number(0, taken_.size() - 1));
        const Chain chain = taken_[static_cast<size_t>(index)];
        taken_.erase(taken_.begin() + index);
        std::vector<std::byte> response(number(0, 700));
        for (auto& byte : response) byte = static_cast<std::byte>(random_());
        ASSERT_TRUE(queue_.push(chain, response));
        response.resize(std::min<uint64_t>(response.size(), chain.writable_size));
        ++pushed_;
        if (!interrupt_due_) interrupt_due_ = interrupt_asked_ && event_ == pushed_ - 1;
        given_back_.push_back({chain.head, std::move(response)});
    }

    /// The device signals, the driver then takes what is there and asks for the next.
    void interrupts() {
        if (pushed_ != signalled_) {
            const bool raised = queue_.take_interrupt();
            // The first after enabling is raised in any case: what came before is not known.
            const bool due =
                options_.event_idx ? first_signal_ || interrupt_due_ : interrupt_asked_;
            ASSERT_EQ(raised, due);
            first_signal_ = false;
            signalled_ = pushed_;
        }
        ASSERT_FALSE(queue_.take_interrupt());
        interrupt_due_ = false;
        while (!given_back_.empty()) {
            const auto used = driver_.take_used();
            ASSERT_TRUE(used);
            ASSERT_EQ(used->head, given_back_.front().head);
            ASSERT_EQ(used->response, given_back_.front().response);
            given_back_.pop_front();
            release(memory_.extract(used->head).mapped());
        }
        ASSERT_FALSE(driver_.take_used());
        interrupt_asked_ = number(0, 2) != 0;
        event_ = pushed_;
        driver_.set_interrupts(interrupt_asked_);
    }

    void notifications() {
        wanted_ = number(0, 1) == 0;
        queue_.set_notifications(wanted_);
        // Turned on with nothing to take: the driver is asked at once. With entries that the device
        // does not know of yet it is asked when those are taken.
        if (!wanted_) asked_ = false;
        if (wanted_ && offered_.empty()) asked_ = true;
    }

    struct Memory {
        std::vector<GuestRange> readable;
        std::vector<GuestRange> writable;
    };
    void release(const Memory& memory) {
        for (const auto* ranges : {&memory.readable, &memory.writable})
            for (const GuestRange& range : *ranges) guest_.release(range.address, range.size);
    }
    struct GivenBack {
        uint16_t head;
        std::vector<std::byte> response;
    };

    std::mt19937 random_;
    TestGuest guest_;
    Virtqueue queue_{guest_.memory};
    DriverQueue::Options options_;
    DriverQueue driver_;
    std::deque<Expected> offered_;
    std::vector<Chain> taken_;
    std::deque<GivenBack> given_back_;
    std::map<uint16_t, Memory> memory_;  ///< by head
    bool wanted_ = true;                 ///< notifications
    bool asked_ = true;                  ///< with EVENT_IDX: the next offer must notify
    uint64_t pushed_ = 0;
    uint64_t signalled_ = 0;  ///< pushed_ at the last take_interrupt()
    bool first_signal_ = true;
    bool interrupt_asked_ = true;
    bool interrupt_due_ = false;
    uint64_t event_ = 0;  ///< the used entry that the driver wants to hear of
};

TEST(VirtqueueModel, RandomGoodDrivers_AgreeWithTheModel) {
    for (uint32_t seed = 0; seed < 150; ++seed) {
        ModelRun run(seed);
        for (int step = 0; step < 1500; ++step) {
            run.step();
            if (::testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << " step " << step;
        }
    }
}

/// Of the simplest parts, so that a thread that sleeps for ever is the queue's fault.
class Semaphore {
  public:
    void release() {
        const std::scoped_lock lock(mutex_);
        ++count_;
        changed_.notify_one();
    }
    [[nodiscard]] bool try_acquire_for(std::chrono::seconds limit) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, limit, [this] { return count_ != 0; })) return false;
        --count_;
        return true;
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    uint64_t count_ = 0;
};

// The driver and the device on two threads, both asleep whenever the other need not tell them: a
// missing fence or a notification lost between "look" and "sleep" stops them for good.
class TwoThreads : public ::testing::TestWithParam<std::tuple<bool, uint16_t>> {};

INSTANTIATE_TEST_SUITE_P(Virtqueue, TwoThreads,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(2, 16, 256)),
                         [](const auto& kind) {
                             return std::string(std::get<0>(kind.param) ? "EventIdx" : "Flags") +
                                    std::to_string(std::get<1>(kind.param));
                         });

TEST_P(TwoThreads, NoNotificationIsLost) {
    constexpr uint32_t kRequests = 50'000;
    constexpr std::chrono::seconds kTooLong(60);  // a lost one never comes
    TestGuest guest;
    Virtqueue queue(guest.memory);
    DriverQueue driver(guest, queue,
                       {.size = std::get<1>(GetParam()), .event_idx = std::get<0>(GetParam())});
    Semaphore kicks;
    Semaphore interrupts;
    std::atomic<bool> device_failed = false;

    std::jthread device([&] {
        Chain chain;
        for (uint32_t served = 0; served < kRequests;) {
            queue.set_notifications(false);
            for (int pass = 0; pass < 2; ++pass) {
                while (queue.pop(chain).value_or(false)) {
                    uint32_t request = 0;
                    const auto bytes = std::as_writable_bytes(std::span(&request, 1));
                    if (!queue.read(chain, 0, bytes) || request != served) device_failed = true;
                    ++request;
                    if (!queue.push(chain, bytes)) device_failed = true;
                    ++served;
                    if (served % 7 == 0 && queue.take_interrupt()) interrupts.release();
                }
                if (queue.take_interrupt()) interrupts.release();
                queue.set_notifications(true);
            }
            if (served < kRequests && !kicks.try_acquire_for(kTooLong)) {
                device_failed = true;
                return;
            }
        }
    });

    uint32_t offered = 0;
    uint32_t answered = 0;
    while (answered < kRequests && !device_failed) {
        while (offered < kRequests && driver.add_request(offered, 4)) {
            ++offered;
            if (driver.kick_wanted()) kicks.release();
        }
        driver.set_interrupts(false);
        const auto take = [&] {
            bool some = false;
            while (const auto used = driver.take_used()) {
                uint32_t response = 0;
                ASSERT_EQ(used->response.size(), 4u);
                std::memcpy(&response, used->response.data(), 4);
                ASSERT_EQ(response, answered + 1);
                ++answered;
                some = true;
            }
            if (some) return;
            driver.set_interrupts(true);
            if (driver.used_index() == static_cast<uint16_t>(answered) &&
                !interrupts.try_acquire_for(kTooLong))
                FAIL() << "no interrupt after " << answered << " answers";
        };
        take();
        if (HasFatalFailure()) break;
    }
    kicks.release();
    device.join();
    EXPECT_FALSE(device_failed);
    EXPECT_EQ(answered, kRequests);
}

}  // namespace
}  // namespace swede::virtio
