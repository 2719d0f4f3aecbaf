// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "transports/c_abi/instance.h"

namespace swede::c_abi {

/// The instances of the process by what the VMM holds: a number that is never given twice, not an
/// address. So a null, stale or foreign `struct rutabaga *` finds nothing. There is one table; it
/// lives as long as the process, since its threads may call while others end it.
///
/// A child of the process has no instances: their threads have stayed behind.
class InstanceTable {
  public:
    [[nodiscard]] static InstanceTable& of_process();

    [[nodiscard]] ::rutabaga* add(std::shared_ptr<Instance> instance);
    /// Null when there is none.
    [[nodiscard]] std::shared_ptr<Instance> find(const ::rutabaga* handle) const;
    /// Takes it out. Null when there is none.
    [[nodiscard]] std::shared_ptr<Instance> remove(const ::rutabaga* handle);
    [[nodiscard]] size_t size() const;

  private:
    using Instances = std::unordered_map<const ::rutabaga*, std::shared_ptr<Instance>>;

    InstanceTable();
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

    mutable std::mutex mutex_;  ///< taken over a fork, so that a child finds the table whole
    std::unique_ptr<Instances> instances_;
    /// The parents'. Never destroyed: that would wait for threads that are not here.
    std::vector<std::unique_ptr<Instances>> left_behind_;
    uintptr_t last_ = 0;
};

}  // namespace swede::c_abi
