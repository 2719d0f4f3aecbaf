// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "base/budget.h"
#include "base/result.h"

namespace swede::cross_domain {

/// Bytes of a guest that wait for a host file to take them, charged to the guest. In order, bounded
/// by who adds.
class ByteQueue {
  public:
    [[nodiscard]] bool empty() const { return taken_ == bytes_.size(); }
    [[nodiscard]] size_t size() const { return bytes_.size() - taken_; }
    [[nodiscard]] std::span<const std::byte> front() const {
        return std::span(bytes_).subspan(taken_);
    }
    [[nodiscard]] Result<void> add(std::span<const std::byte> bytes, Budget& budget) {
        Budget::Charge charge = SWEDE_TRY(budget.charge(BudgetKind::kHostBytes, bytes.size()));
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        charge_.add(std::move(charge));
        return {};
    }
    void take(size_t count) {
        taken_ += count;
        if (empty()) return clear();
        // What was taken is dropped, with its memory and its charge, once it is the larger part: so
        // each byte moves once at most, and a reader that never comes to the end holds no more than
        // twice what waits.
        if (taken_ < kLeastDropped || taken_ <= bytes_.size() / 2) return;
        bytes_ = std::vector(bytes_.begin() + static_cast<ptrdiff_t>(taken_), bytes_.end());
        charge_.reduce(std::exchange(taken_, 0));
    }
    void clear() {
        bytes_ = {};  // and its memory
        taken_ = 0;
        charge_.release();
    }

  private:
    static constexpr size_t kLeastDropped = 64 << 10;

    std::vector<std::byte> bytes_;
    size_t taken_ = 0;  ///< of bytes_
    Budget::Charge charge_;
};

}  // namespace swede::cross_domain
