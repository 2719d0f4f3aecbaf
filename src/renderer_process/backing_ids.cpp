// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/backing_ids.h"

namespace swede::renderer_process {

BackingIds::Use BackingIds::use(const std::shared_ptr<Backing>& backing) {
    const auto [known, first] = ids_.try_emplace(backing.get(), next_);
    if (first) by_id_.emplace(next_++, Entry{backing, 0});
    ++by_id_.at(known->second).uses;
    return {known->second, first};
}

bool BackingIds::unuse(uint64_t id) {
    const auto found = by_id_.find(id);
    if (found == by_id_.end() || --found->second.uses != 0) return false;
    ids_.erase(found->second.backing.get());
    by_id_.erase(found);
    return true;
}

void BackingIds::clear() {
    by_id_.clear();
    ids_.clear();
}

}  // namespace swede::renderer_process
