// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gfxstream/vulkan/generated/layouts.h"
#include "gfxstream/vulkan/object.h"

// What the generated encoder of a guest (codegen/emit_guest.py) is written with.
namespace swede::gfxstream::vulkan::guest {

template <typename T>
[[nodiscard]] uint64_t id_of_handle(T handle) {
    return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(handle));
}
template <typename T>
[[nodiscard]] T handle_of_id(uint64_t id) {
    return reinterpret_cast<T>(static_cast<uintptr_t>(id));
}
template <typename T>
[[nodiscard]] T id_of(const Object* object) {
    return handle_of_id<T>(object != nullptr ? object->id : 0);
}

/// Bytes as a guest writes them.
class Writer {
  public:
    void raw(const void* from, size_t size) {
        const auto* const bytes = static_cast<const std::byte*>(from);
        bytes_.insert(bytes_.end(), bytes, bytes + size);
    }
    template <typename T>
    void plain(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        raw(&value, sizeof(value));
    }
    void u8(uint8_t value) { plain(value); }
    void u32(uint32_t value) { plain(value); }
    void u64(uint64_t value) { plain(value); }
    void be32(uint32_t value) { plain(__builtin_bswap32(value)); }
    void be64(uint64_t value) { plain(__builtin_bswap64(value)); }
    void marker(const void* pointer) { be64(pointer != nullptr ? 1 : 0); }
    template <typename T>
    void handle(T handle) {
        u64(id_of_handle(handle));
    }
    void string(const char* text, bool optional) {
        if (optional) marker(text);
        if (optional && text == nullptr) return;
        const auto size = static_cast<uint32_t>(text != nullptr ? std::strlen(text) : 0);
        be32(size);
        raw(text, size);
    }
    void strings(const char* const* list, uint32_t count) {
        be32(count);
        for (uint32_t i = 0; i < count; ++i) string(list[i], false);
    }

    [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

/// Fills structures: memory lives as long as this. Handles are those that were given to it.
class Random {
  public:
    explicit Random(uint64_t seed) : engine_(seed) {}

    /// An output parameter: handles are 0, as that is what they decode to.
    class Output {
      public:
        explicit Output(Random& random) : random_(random) { random_.output_ = true; }
        ~Output() { random_.output_ = false; }
        Output(const Output&) = delete;
        Output& operator=(const Output&) = delete;

      private:
        Random& random_;
    };

    void offer(ObjectType type, uint64_t id) { ids_[type].push_back(id); }
    /// Numbers are 0 to 3: most of what is random is nonsense, and commands are refused.
    void keep_small() { small_ = true; }

    [[nodiscard]] bool coin() { return engine_() % 2 == 0; }
    [[nodiscard]] uint32_t count() { return static_cast<uint32_t>(engine_() % 4); }
    [[nodiscard]] size_t size() { return engine_(); }
    template <typename T>
    void plain(T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        for (size_t i = 0; i < sizeof(value); ++i) {
            const uint64_t byte = !small_                     ? engine_()
                                  : i % sizeof(uint32_t) == 0 ? engine_() % 4
                                                              : 0;
            reinterpret_cast<unsigned char*>(&value)[i] = static_cast<unsigned char>(byte);
        }
    }
    template <typename T>
    void handle(T& place) {
        const auto& known = ids_[kObjectTypeOf<T>];
        place = output_ || known.empty() ? T{} : handle_of_id<T>(known[engine_() % known.size()]);
    }
    template <typename T>
    [[nodiscard]] T* array(uint64_t count) {
        return static_cast<T*>(memory(sizeof(T) * count));
    }
    [[nodiscard]] const char* string(bool optional);
    [[nodiscard]] const char* const* strings(uint64_t count);
    /// Structures that may extend `parent`, none to three.
    [[nodiscard]] void* chain(const char* parent);
    [[nodiscard]] uint32_t descriptor_type();
    [[nodiscard]] uint32_t shader_stage();
    [[nodiscard]] uint32_t samples() { return 1U << engine_() % 7; }

    template <typename T>
    [[nodiscard]] const T* ids(Object* const* objects, uint64_t count) {
        if (objects == nullptr) return nullptr;  // whatever the count
        T* const list = array<T>(count);
        for (uint64_t i = 0; i < count; ++i) list[i] = id_of<T>(objects[i]);
        return list;
    }

  private:
    [[nodiscard]] void* memory(size_t size);  ///< zeroed, never null

    std::mt19937_64 engine_;
    std::map<ObjectType, std::vector<uint64_t>> ids_;
    std::vector<std::unique_ptr<std::byte[]>> memory_;
    unsigned depth_ = 0;
    bool output_ = false;
    bool small_ = false;
};

/// A pNext chain.
void encode_next(Writer& to, const void* structure);

[[nodiscard]] bool has_rasterization(const VkGraphicsPipelineCreateInfo& info);
[[nodiscard]] bool has_tessellation(const VkGraphicsPipelineCreateInfo& info);
[[nodiscard]] bool is_image(VkDescriptorType type);
[[nodiscard]] bool is_buffer(VkDescriptorType type);
[[nodiscard]] bool is_texel_buffer(VkDescriptorType type);

struct GuestStruct {
    LayoutId layout;
    uint32_t stype;
    size_t size;
    std::string_view parents;  ///< " VkA VkB "
    void (*encode)(Writer& to, const void* from);
    void (*fill)(Random& random, void* to);
};
extern const GuestStruct kGuestStructs[];
extern const size_t kGuestStructCount;

struct GuestCommand {
    uint32_t opcode;
    size_t result_size;  ///< bytes of what the function returns
    /// Parameters as they stand in a packet, at random.
    void (*random)(Random& random, Writer& to);
    /// The same from what a decoder made of them (an args::vkX).
    void (*again)(Random& random, const void* arguments, Writer& to);
    /// The output parameters only, as in the reply.
    void (*outputs)(Random& random, const void* arguments, Writer& to);
};
extern const GuestCommand kGuestCommands[];
extern const size_t kGuestCommandCount;

template <typename T>
void encode_one(Writer& to, const void* from) {
    encode(to, *static_cast<const T*>(from));
}
template <typename T>
void fill_one(Random& random, void* to) {
    fill(random, *static_cast<T*>(to));
}
template <typename T, void (*fill)(Random&, T&)>
void random_packet(Random& random, Writer& to) {
    T call;
    fill(random, call);
    encode(to, call);
}
template <typename T, typename Arguments, T (*from)(Random&, const Arguments&)>
void packet_again(Random& random, const void* arguments, Writer& to) {
    encode(to, from(random, *static_cast<const Arguments*>(arguments)));
}
template <typename T, typename Arguments, T (*from)(Random&, const Arguments&),
          void (*outputs)(Writer&, const T&)>
void outputs_again(Random& random, const void* arguments, Writer& to) {
    outputs(to, from(random, *static_cast<const Arguments*>(arguments)));
}

/// A packet with its header; commands of a command buffer have no number.
template <typename T>
[[nodiscard]] std::vector<std::byte> parameters_of(const T& call) {
    Writer to;
    encode(to, call);
    return to.bytes();
}

}  // namespace swede::gfxstream::vulkan::guest
