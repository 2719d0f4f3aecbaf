// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/items.h"

#include <utility>

#include "wire/cross_domain.h"

namespace swede::cross_domain {
namespace {

constexpr uint32_t kFirstId = 2;
/// Each has a charge of bytes or of a file as well; this bounds what is looked through.
constexpr size_t kMaxItems = 1 << 20;

}  // namespace

Result<uint32_t> Items::add(Item item) {
    if (items_.size() >= kMaxItems)
        return fail(ErrorCode::kOutOfMemory, "The context has {} items.", items_.size());
    do {
        last_ = last_ + 1 < wire::cross_domain::kIdEnd ? last_ + 1 : kFirstId;
    } while (items_.contains(last_));
    items_.emplace(last_, std::move(item));
    return last_;
}

Result<void> Items::add_at(uint32_t id, Item item) {
    if (id < kFirstId)
        return fail(ErrorCode::kInvalidParameter, "A read pipe cannot have the id {:#x}.", id);
    if (items_.size() >= kMaxItems)
        return fail(ErrorCode::kOutOfMemory, "The context has {} items.", items_.size());
    if (!items_.emplace(id, std::move(item)).second)
        return fail(ErrorCode::kInvalidParameter, "There is a pipe {:#x}.", id);
    return {};
}

Items::Item* Items::find(uint32_t id) {
    const auto found = items_.find(id);
    return found == items_.end() ? nullptr : &found->second;
}

std::shared_ptr<HostPipe> Items::pipe(uint32_t id) {
    Item* const item = find(id);
    if (item == nullptr) return nullptr;
    auto* const pipe = std::get_if<std::shared_ptr<HostPipe>>(item);
    return pipe == nullptr ? nullptr : *pipe;
}

}  // namespace swede::cross_domain
