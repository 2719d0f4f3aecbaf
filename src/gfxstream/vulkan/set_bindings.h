// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace swede::gfxstream::vulkan {

/// What a set has room for: drivers write where an update says, as far as it says. Immutable;
/// shared by a layout and its sets, on any thread.
class SetBindings {
  public:
    /// Empty: two bindings have one number.
    [[nodiscard]] static std::optional<SetBindings> of(
        std::span<const VkDescriptorSetLayoutBinding> bindings,
        std::span<const VkDescriptorBindingFlags> flags) {
        SetBindings all;
        for (size_t i = 0; i < bindings.size(); ++i)
            all.bindings_.push_back(
                {bindings[i].binding, bindings[i].descriptorType, bindings[i].descriptorCount,
                 i < flags.size() &&
                     (flags[i] & VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT) != 0,
                 bindings[i].pImmutableSamplers != nullptr});
        std::ranges::sort(all.bindings_, {}, &Binding::number);
        const auto twice = std::ranges::adjacent_find(all.bindings_, {}, &Binding::number);
        if (twice != all.bindings_.end()) return std::nullopt;
        return all;
    }

    /// The type of the descriptors from `element` of `number` on, in a set with `variable` of them
    /// in its variable binding. They may go on in the bindings behind it (VkWriteDescriptorSet's
    /// "consecutive binding updates"), if those are of the same type. Empty: they are not all
    /// there.
    [[nodiscard]] std::optional<VkDescriptorType> type_of(uint32_t number, uint32_t element,
                                                          uint32_t count, uint32_t variable) const {
        auto at = std::ranges::lower_bound(bindings_, number, {}, &Binding::number);
        if (at == bindings_.end() || at->number != number) return std::nullopt;
        const VkDescriptorType type = at->type;
        const uint64_t wanted = uint64_t{element} + count;
        uint64_t found = 0;
        for (; at != bindings_.end() && at->number == number; ++at, ++number) {
            const uint32_t here = at->variable ? std::min(variable, at->count) : at->count;
            if (here != 0 && at->type != type) return std::nullopt;
            found += here;
            if (found >= wanted) return type;
            if (type == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK) return std::nullopt;
        }
        return std::nullopt;
    }

    /// Whether all of the descriptors that type_of() found have their samplers from the layout.
    [[nodiscard]] bool have_samplers(uint32_t number, uint32_t element, uint32_t count,
                                     uint32_t variable) const {
        auto at = std::ranges::lower_bound(bindings_, number, {}, &Binding::number);
        uint32_t before = element;
        for (uint32_t left = count; left != 0 && at != bindings_.end(); ++at) {
            const uint32_t all = at->variable ? std::min(variable, at->count) : at->count;
            const uint32_t here = std::min(left, all - std::min(before, all));
            if (here != 0 && !at->immutable) return false;
            before -= std::min(before, all);
            left -= here;
        }
        return true;
    }

  private:
    struct Binding {
        uint32_t number;
        VkDescriptorType type;
        uint32_t count;
        bool variable;
        bool immutable;  ///< its samplers are the layout's
    };
    std::vector<Binding> bindings_;  ///< by their numbers
};

}  // namespace swede::gfxstream::vulkan
