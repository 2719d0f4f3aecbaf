// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

/// The batches (VkSubmitInfo) of a queue that may not be done yet, the oldest first, and the
/// objects that each of them uses. Not thread-safe; allocates nothing once it has been as long
/// before.
class PendingWork {
  public:
    /// Batches, and objects. A guest that submits for ever what cannot run must not make us
    /// remember it all.
    static constexpr size_t kBound = size_t{1} << 18;

    [[nodiscard]] bool empty() const { return first_ == batches_.size(); }
    [[nodiscard]] size_t batches() const { return batches_.size() - first_; }
    [[nodiscard]] bool has_room_for(size_t batches, size_t objects) const {
        return batches <= kBound && this->batches() <= kBound - batches && objects <= kBound &&
               objects_.size() - first_object_ <= kBound - objects;
    }
    /// What the queue's semaphore counts to when the oldest is done. Not when empty().
    [[nodiscard]] uint64_t oldest() const { return batches_[first_].value; }

    /// `value`: more than that of the one before.
    void add(uint64_t value, std::span<Object* const> objects) {
        batches_.push_back({value, objects.size()});
        objects_.insert(objects_.end(), objects.begin(), objects.end());
    }

    /// The objects of all batches.
    [[nodiscard]] std::span<Object* const> objects() const {
        return std::span(objects_).subspan(first_object_);
    }

    /// Moves what the batches up to `value` use to the end of `finished`.
    void take_finished(uint64_t value, std::vector<Object*>& finished) {
        while (!empty() && oldest() <= value) {
            const auto from = objects_.begin() + static_cast<ptrdiff_t>(first_object_);
            const size_t count = batches_[first_].objects;
            finished.insert(finished.end(), from, from + static_cast<ptrdiff_t>(count));
            first_object_ += count;
            ++first_;
        }
        close_up(batches_, first_);
        close_up(objects_, first_object_);
    }

  private:
    struct Batch {
        uint64_t value = 0;
        size_t objects = 0;
    };

    /// Once half of it is empty, so that each element moves once.
    template <typename T>
    static void close_up(std::vector<T>& all, size_t& first) {
        if (first < all.size() - first) return;
        all.erase(all.begin(), all.begin() + static_cast<ptrdiff_t>(first));
        first = 0;
    }

    std::vector<Batch> batches_;
    size_t first_ = 0;
    std::vector<Object*> objects_;
    size_t first_object_ = 0;
};

}  // namespace swede::gfxstream::vulkan
