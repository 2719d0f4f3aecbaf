// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/budget.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

/// All objects of a Session by their ids. Looking up is lock-free and holds the object (a pin);
/// making and removing take short locks. Thread-safe; owned by the Session, which removes what is
/// left before it dies.
///
/// An id is {type: 8, generation: 32, index: 24}. A slot's word is {generation: 32, type: 6, alive:
/// 1, pins: 25}; whoever takes the last pin of an object that is not alive frees it. The id of a
/// removed object never names another one: a slot whose generations are used up stays empty.
class HandleTable {
  public:
    static constexpr uint32_t kChunkSlots = 1024;
    static constexpr uint32_t kMaxChunks = 1024;
    /// More than programs use (a game has some 10^5), and little enough for a host.
    static constexpr uint32_t kCapacity = kChunkSlots * kMaxChunks;
    /// What an object is paid for with: its place here, and what a driver keeps of a small one.
    static constexpr uint64_t kObjectBytes = 512;

    /// Calls the driver to free an object's handle.
    using Destroy = void (*)(Object&);

    /// `budget` may be null: tests. It pays for chunks as they come to be used, and over its limit
    /// the table is full.
    explicit HandleTable(Destroy destroy, uint32_t capacity = kCapacity,
                         std::shared_ptr<Budget> budget = nullptr)
        : destroy_(destroy),
          capacity_(capacity < kCapacity ? capacity : kCapacity),
          budget_(std::move(budget)) {}
    ~HandleTable();
    HandleTable(const HandleTable&) = delete;
    HandleTable& operator=(const HandleTable&) = delete;

    /// Enters an object below `parent`, which the caller has pinned (null: a root). Null when the
    /// table is full or the parent was removed meanwhile: then the driver's handle is still the
    /// caller's to free, and `data` the caller's, which may be what the driver works with. A guest
    /// may guess the id and remove the object at once: read `id` of what is returned, and pin it
    /// for anything else.
    [[nodiscard]] Object* add(ObjectType type, uint64_t driver, Object* parent, Object* device,
                              std::unique_ptr<ObjectData>&& data = nullptr);

    /// Null: there is no such object. What is returned stays until unpin().
    [[nodiscard]] Object* pin(ObjectType type, uint64_t id) {
        if (type_of(id) != type) return nullptr;
        Slot* const slot = find(id);
        if (slot == nullptr) return nullptr;
        const uint64_t wanted = word_of(id);
        uint64_t word = slot->word.load(std::memory_order_relaxed);
        do {
            if ((word & ~kPinsMask) != wanted || (word & kPinsMask) == kPinsMask) return nullptr;
        } while (!slot->word.compare_exchange_weak(word, word + 1, std::memory_order_acquire,
                                                   std::memory_order_relaxed));
        return slot;
    }
    void unpin(Object* object) {
        Slot& slot = slot_of(*object);
        if (drops_last_pin(slot)) [[unlikely]]
            free_from(slot);
    }

    /// Makes the id and those of everything below it unknown; the driver is called for each, the
    /// latest first and children before their parent, once nobody has it pinned. False: unknown.
    bool remove(uint64_t id, ObjectType type);
    /// The same for all that is below `parent`.
    void remove_children(Object& parent);

    /// Calls `visit(Object&)` for each child of `type`, latest first, with a lock held: `visit`
    /// must not call this table. `parent` is pinned.
    template <typename Visit>
    void for_each_child(Object& parent, ObjectType type, Visit&& visit) {
        const std::lock_guard lock(lock_of(parent));
        for (Slot* child = slot_of(parent).first_child; child != nullptr; child = child->next)
            if (child->type == type) visit(*child);
    }

    /// Objects that exist, removed ones that are still pinned included.
    [[nodiscard]] uint32_t live() const { return live_.load(std::memory_order_relaxed); }
    /// The same by type, for tests and reports of leaks.
    [[nodiscard]] std::array<uint32_t, kObjectTypeCount> census() const;

    [[nodiscard]] static ObjectType type_of(uint64_t id) {
        return static_cast<ObjectType>(id >> kTypeShift);
    }

  private:
    static constexpr uint32_t kTypeShift = 56;
    static constexpr uint32_t kGenerationShift = 24;
    static constexpr uint32_t kIndexMask = (1U << kGenerationShift) - 1;

    static constexpr uint64_t kPinsMask = (uint64_t{1} << 25) - 1;
    static constexpr uint64_t kAlive = uint64_t{1} << 25;
    static constexpr uint32_t kWordTypeShift = 26;
    static constexpr uint32_t kWordGenerationShift = 32;
    static_assert(kObjectTypeCount <= 64);

    struct alignas(64) Slot : Object {
        std::atomic<uint64_t> word = 0;
        // Guarded by lock_of(parent).
        Slot* next = nullptr;
        Slot* previous = nullptr;
        Slot* first_child = nullptr;  ///< guarded by lock_of(this)
        bool linked = false;
        uint32_t generation = 0;  ///< of the next object; guarded by free_mutex_
    };
    using Chunk = std::array<Slot, kChunkSlots>;

    [[nodiscard]] static uint64_t word_of(uint64_t id) {
        return ((id >> kGenerationShift) << kWordGenerationShift) |
               (id >> kTypeShift << kWordTypeShift) | kAlive;
    }
    [[nodiscard]] static uint32_t index_of(const Object& object) {
        return static_cast<uint32_t>(object.id) & kIndexMask;
    }
    [[nodiscard]] Slot* find(uint64_t id) const {
        const uint32_t index = static_cast<uint32_t>(id) & kIndexMask;
        if (index / kChunkSlots >= kMaxChunks || id >> kTypeShift >= kObjectTypeCount)
            return nullptr;
        Chunk* const chunk = chunks_[index / kChunkSlots].load(std::memory_order_acquire);
        return chunk != nullptr ? &(*chunk)[index % kChunkSlots] : nullptr;
    }
    /// Of an object that the table made.
    [[nodiscard]] static Slot& slot_of(Object& object) { return static_cast<Slot&>(object); }
    [[nodiscard]] std::mutex& lock_of(const Object& parent) {
        return child_locks_[index_of(parent) % child_locks_.size()];
    }
    /// An empty slot with its generation, and its index; null when there is none.
    [[nodiscard]] Slot* take_slot(uint32_t& index, uint32_t& generation);
    void give_back(Slot& slot, uint32_t index);
    void unlink(Slot& slot);
    /// Takes one pin away; true: it was the last of an object that is not alive.
    [[nodiscard]] static bool drops_last_pin(Slot& slot) {
        const uint64_t before = slot.word.fetch_sub(1, std::memory_order_acq_rel);
        return (before & (kPinsMask | kAlive)) == 1;
    }
    /// Frees the object, and then its parents if that took their last pins.
    void free_from(Slot& slot);

    const Destroy destroy_;
    const uint32_t capacity_;
    const std::shared_ptr<Budget> budget_;
    std::array<std::atomic<Chunk*>, kMaxChunks> chunks_{};
    std::array<std::mutex, 64> child_locks_;  ///< by the parent's index
    std::atomic<uint32_t> live_ = 0;

    mutable std::mutex free_mutex_;
    std::vector<uint32_t> free_;           ///< indices
    uint32_t used_ = 0;                    ///< slots that were ever taken
    std::vector<Budget::Charge> charges_;  ///< of the chunks
};

}  // namespace swede::gfxstream::vulkan
