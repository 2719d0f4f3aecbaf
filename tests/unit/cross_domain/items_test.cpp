// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/items.h"

#include <gtest/gtest.h>

#include "wire/cross_domain.h"

namespace swede::cross_domain {
namespace {

TEST(Items, IdsBeginAt2AndAreNotUsedAgainSoon) {
    Items items;
    EXPECT_EQ(*items.add(ImageTemplate{}), 2u);
    EXPECT_EQ(*items.add(ImageTemplate{}), 3u);
    items.erase(2);
    EXPECT_EQ(*items.add(ImageTemplate{}), 4u);
    EXPECT_EQ(items.find(2), nullptr);
}

TEST(Items, AGuestsIdIsSkipped) {
    Items items;
    ASSERT_TRUE(items.add_at(3, std::make_shared<HostPipe>()));  // Sommelier of before 2023
    EXPECT_EQ(*items.add(ImageTemplate{}), 2u);
    EXPECT_EQ(*items.add(ImageTemplate{}), 4u);
    EXPECT_FALSE(items.add_at(4, std::make_shared<HostPipe>()));
    EXPECT_FALSE(items.add_at(0, std::make_shared<HostPipe>()));
    EXPECT_FALSE(items.add_at(1, std::make_shared<HostPipe>()));
    EXPECT_NE(items.pipe(3), nullptr);
    EXPECT_EQ(items.pipe(4), nullptr);
}

TEST(ByteQueue, KeepsOrderAndItsCharge) {
    const auto budget = Budget::create();
    ByteQueue queue;
    const auto add = [&](std::string_view text) {
        return queue.add(std::as_bytes(std::span(text)), *budget).has_value();
    };
    ASSERT_TRUE(add("abc"));
    ASSERT_TRUE(add("defg"));
    EXPECT_EQ(queue.size(), 7u);
    queue.take(5);
    ASSERT_TRUE(add("h"));
    EXPECT_EQ(
        std::string(reinterpret_cast<const char*>(queue.front().data()), queue.front().size()),
        "fgh");
    EXPECT_NE(budget->used(BudgetKind::kHostBytes), 0u);
    queue.take(3);
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(budget->used(BudgetKind::kHostBytes), 0u);
}

}  // namespace
}  // namespace swede::cross_domain
