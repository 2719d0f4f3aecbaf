// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/handle_table.h"

#include <limits>

namespace swede::gfxstream::vulkan {

HandleTable::~HandleTable() {
    for (std::atomic<Chunk*>& chunk : chunks_) delete chunk.load(std::memory_order_relaxed);
}

HandleTable::Slot* HandleTable::take_slot(uint32_t& index, uint32_t& generation) {
    const std::lock_guard lock(free_mutex_);
    if (!free_.empty()) {
        index = free_.back();
        free_.pop_back();
    } else {
        if (used_ == capacity_) return nullptr;
        if (used_ % kChunkSlots == 0) {
            if (budget_ != nullptr) {
                auto charge = budget_->charge(BudgetKind::kHostBytes, kChunkSlots * kObjectBytes);
                if (!charge) return nullptr;
                charges_.push_back(*std::move(charge));
            }
            auto* const chunk = new (std::nothrow) Chunk;
            if (chunk == nullptr) {
                if (!charges_.empty()) charges_.pop_back();
                return nullptr;
            }
            chunks_[used_ / kChunkSlots].store(chunk, std::memory_order_release);
        }
        index = used_++;
    }
    Slot& slot =
        (*chunks_[index / kChunkSlots].load(std::memory_order_relaxed))[index % kChunkSlots];
    generation = ++slot.generation;
    return &slot;
}

void HandleTable::give_back(Slot& slot, uint32_t index) {
    const std::lock_guard lock(free_mutex_);
    if (slot.generation != std::numeric_limits<uint32_t>::max()) free_.push_back(index);
}

Object* HandleTable::add(ObjectType type, uint64_t driver, Object* parent, Object* device,
                         std::unique_ptr<ObjectData>&& data) {
    uint32_t index = 0;
    uint32_t generation = 0;
    Slot* const slot = take_slot(index, generation);
    if (slot == nullptr) return nullptr;
    const uint64_t id = (uint64_t{static_cast<uint8_t>(type)} << kTypeShift) |
                        (uint64_t{generation} << kGenerationShift) | index;
    Object& object = *slot;
    object.type = type;
    object.id = id;
    object.driver = driver;
    object.parent = parent;
    object.device = type == ObjectType::kDevice ? &object : device;
    object.data = std::move(data);
    object.named_by.store(0, std::memory_order_relaxed);
    slot->first_child = nullptr;
    live_.fetch_add(1, std::memory_order_relaxed);
    if (parent == nullptr) {
        slot->word.store(word_of(id) | 1, std::memory_order_release);
        return &object;
    }
    Slot& above = slot_of(*parent);
    {
        const std::lock_guard lock(lock_of(*parent));
        // The remover clears the flag before it takes this lock to collect the children.
        const uint64_t word = above.word.load(std::memory_order_acquire);
        if ((word & kAlive) != 0 && (word & kPinsMask) != kPinsMask) {
            above.word.fetch_add(1, std::memory_order_relaxed);  // the caller's pin keeps it
            slot->next = above.first_child;
            slot->previous = nullptr;
            if (above.first_child != nullptr) above.first_child->previous = slot;
            above.first_child = slot;
            slot->linked = true;
            slot->word.store(word_of(id) | 1, std::memory_order_release);
            return &object;
        }
    }
    data = std::move(object.data);
    live_.fetch_sub(1, std::memory_order_relaxed);
    give_back(*slot, index);
    return nullptr;
}

void HandleTable::free_from(Slot& first) {
    Slot* slot = &first;
    do {
        Object& object = *slot;
        Object* const parent = object.parent;
        const uint32_t index = index_of(object);
        destroy_(object);
        object.data.reset();
        live_.fetch_sub(1, std::memory_order_relaxed);
        give_back(*slot, index);
        if (parent == nullptr) return;
        slot = &slot_of(*parent);
    } while (drops_last_pin(*slot));
}

void HandleTable::unlink(Slot& slot) {
    if (!slot.linked) return;
    if (slot.next != nullptr) slot.next->previous = slot.previous;
    if (slot.previous != nullptr) {
        slot.previous->next = slot.next;
    } else {
        slot_of(*slot.parent).first_child = slot.next;
    }
    slot.linked = false;
}

bool HandleTable::remove(uint64_t id, ObjectType type) {
    if (type_of(id) != type) return false;
    Slot* const slot = find(id);
    if (slot == nullptr) return false;
    const uint64_t wanted = word_of(id);
    uint64_t word = slot->word.load(std::memory_order_relaxed);
    do {
        if ((word & ~kPinsMask) != wanted) return false;
    } while (!slot->word.compare_exchange_weak(word, word & ~kAlive, std::memory_order_acq_rel,
                                               std::memory_order_relaxed));
    // The pin that it was born with is ours now.
    Object& object = *slot;
    if (object.parent != nullptr) {
        const std::lock_guard lock(lock_of(*object.parent));
        unlink(*slot);
    }
    remove_children(object);
    if (drops_last_pin(*slot)) free_from(*slot);
    return true;
}

void HandleTable::remove_children(Object& parent) {
    Slot& above = slot_of(parent);
    for (;;) {
        uint64_t id = 0;
        {
            const std::lock_guard lock(lock_of(parent));
            Slot* const child = above.first_child;
            if (child == nullptr) return;
            id = child->id;  // linked, so that its slot is not given back
            unlink(*child);
        }
        remove(id, type_of(id));
    }
}

std::array<uint32_t, kObjectTypeCount> HandleTable::census() const {
    std::array<uint32_t, kObjectTypeCount> counts{};
    const std::lock_guard lock(free_mutex_);
    for (uint32_t index = 0; index < used_; ++index) {
        const Slot& slot =
            (*chunks_[index / kChunkSlots].load(std::memory_order_relaxed))[index % kChunkSlots];
        const uint64_t word = slot.word.load(std::memory_order_acquire);
        if ((word & (kAlive | kPinsMask)) != 0) ++counts[(word >> kWordTypeShift) & 63];
    }
    return counts;
}

}  // namespace swede::gfxstream::vulkan
