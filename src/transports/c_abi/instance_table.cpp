// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/instance_table.h"

#include <pthread.h>

#include <utility>

namespace swede::c_abi {
namespace {

constexpr uintptr_t kStep = 16;  // as far apart as objects would be

}  // namespace

InstanceTable& InstanceTable::of_process() {
    static auto* const table = new InstanceTable;
    return *table;
}

InstanceTable::InstanceTable() : instances_(std::make_unique<Instances>()) {
    ::pthread_atfork([] { of_process().before_fork(); },
                     [] { of_process().after_fork_in_parent(); },
                     [] { of_process().after_fork_in_child(); });
}

void InstanceTable::before_fork() {
    mutex_.lock();
}

void InstanceTable::after_fork_in_parent() {
    mutex_.unlock();
}

void InstanceTable::after_fork_in_child() {
    left_behind_.push_back(std::exchange(instances_, std::make_unique<Instances>()));
    mutex_.unlock();
}

::rutabaga* InstanceTable::add(std::shared_ptr<Instance> instance) {
    const std::scoped_lock lock(mutex_);
    last_ += kStep;
    auto* const handle = reinterpret_cast<::rutabaga*>(last_);
    instances_->emplace(handle, std::move(instance));
    return handle;
}

std::shared_ptr<Instance> InstanceTable::find(const ::rutabaga* handle) const {
    const std::scoped_lock lock(mutex_);
    const auto found = instances_->find(handle);
    return found == instances_->end() ? nullptr : found->second;
}

std::shared_ptr<Instance> InstanceTable::remove(const ::rutabaga* handle) {
    const std::scoped_lock lock(mutex_);
    const auto found = instances_->find(handle);
    if (found == instances_->end()) return nullptr;
    std::shared_ptr<Instance> instance = std::move(found->second);
    instances_->erase(found);
    return instance;
}

size_t InstanceTable::size() const {
    const std::scoped_lock lock(mutex_);
    return instances_->size();
}

}  // namespace swede::c_abi
