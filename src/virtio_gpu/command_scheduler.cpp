// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/command_scheduler.h"

#include <utility>

namespace swede::virtio_gpu {
namespace {

uint64_t key_of(size_t kind, uint64_t id) {
    return uint64_t{kind} << 40 | id;
}

}  // namespace

bool CommandScheduler::all_keys_free(const Scheduled& command) const {
    for (size_t kind = 0; kind < kKeyKinds; ++kind)
        if (command.keys[kind] != 0 && queues_.contains(key_of(kind, command.keys[kind])))
            return false;
    return true;
}

void CommandScheduler::hold(Scheduled& command) {
    if (command.scheduled) return;
    command.scheduled = true;
    command.blocked = 0;
    for (size_t kind = 0; kind < kKeyKinds; ++kind) {
        command.behind[kind] = nullptr;
        if (command.keys[kind] == 0) continue;
        const Key key = key_of(kind, command.keys[kind]);
        const auto found = queues_.find(key);
        if (found != queues_.end()) {
            found->second.last->behind[kind] = &command;
            found->second.last = &command;
            ++command.blocked;
        } else if (spare_.empty()) {
            queues_.emplace(key, Queue{&command, &command});
        } else {
            Queues::node_type node = std::move(spare_.back());
            spare_.pop_back();
            node.key() = key;
            node.mapped() = Queue{&command, &command};
            queues_.insert(std::move(node));
        }
    }
}

void CommandScheduler::release(Scheduled& command) {
    if (!command.scheduled) return;
    command.scheduled = false;
    for (size_t kind = 0; kind < kKeyKinds; ++kind) {
        if (command.keys[kind] == 0) continue;
        const auto found = queues_.find(key_of(kind, command.keys[kind]));
        Scheduled* next = command.behind[kind];
        if (next == nullptr) {
            spare_.push_back(queues_.extract(found));
            continue;
        }
        found->second.first = next;
        if (--next->blocked != 0) continue;
        next->next_ready = nullptr;
        (last_ready_ != nullptr ? last_ready_->next_ready : first_ready_) = next;
        last_ready_ = next;
    }
}

Scheduled* CommandScheduler::take_ready() {
    Scheduled* command = first_ready_;
    if (command == nullptr) return nullptr;
    first_ready_ = command->next_ready;
    if (first_ready_ == nullptr) last_ready_ = nullptr;
    command->next_ready = nullptr;
    return command;
}

void CommandScheduler::clear() {
    queues_.clear();
    first_ready_ = nullptr;
    last_ready_ = nullptr;
}

}  // namespace swede::virtio_gpu
