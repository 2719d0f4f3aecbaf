// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>

namespace swede::gfxstream::vulkan {

// pNext chains of decoded structures. They lie in the packet's arena, so that handlers may change
// them: what is const in Vulkan's declarations is not const here.

/// The structure of this type in the chain that starts at `next`; null: none.
template <typename T>
[[nodiscard]] T* find_in_chain(const void* next, VkStructureType type) {
    auto* at = static_cast<VkBaseOutStructure*>(const_cast<void*>(next));
    while (at != nullptr && at->sType != type) at = at->pNext;
    return reinterpret_cast<T*>(at);
}

/// Takes all structures out for which `unwanted(sType)` is true; `head` is the structure whose
/// pNext the chain is.
template <typename T, typename Unwanted>
void drop_from_chain(T& head, Unwanted&& unwanted) {
    auto* above = reinterpret_cast<VkBaseOutStructure*>(
        const_cast<VkBaseInStructure*>(reinterpret_cast<const VkBaseInStructure*>(&head)));
    while (above->pNext != nullptr) {
        if (unwanted(above->pNext->sType)) {
            above->pNext = above->pNext->pNext;
        } else {
            above = above->pNext;
        }
    }
}

/// Puts `structure` in front of the chain of `head`.
template <typename T, typename U>
void push_to_chain(T& head, U& structure) {
    structure.pNext = const_cast<decltype(structure.pNext)>(static_cast<const void*>(head.pNext));
    head.pNext = &structure;
}

/// Keeps a structure out of an output's chain while the driver fills it, since the reply must have
/// the chain as it came. Does nothing when there is none.
template <typename T>
class Detached {
  public:
    template <typename Head>
    Detached(Head& head, VkStructureType type) {
        above_ = reinterpret_cast<VkBaseOutStructure*>(&head);
        while (above_->pNext != nullptr && above_->pNext->sType != type) above_ = above_->pNext;
        structure_ = above_->pNext;
        if (structure_ != nullptr) above_->pNext = structure_->pNext;
    }
    ~Detached() {
        if (structure_ != nullptr) above_->pNext = structure_;
    }
    Detached(const Detached&) = delete;
    Detached& operator=(const Detached&) = delete;

    [[nodiscard]] T* get() const { return reinterpret_cast<T*>(structure_); }
    explicit operator bool() const { return structure_ != nullptr; }
    [[nodiscard]] T* operator->() const { return get(); }

  private:
    VkBaseOutStructure* above_ = nullptr;
    VkBaseOutStructure* structure_ = nullptr;
};

}  // namespace swede::gfxstream::vulkan
