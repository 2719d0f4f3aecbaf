// SPDX-License-Identifier: Apache-2.0
#include "base/budget.h"

#include "base/checked.h"

namespace swede {
namespace {

constexpr std::array<std::string_view, Budget::kKinds> kNames{
    "host bytes", "resources",      "contexts",         "backing segments",
    "mappings",   "pending fences", "pending commands", "attachments",
    "rings",      "files"};

size_t index_of(BudgetKind kind) {
    return static_cast<size_t>(kind);
}

}  // namespace

std::string_view name_of(BudgetKind kind) {
    return kNames[index_of(kind)];
}

Budget::Limits Budget::default_limits() {
    Limits limits{};
    limits[index_of(BudgetKind::kHostBytes)] = uint64_t{2} << 30;
    limits[index_of(BudgetKind::kResources)] = 65536;
    limits[index_of(BudgetKind::kContexts)] = 1024;
    limits[index_of(BudgetKind::kBackingSegments)] = 4 << 20;
    limits[index_of(BudgetKind::kMappings)] = 16384;
    limits[index_of(BudgetKind::kPendingFences)] = 65536;
    limits[index_of(BudgetKind::kPendingCommands)] = 4096;
    limits[index_of(BudgetKind::kAttachments)] = 262144;
    limits[index_of(BudgetKind::kRings)] = 512;
    limits[index_of(BudgetKind::kFiles)] = 4096;
    return limits;
}

std::shared_ptr<Budget> Budget::create(const Limits& limits) {
    return std::shared_ptr<Budget>(new Budget(limits));
}

Result<Budget::Charge> Budget::charge(BudgetKind kind, uint64_t amount) {
    std::atomic<uint64_t>& used = used_[index_of(kind)];
    const uint64_t limit = limits_[index_of(kind)];
    uint64_t now = used.load(std::memory_order_relaxed);
    do {
        if (!range_fits(now, amount, limit))
            return fail(ErrorCode::kOutOfMemory,
                        "{} more {} are over the guest's limit ({} of {} are in use).", amount,
                        name_of(kind), now, limit);
    } while (!used.compare_exchange_weak(now, now + amount, std::memory_order_relaxed));
    Charge charge;
    charge.budget_ = shared_from_this();
    charge.kind_ = kind;
    charge.amount_ = amount;
    return charge;
}

void Budget::Charge::release() {
    if (budget_ && amount_ != 0)
        budget_->used_[index_of(kind_)].fetch_sub(amount_, std::memory_order_relaxed);
    amount_ = 0;
    budget_.reset();
}

void Budget::Charge::reduce(uint64_t amount) {
    if (amount >= amount_) return release();
    budget_->used_[index_of(kind_)].fetch_sub(amount, std::memory_order_relaxed);
    amount_ -= amount;
}

Budget::Charge Budget::Charge::split(uint64_t amount) {
    Charge part;
    if (amount >= amount_) {
        part = std::move(*this);
        return part;
    }
    part.budget_ = budget_;
    part.kind_ = kind_;
    part.amount_ = amount;
    amount_ -= amount;
    return part;
}

void Budget::Charge::add(Charge&& other) {
    if (amount_ == 0) {
        *this = std::move(other);
        return;
    }
    amount_ += std::exchange(other.amount_, 0);
    other.budget_.reset();
}

uint64_t Budget::used(BudgetKind kind) const {
    return used_[index_of(kind)].load(std::memory_order_relaxed);
}

uint64_t Budget::limit(BudgetKind kind) const {
    return limits_[index_of(kind)];
}

}  // namespace swede
