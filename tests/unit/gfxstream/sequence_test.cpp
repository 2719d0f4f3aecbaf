// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/sequence.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace swede::gfxstream {
namespace {

TEST(Sequence, BeginsWithOne) {
    Sequence sequence;
    EXPECT_TRUE(sequence.wait_for_turn(1));
    sequence.pass_on(1);
    EXPECT_TRUE(sequence.wait_for_turn(2));
}

TEST(Sequence, ManyThreadsRunInOrder) {
    constexpr uint32_t kThreads = 8;
    constexpr uint32_t kNumbers = 4000;
    Sequence sequence;
    std::vector<uint32_t> order;
    std::vector<std::thread> threads;
    for (uint32_t thread = 0; thread < kThreads; ++thread)
        threads.emplace_back([&, thread] {
            for (uint32_t number = 1 + thread; number <= kNumbers; number += kThreads) {
                ASSERT_TRUE(sequence.wait_for_turn(number));
                order.push_back(number);  // guarded by the turn
                sequence.pass_on(number);
            }
        });
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(order.size(), kNumbers);
    for (uint32_t i = 0; i < kNumbers; ++i) ASSERT_EQ(order[i], i + 1);
}

TEST(Sequence, Wraps) {
    Sequence sequence;
    sequence.pass_on(UINT32_MAX - 1);
    EXPECT_TRUE(sequence.wait_for_turn(UINT32_MAX));
    std::thread later([&] {
        EXPECT_TRUE(sequence.wait_for_turn(0));
        sequence.pass_on(0);
    });
    sequence.pass_on(UINT32_MAX);
    later.join();
    EXPECT_TRUE(sequence.wait_for_turn(1));
}

TEST(Sequence, AbandonReleasesAllWhoWaitAndComeLater) {
    Sequence sequence;
    std::atomic<int> refused = 0;
    std::vector<std::thread> threads;
    for (const uint32_t number : {0u, 3u, 3u, 70000u, UINT32_MAX})
        threads.emplace_back([&, number] {
            if (!sequence.wait_for_turn(number)) ++refused;
        });
    sequence.abandon();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(refused, 5);
    EXPECT_FALSE(sequence.wait_for_turn(1));
}

TEST(Sequence, ANumberThatIsUsedTwiceWakesBoth) {
    Sequence sequence;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
        threads.emplace_back([&] { EXPECT_TRUE(sequence.wait_for_turn(2)); });
    sequence.pass_on(1);
    for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace swede::gfxstream
