// SPDX-License-Identifier: Apache-2.0
#include "base/budget.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace swede {
namespace {

std::shared_ptr<Budget> with_limit(BudgetKind kind, uint64_t limit) {
    Budget::Limits limits = Budget::default_limits();
    limits[static_cast<size_t>(kind)] = limit;
    return Budget::create(limits);
}

TEST(Budget, Charge_CountsUntilItDies) {
    const auto budget = with_limit(BudgetKind::kHostBytes, 100);
    {
        const auto charge = budget->charge(BudgetKind::kHostBytes, 60);
        ASSERT_TRUE(charge);
        EXPECT_EQ(charge->amount(), 60u);
        EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 60u);
        EXPECT_EQ(budget->used(BudgetKind::kResources), 0u);
    }
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
}

TEST(Budget, OverTheLimit_IsOutOfMemoryAndChargesNothing) {
    const auto budget = with_limit(BudgetKind::kContexts, 3);
    const auto first = budget->charge(BudgetKind::kContexts, 3);
    ASSERT_TRUE(first);
    const auto second = budget->charge(BudgetKind::kContexts, 1);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(second.error().message,
              "1 more contexts are over the guest's limit (3 of 3 are in use).");
    EXPECT_EQ(budget->used(BudgetKind::kContexts), 3u);
}

TEST(Budget, HugeAmount_DoesNotWrap) {
    const auto budget = with_limit(BudgetKind::kHostBytes, 100);
    const auto first = budget->charge(BudgetKind::kHostBytes, 1);
    EXPECT_FALSE(budget->charge(BudgetKind::kHostBytes, UINT64_MAX));
    EXPECT_FALSE(budget->charge(BudgetKind::kHostBytes, UINT64_MAX - 1));
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 1u);
    EXPECT_TRUE(budget->charge(BudgetKind::kHostBytes, 0));
}

TEST(Budget, Move_KeepsOneCharge) {
    const auto budget = with_limit(BudgetKind::kMappings, 10);
    auto first = budget->charge(BudgetKind::kMappings, 4).value();
    Budget::Charge second(std::move(first));
    EXPECT_EQ(first.amount(), 0u);
    EXPECT_EQ(budget->used(BudgetKind::kMappings), 4u);
    auto third = budget->charge(BudgetKind::kMappings, 5).value();
    third = std::move(second);
    EXPECT_EQ(budget->used(BudgetKind::kMappings), 4u) << "what it held before is given back";
    third.release();
    third.release();
    EXPECT_EQ(budget->used(BudgetKind::kMappings), 0u);
}

TEST(Budget, AddedCharge_GoesWithTheOther) {
    const auto budget = with_limit(BudgetKind::kHostBytes, 100);
    Budget::Charge sum;
    for (const uint64_t amount : {10, 20, 30}) {
        auto charge = budget->charge(BudgetKind::kHostBytes, amount);
        ASSERT_TRUE(charge);
        sum.add(*std::move(charge));
        EXPECT_EQ(charge->amount(), 0u);
    }
    sum.add(Budget::Charge());
    EXPECT_EQ(sum.amount(), 60u);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 60u);
    sum.release();
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
}

TEST(Budget, ReducedCharge_GivesBackAPart) {
    const auto budget = with_limit(BudgetKind::kHostBytes, 100);
    auto charge = budget->charge(BudgetKind::kHostBytes, 50);
    ASSERT_TRUE(charge);
    charge->reduce(20);
    EXPECT_EQ(charge->amount(), 30u);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 30u);
    charge->reduce(31);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
    charge->reduce(1);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
}

TEST(Budget, SplitCharge_IsHeldByBoth) {
    const auto budget = with_limit(BudgetKind::kHostBytes, 100);
    auto charge = budget->charge(BudgetKind::kHostBytes, 50);
    ASSERT_TRUE(charge);
    auto part = charge->split(20);
    EXPECT_EQ(part.amount(), 20u);
    EXPECT_EQ(charge->amount(), 30u);
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 50u);
    part.release();
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 30u);
    part = charge->split(31);
    EXPECT_EQ(part.amount(), 30u);
    EXPECT_EQ(charge->split(1).amount(), 0u) << "nothing is left";
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 30u);
}

TEST(Budget, Charge_KeepsTheBudgetAlive) {
    auto budget = with_limit(BudgetKind::kResources, 1);
    const std::weak_ptr<Budget> watch = budget;
    auto charge = budget->charge(BudgetKind::kResources, 1).value();
    budget.reset();
    EXPECT_FALSE(watch.expired());
    charge.release();
    EXPECT_TRUE(watch.expired());
}

TEST(Budget, EveryKind_HasANameAndADefaultLimit) {
    const auto budget = Budget::create();
    for (size_t kind = 0; kind < Budget::kKinds; ++kind) {
        EXPECT_FALSE(name_of(static_cast<BudgetKind>(kind)).empty()) << kind;
        EXPECT_GT(budget->limit(static_cast<BudgetKind>(kind)), 0u) << kind;
    }
}

TEST(Budget, ConcurrentCharges_NeverPassTheLimit) {
    constexpr uint64_t kLimit = 100;
    const auto budget = with_limit(BudgetKind::kPendingCommands, kLimit);
    std::atomic<bool> passed = false;
    std::atomic<uint64_t> granted = 0;
    {
        std::vector<std::jthread> threads;
        for (uint64_t amount = 7; amount < 11; ++amount)
            threads.emplace_back([&, amount] {
                for (int i = 0; i < 5000; ++i) {
                    const auto first = budget->charge(BudgetKind::kPendingCommands, amount * 2);
                    const auto second = budget->charge(BudgetKind::kPendingCommands, amount * 3);
                    granted += (first ? 1 : 0) + (second ? 1 : 0);
                    if (budget->used(BudgetKind::kPendingCommands) > kLimit) passed = true;
                }
            });
    }
    EXPECT_FALSE(passed);
    EXPECT_GT(granted, 0u);
    EXPECT_EQ(budget->used(BudgetKind::kPendingCommands), 0u);
}

}  // namespace
}  // namespace swede
