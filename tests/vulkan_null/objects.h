// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <set>
#include <type_traits>
#include <vector>

#include "gfxstream/vulkan/object_type.h"
#include "null_functions.h"

namespace swede::vulkan_null {

using gfxstream::vulkan::kObjectTypeOf;
using gfxstream::vulkan::ObjectType;

struct Base;

struct Named {
    Base* object = nullptr;
    ObjectType type{};
};

/// What every handle of the driver points to. A wrong type is seen by the marker, a handle that was
/// freed by ASan.
struct Base {
    static constexpr uint64_t kAlive = 0x4e75'6c6c'4472'7600;  ///< the type is added
    static constexpr uint64_t kDead = 0x6465'6164'6465'6164;

    uint64_t marker = kDead;
    Base* owner = nullptr;               ///< it must not go before this
    std::atomic<uint32_t> children = 0;  ///< whose owner this is
    std::vector<Base*> owned;  ///< gone with this, and never counted: queues, a pool's sets
    volatile std::byte* imported = nullptr;  ///< memory of the caller, of `size` bytes
    uint64_t size = 0;                       ///< of memory; queries of a pool

    // submissions.cpp
    std::atomic<uint32_t> pending = 0;  ///< submissions that use this and are not done
    bool timeline = false;              ///< a semaphore with values
    std::atomic<uint64_t> value = 0;    ///< of a timeline semaphore
    std::vector<Named> named;           ///< what a command buffer's recording names
    std::set<Base*> buffers;            ///< a command pool's
};

/// What a thread records into: the command buffer that is the first parameter of the function that
/// it is in. Null in all others.
inline thread_local Base* recorded_into = nullptr;

template <typename T>
constexpr bool kDispatchable =
    std::is_same_v<T, VkInstance> || std::is_same_v<T, VkPhysicalDevice> ||
    std::is_same_v<T, VkDevice> || std::is_same_v<T, VkQueue>;
/// Layouts may go before a recording runs that names them.
constexpr bool must_stay(ObjectType type) {
    return type != ObjectType::kPipelineLayout && type != ObjectType::kDescriptorSetLayout;
}

/// A rule of Vulkan that a host must never let its guest break. Ends the process.
[[noreturn]] void broken(const char* what, ObjectType type);

template <typename T>
[[nodiscard]] Base* base_of(T handle) {
    static_assert(kObjectTypeOf<T> != ObjectType::kNone);
    auto* const object = reinterpret_cast<Base*>(handle);
    if (object->marker != Base::kAlive + static_cast<uint64_t>(kObjectTypeOf<T>))
        broken("A handle is of another type", kObjectTypeOf<T>);
    return object;
}

[[nodiscard]] Base* new_object(ObjectType type, Base* owner);
/// `owned` ones included; the last who knows it.
void free_object(Base* object, ObjectType type);

template <typename T>
    requires(kObjectTypeOf<T> != ObjectType::kNone)
void touch(T handle) {
    // No command of a recording has such an object.
    if constexpr (kDispatchable<T>) recorded_into = nullptr;
    if (handle == VK_NULL_HANDLE) return;
    Base* const object = base_of(handle);
    if (recorded_into != nullptr && recorded_into != object && must_stay(kObjectTypeOf<T>))
        recorded_into->named.push_back({object, kObjectTypeOf<T>});
}
/// One that Vulkan does not allow to be null.
template <typename T>
void use(T handle) {
    if (handle == VK_NULL_HANDLE) broken("A handle is null", kObjectTypeOf<T>);
    // Each function names such an object first, if it has one.
    if constexpr (std::is_same_v<T, VkCommandBuffer>) recorded_into = base_of(handle);
    touch(handle);
}
/// Handles, or structures with handles.
template <typename T>
void touch_all(const T* all, uint64_t count) {
    for (uint64_t i = 0; all != nullptr && i < count; ++i) touch(all[i]);
}

/// Handles of which none may be null.
template <typename T>
void use_all(const T* all, uint64_t count) {
    for (uint64_t i = 0; all != nullptr && i < count; ++i) use(all[i]);
}

template <typename Parent, typename T>
void make(Parent parent, T* to, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i)
        to[i] = reinterpret_cast<T>(new_object(kObjectTypeOf<T>, base_of(parent)));
}
template <typename T>
void destroy(T handle) {
    if (handle != VK_NULL_HANDLE) free_object(base_of(handle), kObjectTypeOf<T>);
}

/// What fail_after() has asked for, once; VK_SUCCESS else.
[[nodiscard]] VkResult take_failure();

/// All that was submitted is done.
void finish_all();

void touch_chain(const void* next);
/// Writes each structure of the chain to its end, as a driver does that knows it.
void clear_chain(void* next);
inline void clear_rest(VkBaseOutStructure* structure, size_t size) {
    std::memset(static_cast<void*>(structure + 1), 0, size - sizeof(*structure));
}

/// Fills outputs: zeroes, to the last byte.
template <typename T>
void clear_all(T* all, uint64_t count) {
    if (all == nullptr) return;
    for (uint64_t i = 0; i < count; ++i) {
        if constexpr (requires { all->sType; }) {
            clear_rest(reinterpret_cast<VkBaseOutStructure*>(all + i), sizeof(T));
            clear_chain(all[i].pNext);
        } else {
            std::memset(static_cast<void*>(all + i), 0, sizeof(T));
        }
    }
}
inline void clear_all(void* bytes, uint64_t count) {
    if (bytes != nullptr) std::memset(bytes, 0, count);
}

struct Function {
    const char* name;
    PFN_vkVoidFunction function;
};
/// Sorted by name.
extern const Function kFunctions[];
extern const size_t kFunctionCount;

}  // namespace swede::vulkan_null
