// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/handle_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "gfxstream/vulkan/pins.h"

namespace swede::gfxstream::vulkan {
namespace {

/// What was freed, by the driver handle, in order. Tests of one thread only.
std::vector<uint64_t> freed;
std::atomic<uint64_t> freed_count;

void note(Object& object) {
    freed.push_back(object.driver);
}
void count(Object& object) {
    EXPECT_NE(object.driver, 0U);
    object.driver = 0;  // a second time would be seen
    ++freed_count;
}

/// Says when it dies, and that the driver was called first.
struct Witness : ObjectData {
    explicit Witness(bool& is_gone) : gone(is_gone) {}
    ~Witness() override { gone = !freed.empty(); }
    bool& gone;
};

class HandleTableTest : public ::testing::Test {
  protected:
    HandleTableTest() {
        freed.clear();
        freed_count = 0;
    }

    uint64_t add(ObjectType type, uint64_t driver, Object* parent = nullptr) {
        const Object* const object =
            table.add(type, driver, parent, parent != nullptr ? parent->device : nullptr);
        return object != nullptr ? object->id : 0;
    }
    bool knows(ObjectType type, uint64_t id) {
        Object* const object = table.pin(type, id);
        if (object != nullptr) table.unpin(object);
        return object != nullptr;
    }

    HandleTable table{note};
    Pins pins{&table};
};

TEST_F(HandleTableTest, Object_IsFoundByItsIdAndType) {
    const uint64_t id = add(ObjectType::kInstance, 7);
    Object* const object = pins.pin(ObjectType::kInstance, id);
    ASSERT_NE(object, nullptr);
    EXPECT_EQ(object->driver, 7U);
    EXPECT_EQ(object->id, id);
    EXPECT_EQ(HandleTable::type_of(id), ObjectType::kInstance);
    EXPECT_EQ(table.live(), 1U);
}

TEST_F(HandleTableTest, ForgedIds_AreUnknown) {
    const uint64_t id = add(ObjectType::kBuffer, 7);
    EXPECT_EQ(pins.pin(ObjectType::kBuffer, 0), nullptr);
    EXPECT_EQ(pins.pin(ObjectType::kImage, id), nullptr);
    EXPECT_EQ(pins.pin(ObjectType::kNone, id & ~(uint64_t{255} << 56)), nullptr);
    for (int bit = 0; bit < 64; ++bit) {
        const uint64_t forged = id ^ (uint64_t{1} << bit);
        for (size_t type = 0; type < kObjectTypeCount; ++type)
            EXPECT_EQ(pins.pin(static_cast<ObjectType>(type), forged), nullptr) << bit;
        EXPECT_FALSE(table.remove(forged, HandleTable::type_of(forged)));
    }
    EXPECT_EQ(pins.pin(static_cast<ObjectType>(255), ~uint64_t{0}), nullptr);
    EXPECT_TRUE(knows(ObjectType::kBuffer, id));
}

TEST_F(HandleTableTest, RemovedId_StaysUnknownWhenThePlaceIsUsedAgain) {
    const uint64_t first = add(ObjectType::kBuffer, 1);
    EXPECT_TRUE(table.remove(first, ObjectType::kBuffer));
    EXPECT_FALSE(table.remove(first, ObjectType::kBuffer));
    const uint64_t second = add(ObjectType::kBuffer, 2);
    EXPECT_NE(first, second);
    EXPECT_FALSE(knows(ObjectType::kBuffer, first));
    EXPECT_FALSE(table.remove(first, ObjectType::kBuffer));
    EXPECT_TRUE(knows(ObjectType::kBuffer, second));
    EXPECT_EQ(freed, std::vector<uint64_t>{1});
}

TEST_F(HandleTableTest, RemovingByAnotherType_DoesNothing) {
    const uint64_t id = add(ObjectType::kBuffer, 1);
    EXPECT_FALSE(table.remove(id, ObjectType::kImage));
    EXPECT_TRUE(knows(ObjectType::kBuffer, id));
}

TEST_F(HandleTableTest, PinnedObject_IsFreedWithItsLastPin) {
    bool gone = false;
    const Object* const added =
        table.add(ObjectType::kBuffer, 5, nullptr, nullptr, std::make_unique<Witness>(gone));
    const uint64_t id = added->id;
    Object* const pinned = pins.pin(ObjectType::kBuffer, id);
    ASSERT_NE(pinned, nullptr);
    Pins others(&table);
    ASSERT_NE(others.pin(ObjectType::kBuffer, id), nullptr);
    EXPECT_TRUE(table.remove(id, ObjectType::kBuffer));
    EXPECT_FALSE(knows(ObjectType::kBuffer, id));
    pins.release_all();
    EXPECT_TRUE(freed.empty());
    EXPECT_EQ(table.live(), 1U);
    others.release_all();
    EXPECT_EQ(freed, std::vector<uint64_t>{5});
    EXPECT_TRUE(gone);
    EXPECT_EQ(table.live(), 0U);
}

TEST_F(HandleTableTest, Children_GoFirstAndTheLatestBeforeTheOthers) {
    const uint64_t device = add(ObjectType::kDevice, 1);
    Object* const parent = pins.pin(ObjectType::kDevice, device);
    const uint64_t pool = add(ObjectType::kCommandPool, 2, parent);
    Object* const pool_object = pins.pin(ObjectType::kCommandPool, pool);
    const uint64_t buffer = add(ObjectType::kCommandBuffer, 3, pool_object);
    add(ObjectType::kCommandBuffer, 4, pool_object);
    const uint64_t fence = add(ObjectType::kFence, 5, parent);
    pins.release_all();
    EXPECT_TRUE(table.remove(device, ObjectType::kDevice));
    EXPECT_EQ(freed, (std::vector<uint64_t>{5, 4, 3, 2, 1}));
    EXPECT_FALSE(knows(ObjectType::kCommandBuffer, buffer));
    EXPECT_FALSE(knows(ObjectType::kFence, fence));
    EXPECT_EQ(table.live(), 0U);
}

TEST_F(HandleTableTest, PinnedChild_KeepsItsParentsUntilItGoes) {
    const uint64_t device = add(ObjectType::kDevice, 1);
    const uint64_t buffer = add(ObjectType::kBuffer, 2, pins.pin(ObjectType::kDevice, device));
    Pins others(&table);
    ASSERT_NE(others.pin(ObjectType::kBuffer, buffer), nullptr);
    EXPECT_TRUE(table.remove(device, ObjectType::kDevice));
    pins.release_all();
    EXPECT_TRUE(freed.empty());
    others.release_all();
    EXPECT_EQ(freed, (std::vector<uint64_t>{2, 1}));
}

TEST_F(HandleTableTest, RemovedParent_TakesNoMoreChildren) {
    const uint64_t device = add(ObjectType::kDevice, 1);
    Object* const parent = pins.pin(ObjectType::kDevice, device);
    EXPECT_TRUE(table.remove(device, ObjectType::kDevice));
    bool gone = false;
    std::unique_ptr<ObjectData> data = std::make_unique<Witness>(gone);
    EXPECT_EQ(table.add(ObjectType::kBuffer, 2, parent, parent, std::move(data)), nullptr);
    EXPECT_FALSE(gone) << "The driver's object, which is the caller's to free, may work with it.";
    pins.release_all();
    EXPECT_EQ(freed, std::vector<uint64_t>{1});
    EXPECT_EQ(table.live(), 0U);
}

TEST_F(HandleTableTest, ChildThatIsRemovedAlone_LeavesItsSiblings) {
    const uint64_t device = add(ObjectType::kDevice, 1);
    Object* const parent = pins.pin(ObjectType::kDevice, device);
    std::vector<uint64_t> ids;
    for (uint64_t driver = 2; driver < 7; ++driver)
        ids.push_back(add(ObjectType::kBuffer, driver, parent));
    for (const size_t index : {2U, 0U, 4U}) table.remove(ids[index], ObjectType::kBuffer);
    std::vector<uint64_t> left;
    table.for_each_child(*parent, ObjectType::kBuffer,
                         [&](Object& child) { left.push_back(child.driver); });
    EXPECT_EQ(left, (std::vector<uint64_t>{5, 3}));
    table.remove_children(*parent);
    EXPECT_EQ(freed, (std::vector<uint64_t>{4, 2, 6, 5, 3}));
    EXPECT_TRUE(knows(ObjectType::kDevice, device));
}

TEST_F(HandleTableTest, FullTable_SaysSoAndHasRoomAgainAfterARemoval) {
    HandleTable small(note, 3);
    std::vector<uint64_t> ids;
    for (uint64_t driver = 1; driver <= 3; ++driver)
        ids.push_back(small.add(ObjectType::kBuffer, driver, nullptr, nullptr)->id);
    bool gone = false;
    std::unique_ptr<ObjectData> data = std::make_unique<Witness>(gone);
    EXPECT_EQ(small.add(ObjectType::kBuffer, 4, nullptr, nullptr, std::move(data)), nullptr);
    EXPECT_FALSE(gone);
    EXPECT_TRUE(small.remove(ids[1], ObjectType::kBuffer));
    EXPECT_NE(small.add(ObjectType::kBuffer, 4, nullptr, nullptr), nullptr);
    EXPECT_EQ(small.add(ObjectType::kBuffer, 5, nullptr, nullptr), nullptr);
}

TEST_F(HandleTableTest, Census_CountsByType) {
    const uint64_t device = add(ObjectType::kDevice, 1);
    Object* const parent = pins.pin(ObjectType::kDevice, device);
    add(ObjectType::kBuffer, 2, parent);
    const uint64_t removed = add(ObjectType::kBuffer, 3, parent);
    add(ObjectType::kFence, 4, parent);
    table.remove(removed, ObjectType::kBuffer);
    const auto census = table.census();
    EXPECT_EQ(census[static_cast<size_t>(ObjectType::kDevice)], 1U);
    EXPECT_EQ(census[static_cast<size_t>(ObjectType::kBuffer)], 1U);
    EXPECT_EQ(census[static_cast<size_t>(ObjectType::kFence)], 1U);
    EXPECT_EQ(std::ranges::count(census, 0U), static_cast<long>(kObjectTypeCount) - 3);
}

TEST_F(HandleTableTest, ManyPinsOfOneObject_AreCounted) {
    const uint64_t id = add(ObjectType::kBuffer, 1);
    const uint64_t other = add(ObjectType::kBuffer, 2);
    for (int i = 0; i < 1000; ++i) {
        ASSERT_NE(pins.pin(ObjectType::kBuffer, id), nullptr);
        ASSERT_NE(pins.pin(ObjectType::kBuffer, other), nullptr);
    }
    const size_t mark = pins.mark();
    ASSERT_NE(pins.pin(ObjectType::kBuffer, id), nullptr);
    table.remove(id, ObjectType::kBuffer);
    pins.release_to(mark);
    EXPECT_TRUE(freed.empty());
    pins.release_all();
    EXPECT_EQ(freed, std::vector<uint64_t>{1});
}

TEST_F(HandleTableTest, BothEndsOfManyChunks_Work) {
    std::vector<uint64_t> ids;
    for (uint64_t driver = 1; driver <= 3 * HandleTable::kChunkSlots; ++driver)
        ids.push_back(add(ObjectType::kBuffer, driver));
    std::vector<uint64_t> sorted = ids;
    std::ranges::sort(sorted);
    EXPECT_EQ(std::ranges::adjacent_find(sorted), sorted.end());
    for (size_t i = 0; i < ids.size(); ++i) {
        Object* const object = table.pin(ObjectType::kBuffer, ids[i]);
        ASSERT_NE(object, nullptr);
        EXPECT_EQ(object->driver, i + 1);
        table.unpin(object);
    }
}

// Threads add, look up, guess and remove; each object is freed exactly once, and never while it is
// pinned. TSan looks for races.
TEST_F(HandleTableTest, Threads_FreeEachObjectOnce) {
    HandleTable shared(count);
    const uint64_t device = shared.add(ObjectType::kDevice, 1, nullptr, nullptr)->id;
    constexpr int kThreads = 4;
    constexpr int kRounds = 4000;
    std::atomic<uint64_t> recent[16] = {};
    std::atomic<uint64_t> added = 1;
    const auto work = [&](unsigned seed) {
        std::minstd_rand random(seed);
        Pins own(&shared);
        for (int round = 0; round < kRounds; ++round) {
            Object* const parent = own.pin(ObjectType::kDevice, device);
            ASSERT_NE(parent, nullptr);
            std::atomic<uint64_t>& place = recent[random() % 16];
            switch (random() % 4) {
                case 0: {
                    const Object* const made = shared.add(ObjectType::kBuffer, 2, parent, parent);
                    ASSERT_NE(made, nullptr);
                    ++added;
                    place = made->id;
                    break;
                }
                case 1:
                    shared.remove(place, ObjectType::kBuffer);
                    break;
                default:
                    if (Object* const object = own.pin(ObjectType::kBuffer, place)) {
                        EXPECT_EQ(object->driver, 2U);
                        EXPECT_EQ(object->parent, parent);
                    }
            }
            own.release_all();
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; ++i) threads.emplace_back(work, i + 1);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(shared.live(), added - freed_count);
    EXPECT_TRUE(shared.remove(device, ObjectType::kDevice));
    EXPECT_EQ(freed_count, added);
    EXPECT_EQ(shared.live(), 0U);
}

// The parent goes while others add to it: no child survives, none is freed twice.
TEST_F(HandleTableTest, ParentThatGoesMeanwhile_LeavesNoChild) {
    for (int round = 0; round < 50; ++round) {
        HandleTable shared(count);
        freed_count = 0;
        std::atomic<uint64_t> added = 1;
        const uint64_t device = shared.add(ObjectType::kDevice, 1, nullptr, nullptr)->id;
        const auto work = [&] {
            for (;;) {
                Object* const parent = shared.pin(ObjectType::kDevice, device);
                if (parent == nullptr) return;
                if (shared.add(ObjectType::kBuffer, 2, parent, parent) != nullptr) ++added;
                shared.unpin(parent);
            }
        };
        std::thread one(work);
        std::thread two(work);
        while (shared.live() < 20) std::this_thread::yield();
        EXPECT_TRUE(shared.remove(device, ObjectType::kDevice));
        one.join();
        two.join();
        EXPECT_EQ(shared.live(), 0U);
        EXPECT_EQ(freed_count, added);
    }
}

}  // namespace
}  // namespace swede::gfxstream::vulkan
