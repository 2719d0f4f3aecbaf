// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gfxstream/vulkan/handle_table.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

/// The objects that the command in hand uses: none of them goes away until they are released. Owned
/// by a ring, used by its thread only.
class Pins {
  public:
    /// One packet names no more: a guest must not make us remember as much as it likes.
    static constexpr size_t kBound = size_t{1} << 22;
    static constexpr size_t kKept = size_t{1} << 14;  ///< places kept over release_all()

    Pins() = default;
    explicit Pins(HandleTable* table) : table_(table) {}
    ~Pins() { release_all(); }
    Pins(const Pins&) = delete;
    Pins& operator=(const Pins&) = delete;

    /// Before first use, unless it was made with one; nothing may be pinned.
    void use(HandleTable* table) { table_ = table; }

    /// Null: no such object, id 0 included. An object may be pinned many times.
    [[nodiscard]] Object* pin(ObjectType type, uint64_t id) {
        Object*& recent = recent_of(id);
        if (recent != nullptr && recent->id == id && recent->type == type) return recent;
        if (pinned_.size() == kBound) return nullptr;
        Object* const object = table_->pin(type, id);
        if (object == nullptr) return nullptr;
        pinned_.push_back(object);
        return recent = object;
    }

    /// What is pinned and has this handle of the driver; null: nothing. For structures, where the
    /// decoder has put the driver's handles in the place of ids.
    [[nodiscard]] Object* find(ObjectType type, uint64_t driver) const {
        for (size_t i = pinned_.size(); i > 0; --i)
            if (pinned_[i - 1]->type == type && pinned_[i - 1]->driver == driver)
                return pinned_[i - 1];
        return nullptr;
    }

    /// A place to go back to; commands inside of another one use it.
    [[nodiscard]] size_t mark() const { return pinned_.size(); }
    void release_to(size_t mark) {
        // Latest first; each may be the last pin of a removed object, whose driver is called here.
        while (pinned_.size() > mark) {
            Object* const object = pinned_.back();
            pinned_.pop_back();
            Object*& recent = recent_of(object->id);
            if (recent == object) recent = nullptr;
            table_->unpin(object);
        }
    }
    /// What was pinned since then; an object may be there more than once.
    [[nodiscard]] std::span<Object* const> since(size_t mark) const {
        return std::span(pinned_).subspan(mark);
    }
    void release_all() {
        release_to(0);
        if (pinned_.capacity() > kKept) pinned_.shrink_to_fit();
    }

    /// Objects that pin() finds without the table.
    static constexpr size_t kRecent = 128;

  private:
    [[nodiscard]] Object*& recent_of(uint64_t id) { return recent_[id % kRecent]; }

    HandleTable* table_ = nullptr;
    std::vector<Object*> pinned_;
    std::array<Object*, kRecent> recent_{};  ///< some of pinned_, by the ends of their ids
};

}  // namespace swede::gfxstream::vulkan
