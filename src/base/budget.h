// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace swede {

/// What a guest can make us hold. Every guest-growable container charges one of these.
enum class BudgetKind : uint8_t {
    kHostBytes,        ///< bytes of our memory: 2D pixels, cursor images, host blobs, the window
    kResources,        ///< resources of all kinds
    kContexts,         ///< renderer contexts
    kBackingSegments,  ///< entries of all backings together
    kMappings,         ///< blobs mapped in the host-visible window
    kPendingFences,    ///< accepted and not completed
    kPendingCommands,  ///< commands taken from a queue and not answered
    kAttachments,      ///< resources attached to contexts, each pair once
    kRings,            ///< threads of guests with a stream of commands, each with one of ours
    kFiles,            ///< files of the host that pass through us: memory, sockets, pipes
    kCount,
};

[[nodiscard]] std::string_view name_of(BudgetKind kind);

/// Counts what one guest uses against limits (invariant I5). Owned by the device, shared with what
/// holds charges; thread-safe, lock-free. Over a limit is OUT_OF_MEMORY for that one command.
class Budget : public std::enable_shared_from_this<Budget> {
  public:
    static constexpr size_t kKinds = static_cast<size_t>(BudgetKind::kCount);
    using Limits = std::array<uint64_t, kKinds>;

    /// Limits that a desktop guest does not meet and a hostile one cannot hurt the host with.
    [[nodiscard]] static Limits default_limits();
    [[nodiscard]] static std::shared_ptr<Budget> create(const Limits& limits = default_limits());

    /// Gives back what it holds when it dies.
    class Charge {
      public:
        Charge() = default;
        Charge(Charge&& other) noexcept
            : budget_(std::move(other.budget_)),
              kind_(other.kind_),
              amount_(std::exchange(other.amount_, 0)) {}
        Charge& operator=(Charge&& other) noexcept {
            if (this != &other) {
                release();
                budget_ = std::move(other.budget_);
                kind_ = other.kind_;
                amount_ = std::exchange(other.amount_, 0);
            }
            return *this;
        }
        ~Charge() { release(); }
        void release();
        /// Gives back a part; more than there is is all of it.
        void reduce(uint64_t amount);
        /// A part of what it holds, as a charge of its own; at most all of it.
        [[nodiscard]] Charge split(uint64_t amount);
        /// Takes over what `other` holds, which is of the same budget and kind.
        void add(Charge&& other);
        [[nodiscard]] uint64_t amount() const { return amount_; }

      private:
        friend class Budget;
        std::shared_ptr<Budget> budget_;
        BudgetKind kind_ = BudgetKind::kHostBytes;
        uint64_t amount_ = 0;
    };

    [[nodiscard]] Result<Charge> charge(BudgetKind kind, uint64_t amount);
    [[nodiscard]] uint64_t used(BudgetKind kind) const;
    [[nodiscard]] uint64_t limit(BudgetKind kind) const;

  private:
    explicit Budget(const Limits& limits) : limits_(limits) {}

    Limits limits_;
    std::array<std::atomic<uint64_t>, kKinds> used_{};
};

}  // namespace swede
