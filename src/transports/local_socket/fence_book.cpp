// SPDX-License-Identifier: Apache-2.0
#include "transports/local_socket/fence_book.h"

#include <algorithm>
#include <utility>

namespace swede::local_socket {
namespace {

/// What a resource in the list of a fence takes here, bytes.
constexpr uint64_t kBytesPerResource = 64;

}  // namespace

FenceBook::FenceBook(std::shared_ptr<Budget> budget, WaitDone done)
    : budget_(std::move(budget)),
      done_(std::move(done)),
      timelines_([this](uint64_t ticket) { retired(ticket); }) {}

FenceBook::~FenceBook() {
    for (auto& [ticket, fence] : fences_) fence.signal.file.hang_up();
}

Result<FenceBook::Reserved> FenceBook::reserve(size_t resources, bool has_file) {
    Reserved reserved;
    reserved.fence = SWEDE_TRY(budget_->charge(BudgetKind::kPendingFences, 1));
    reserved.list =
        SWEDE_TRY(budget_->charge(BudgetKind::kHostBytes, resources * kBytesPerResource));
    if (has_file) reserved.file = SWEDE_TRY(budget_->charge(BudgetKind::kFiles, 1));
    return reserved;
}

uint64_t FenceBook::accept(Reserved reserved, const rutabaga::Timeline& timeline,
                           std::span<const uint32_t> resources, Signal signal) {
    const uint64_t ticket = timelines_.accept(timeline);
    signal.file.hold(std::move(reserved.file));
    Fence& fence = fences_[ticket];
    fence.reserved = std::move(reserved);
    fence.signal = std::move(signal);
    fence.resources.assign(resources.begin(), resources.end());
    std::ranges::sort(fence.resources);
    const auto again = std::ranges::unique(fence.resources);
    fence.resources.erase(again.begin(), again.end());
    for (const uint32_t resource : fence.resources) {
        std::vector<Newest>& newest = newest_of_[resource];
        const auto before = std::ranges::find(newest, timeline.ring, &Newest::ring);
        if (before == newest.end())
            newest.push_back({timeline.ring, ticket});
        else
            before->ticket = ticket;
    }
    return ticket;
}

Result<void> FenceBook::wait(uint32_t resource, uint64_t request) {
    const auto waiter = std::make_shared<Waiter>(
        request, 0, SWEDE_TRY(budget_->charge(BudgetKind::kPendingCommands, 1)));
    const std::vector<Newest>& newest = newest_of_.at(resource);
    waiter->fences = newest.size();
    for (const Newest& fence : newest) fences_.at(fence.ticket).waiters.push_back(waiter);
    ++waits_;
    return {};
}

void FenceBook::retired(uint64_t ticket) {
    const auto node = fences_.extract(ticket);
    Fence& fence = node.mapped();
    fence.signal.file.hang_up();
    if (fence.signal.events != nullptr) fence.signal.events->tell(std::move(fence.reserved.fence));
    for (const uint32_t resource : fence.resources) {
        const auto found = newest_of_.find(resource);
        if (found == newest_of_.end()) continue;
        std::erase_if(found->second, [&](const Newest& newest) { return newest.ticket == ticket; });
        if (found->second.empty()) newest_of_.erase(found);
    }
    for (const auto& waiter : fence.waiters) {
        if (--waiter->fences != 0) continue;
        --waits_;
        done_(waiter->request);
    }
}

}  // namespace swede::local_socket
