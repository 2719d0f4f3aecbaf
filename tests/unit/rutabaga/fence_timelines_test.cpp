// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/fence_timelines.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <random>
#include <set>

namespace swede::rutabaga {
namespace {

constexpr Timeline kGlobal{};

class FenceTimelinesTest : public ::testing::Test {
  protected:
    std::vector<uint64_t> retired;
    FenceTimelines timelines{[this](uint64_t ticket) { retired.push_back(ticket); }};
};

TEST_F(FenceTimelinesTest, Tickets_RiseAndAreNotZero) {
    uint64_t last = 0;
    for (int i = 0; i < 100; ++i) {
        const uint64_t ticket = timelines.accept(kGlobal);
        EXPECT_GT(ticket, last);
        last = ticket;
        if (i % 3 == 0) timelines.complete(ticket);
    }
}

TEST_F(FenceTimelinesTest, Fence_RetiresWhenComplete) {
    const uint64_t fence = timelines.accept(kGlobal);
    EXPECT_EQ(timelines.pending(), 1u);
    EXPECT_TRUE(retired.empty());
    timelines.complete(fence);
    EXPECT_EQ(retired, std::vector{fence});
    EXPECT_EQ(timelines.pending(), 0u);
}

TEST_F(FenceTimelinesTest, CompletionOutOfOrder_WaitsForThePredecessors) {
    const uint64_t a = timelines.accept(kGlobal);
    const uint64_t b = timelines.accept(kGlobal);
    const uint64_t c = timelines.accept(kGlobal);
    timelines.complete(c);
    timelines.complete(b);
    EXPECT_TRUE(retired.empty());
    EXPECT_EQ(timelines.pending(), 3u);
    timelines.complete(a);
    EXPECT_EQ(retired, (std::vector{a, b, c}));
}

TEST_F(FenceTimelinesTest, SecondCompletion_IsIgnored) {
    const uint64_t a = timelines.accept(kGlobal);
    const uint64_t b = timelines.accept(kGlobal);
    timelines.complete(b);
    timelines.complete(b);
    timelines.complete(a);
    timelines.complete(a);
    timelines.complete(b);
    EXPECT_EQ(retired, (std::vector{a, b}));
}

TEST_F(FenceTimelinesTest, UnknownTicket_IsIgnored) {
    const uint64_t fence = timelines.accept(kGlobal);
    timelines.complete(0);
    timelines.complete(fence + 1);
    timelines.complete(std::numeric_limits<uint64_t>::max());
    EXPECT_TRUE(retired.empty());
    EXPECT_EQ(timelines.pending(), 1u);
}

// Prior art compared the ring and not the context, so one context's fence completed another's.
TEST_F(FenceTimelinesTest, D7_SameRingOfTwoContexts_AreTwoTimelines) {
    const uint64_t of_a = timelines.accept({1, uint8_t{3}});
    const uint64_t of_b = timelines.accept({2, uint8_t{3}});
    timelines.complete(of_b);
    EXPECT_EQ(retired, std::vector{of_b});
    timelines.complete(of_a);
    EXPECT_EQ(retired, (std::vector{of_b, of_a}));
}

TEST_F(FenceTimelinesTest, RingsOfOneContext_AreTimelinesOfTheirOwn) {
    const uint64_t ring_0 = timelines.accept({1, uint8_t{0}});
    const uint64_t ring_255 = timelines.accept({1, uint8_t{255}});
    timelines.complete(ring_255);
    EXPECT_EQ(retired, std::vector{ring_255});
    timelines.complete(ring_0);
    EXPECT_EQ(retired.size(), 2u);
}

TEST_F(FenceTimelinesTest, RingZeroOfContextZero_IsNotTheGlobalTimeline) {
    const uint64_t global = timelines.accept(kGlobal);
    const uint64_t ring = timelines.accept({0, uint8_t{0}});
    timelines.complete(ring);
    EXPECT_EQ(retired, std::vector{ring});
    timelines.complete(global);
    EXPECT_EQ(retired.size(), 2u);
}

TEST_F(FenceTimelinesTest, LargestContext_DoesNotMixWithOthers) {
    constexpr ContextId kLargest = std::numeric_limits<ContextId>::max();
    std::set<uint64_t> tickets;
    for (const ContextId context :
         {ContextId{0}, ContextId{1}, kLargest, kLargest / 2, kLargest - 1})
        for (const int ring : {0, 1, 127, 128, 255})
            tickets.insert(timelines.accept({context, static_cast<uint8_t>(ring)}));
    // Each is the first of its timeline: it retires whatever the order.
    for (auto ticket = tickets.rbegin(); ticket != tickets.rend(); ++ticket) {
        timelines.complete(*ticket);
        ASSERT_FALSE(retired.empty());
        EXPECT_EQ(retired.back(), *ticket);
    }
}

TEST_F(FenceTimelinesTest, FenceWithoutRing_IsGlobalWhateverTheContext) {
    const uint64_t a = timelines.accept({1, std::nullopt});
    const uint64_t b = timelines.accept({2, std::nullopt});
    timelines.complete(b);
    EXPECT_TRUE(retired.empty());
    timelines.complete(a);
    EXPECT_EQ(retired, (std::vector{a, b}));
}

TEST_F(FenceTimelinesTest, ContextDestroyed_CompletesAllOfItsRingsInOrder) {
    const uint64_t a0 = timelines.accept({1, uint8_t{0}});
    const uint64_t a1 = timelines.accept({1, uint8_t{1}});
    const uint64_t other = timelines.accept({2, uint8_t{0}});
    const uint64_t b0 = timelines.accept({1, uint8_t{0}});
    timelines.complete_context(1);
    EXPECT_EQ(retired, (std::vector{a0, a1, b0}));
    EXPECT_EQ(timelines.pending(), 1u);
    timelines.complete(other);
    EXPECT_EQ(retired.back(), other);
}

TEST_F(FenceTimelinesTest, ContextDestroyed_CompletesItsGlobalFencesInTheirTurn) {
    const uint64_t of_nobody = timelines.accept(kGlobal);
    const uint64_t of_context = timelines.accept({1, std::nullopt});
    timelines.complete_context(1);
    EXPECT_TRUE(retired.empty());
    timelines.complete(of_nobody);
    EXPECT_EQ(retired, (std::vector{of_nobody, of_context}));
}

TEST_F(FenceTimelinesTest, LateReportOfADestroyedContext_IsIgnored) {
    const uint64_t fence = timelines.accept({1, uint8_t{0}});
    timelines.complete_context(1);
    timelines.complete(fence);
    EXPECT_EQ(retired, std::vector{fence});
}

TEST_F(FenceTimelinesTest, CompleteAll_RetiresEachOnceInOrderOfAcceptance) {
    std::vector<uint64_t> all;
    for (ContextId context = 0; context < 5; ++context)
        for (uint8_t ring = 0; ring < 4; ++ring) all.push_back(timelines.accept({context, ring}));
    timelines.complete(all[7]);
    timelines.complete_all();
    EXPECT_EQ(retired.front(), all[7]);
    std::ranges::sort(retired);
    EXPECT_EQ(retired, all);
    EXPECT_EQ(timelines.pending(), 0u);
}

TEST_F(FenceTimelinesTest, Clear_ForgetsWithoutRetiring) {
    const uint64_t before = timelines.accept(kGlobal);
    timelines.clear();
    EXPECT_EQ(timelines.pending(), 0u);
    timelines.complete(before);
    EXPECT_TRUE(retired.empty());
    const uint64_t after = timelines.accept(kGlobal);
    EXPECT_GT(after, before);
    timelines.complete(after);
    EXPECT_EQ(retired, std::vector{after});
}

/// The retire function is the test's own, and may call back.
struct Reentrant {
    std::function<void(uint64_t)> on_retire = [](uint64_t) {};
    std::vector<uint64_t> retired;
    FenceTimelines timelines{[this](uint64_t ticket) {
        on_retire(ticket);
        retired.push_back(ticket);
    }};
};

TEST(FenceTimelinesReentrant, CompleteOfTheNext_RetiresAfterThePresentOne) {
    Reentrant r;
    const uint64_t a = r.timelines.accept(kGlobal);
    const uint64_t b = r.timelines.accept(kGlobal);
    const uint64_t other = r.timelines.accept({1, uint8_t{0}});
    r.on_retire = [&](uint64_t ticket) {
        if (ticket != a) return;
        r.timelines.complete(other);
        r.timelines.complete(b);
    };
    r.timelines.complete(a);
    EXPECT_EQ(r.retired, (std::vector{a, b, other}));
}

TEST(FenceTimelinesReentrant, AcceptedMeanwhile_IsLastAndWaits) {
    Reentrant r;
    const uint64_t a = r.timelines.accept(kGlobal);
    uint64_t b = 0;
    r.on_retire = [&](uint64_t ticket) {
        if (ticket == a) b = r.timelines.accept(kGlobal);
    };
    r.timelines.complete(a);
    EXPECT_EQ(r.retired, std::vector{a});
    EXPECT_EQ(r.timelines.pending(), 1u);
    r.timelines.complete(b);
    EXPECT_EQ(r.retired, (std::vector{a, b}));
}

TEST(FenceTimelinesReentrant, LongChain_DoesNotGrowTheStack) {
    Reentrant r;
    constexpr size_t kLength = 1'000'000;
    r.on_retire = [&](uint64_t ticket) {
        if (ticket < kLength) r.timelines.complete(r.timelines.accept({1, uint8_t{0}}));
    };
    r.timelines.complete(r.timelines.accept({1, uint8_t{0}}));
    EXPECT_EQ(r.retired.size(), kLength);
    EXPECT_TRUE(std::ranges::is_sorted(r.retired));
}

TEST(FenceTimelinesReentrant, ClearMeanwhile_ForgetsTheRest) {
    Reentrant r;
    const uint64_t a = r.timelines.accept(kGlobal);
    const uint64_t b = r.timelines.accept(kGlobal);
    const uint64_t other = r.timelines.accept({1, uint8_t{0}});
    uint64_t fresh = 0;
    r.on_retire = [&](uint64_t ticket) {
        if (ticket != a) return;
        r.timelines.complete(other);
        r.timelines.clear();
        fresh = r.timelines.accept({2, uint8_t{0}});
        r.timelines.complete(fresh);
    };
    r.timelines.complete(b);
    r.timelines.complete(a);
    EXPECT_EQ(r.retired, (std::vector{a, fresh}));
    EXPECT_EQ(r.timelines.pending(), 0u);
}

TEST(FenceTimelinesReentrant, CompleteAllMeanwhile_RetiresEachOnce) {
    Reentrant r;
    for (uint8_t ring = 0; ring < 10; ++ring)
        for (int i = 0; i < 3; ++i) (void)r.timelines.accept({1, ring});
    r.on_retire = [&](uint64_t) {
        r.timelines.complete_all();
        r.timelines.complete_context(1);
    };
    r.timelines.complete(1);
    EXPECT_EQ(r.retired.size(), 30u);
    std::ranges::sort(r.retired);
    EXPECT_EQ(std::ranges::adjacent_find(r.retired), r.retired.end());
}

/// The same rules, told plainly: a list for each timeline, searched from the front.
class NaiveTimelines {
  public:
    void accept(uint64_t ticket, const Timeline& timeline) {
        const Timeline name = timeline.ring ? timeline : Timeline{};
        lists_[{name.context, name.ring ? int{*name.ring} : -1}].push_back(
            {ticket, timeline.context, false});
    }
    template <typename Predicate>
    void complete_if(Predicate predicate) {
        for (auto& [name, list] : lists_) {
            for (Fence& fence : list) fence.done |= predicate(fence.ticket, fence.context);
            while (!list.empty() && list.front().done) {
                retired.push_back(list.front().ticket);
                list.erase(list.begin());
            }
        }
    }
    void clear() { lists_.clear(); }
    [[nodiscard]] size_t pending() const {
        size_t count = 0;
        for (const auto& [name, list] : lists_) count += list.size();
        return count;
    }
    std::vector<uint64_t> retired;  ///< in order within each timeline

  private:
    struct Fence {
        uint64_t ticket;
        ContextId context;
        bool done;
    };
    std::map<std::pair<ContextId, int>, std::vector<Fence>> lists_;
};

class FenceTimelinesRandom : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, FenceTimelinesRandom, ::testing::Range(1u, 41u));

TEST_P(FenceTimelinesRandom, AgreesWithTheNaiveModel) {
    std::mt19937 random(GetParam());
    const auto upto = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    std::vector<uint64_t> retired;
    FenceTimelines timelines([&](uint64_t ticket) { retired.push_back(ticket); });
    NaiveTimelines naive;
    std::map<uint64_t, std::pair<ContextId, int>> name_of;
    std::vector<uint64_t> tickets{0};

    for (int step = 0; step < 3000; ++step) {
        const uint32_t choice = upto(1000);
        if (choice < 450) {
            Timeline timeline{upto(4), std::nullopt};
            if (upto(4) != 0) timeline.ring = static_cast<uint8_t>(upto(3) * 127);
            const uint64_t ticket = timelines.accept(timeline);
            naive.accept(ticket, timeline);
            name_of[ticket] = timeline.ring ? std::pair{timeline.context, int{*timeline.ring}}
                                            : std::pair{ContextId{0}, -1};
            tickets.push_back(ticket);
        } else if (choice < 985) {
            // Mostly recent ones, so that timelines both grow and drain; some were retired long
            // ago.
            const size_t back =
                upto(8) == 0 ? tickets.size() : std::min<size_t>(tickets.size(), 12);
            const uint64_t ticket = tickets[tickets.size() - 1 - upto(static_cast<uint32_t>(back))];
            timelines.complete(ticket);
            naive.complete_if([&](uint64_t t, ContextId) { return t == ticket; });
        } else if (choice < 995) {
            const ContextId context = upto(4);
            timelines.complete_context(context);
            naive.complete_if([&](uint64_t, ContextId c) { return c == context; });
        } else if (choice < 998) {
            timelines.complete_all();
            naive.complete_if([](uint64_t, ContextId) { return true; });
        } else {
            timelines.clear();
            naive.clear();
        }
        ASSERT_EQ(timelines.pending(), naive.pending()) << "step " << step;
        ASSERT_EQ(retired.size(), naive.retired.size()) << "step " << step;
    }

    ASSERT_GT(retired.size(), 300u) << "the run was to retire many";
    const auto by_timeline = [&](const std::vector<uint64_t>& list) {
        std::map<std::pair<ContextId, int>, std::vector<uint64_t>> split;
        for (const uint64_t ticket : list) split[name_of[ticket]].push_back(ticket);
        return split;
    };
    EXPECT_EQ(by_timeline(retired), by_timeline(naive.retired));
    for (const auto& [name, list] : by_timeline(retired))
        EXPECT_TRUE(std::ranges::is_sorted(list)) << "order of acceptance";
}

}  // namespace
}  // namespace swede::rutabaga
