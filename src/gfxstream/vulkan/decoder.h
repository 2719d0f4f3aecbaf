// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "gfxstream/arena.h"
#include "gfxstream/vulkan/counts.h"
#include "gfxstream/vulkan/layout.h"
#include "gfxstream/vulkan/object.h"
#include "gfxstream/vulkan/pins.h"

namespace swede::gfxstream::vulkan {

/// Reads the parameters of one packet, which must be a private copy: what is decoded points into
/// it. Objects that the packet names are pinned in `pins`; the rest lies in `arena`. Both outlive
/// what was decoded. One for each packet, on its ring's thread.
///
/// Failure is sticky: nothing is read any more, and the first sentence stays.
class Decoder {
  public:
    /// Of pNext chains and of structures in structures; chains of real guests have about 60.
    static constexpr unsigned kMaxDepth = 256;

    /// `checks`: what is looked at once it is decoded; null: nothing, for tests of the wire form.
    Decoder(std::span<const std::byte> bytes, Arena& arena, Pins& pins,
            const Checks* checks = nullptr)
        : at_(bytes.data()),
          end_(bytes.data() + bytes.size()),
          arena_(arena),
          pins_(pins),
          checks_(checks) {}

    /// Fills `to` (layout.size bytes, zeroed here) with a command's arguments (an args::vkX) and
    /// consumes all bytes. `self` is the type of the first parameter, kNone for global commands;
    /// `command_buffer` stands for it where commands of a command buffer are read, else null.
    [[nodiscard]] bool arguments(const Layout& layout, ObjectType self, Object* command_buffer,
                                 void* to);

    /// Fills `to` (zeroed by the caller) with a structure.
    [[nodiscard]] bool structure(const Layout& layout, void* to);

    [[nodiscard]] bool failed() const { return failed_; }
    /// Why, as one sentence.
    [[nodiscard]] const std::string& sentence() const { return sentence_; }

    /// Loses the context. Always false, for `return in.fail(...)`.
    template <typename... Args>
    [[gnu::cold, gnu::noinline]] bool fail(fmt::format_string<Args...> format, Args&&... args) {
        if (!failed_) set_failed(fmt::format(format, std::forward<Args>(args)...));
        return false;
    }

    [[nodiscard]] size_t remaining() const { return static_cast<size_t>(end_ - at_); }
    /// The device that all further objects must belong to; set by arguments().
    [[nodiscard]] Object* device() const { return device_; }
    void set_device(Object* device) { device_ = device; }

    uint32_t u32() {
        const std::byte* const from = take(sizeof(uint32_t));
        return from != nullptr ? load_at<uint32_t>(from, 0) : 0;
    }
    uint64_t u64() {
        const std::byte* const from = take(sizeof(uint64_t));
        return from != nullptr ? load_at<uint64_t>(from, 0) : 0;
    }
    uint32_t be32() { return __builtin_bswap32(u32()); }
    uint64_t be64() { return __builtin_bswap64(u64()); }
    /// `size` bytes of the packet; null on failure.
    [[nodiscard]] const std::byte* take(uint64_t size) {
        if (size > remaining()) [[unlikely]] {
            too_short(size);
            return nullptr;
        }
        const std::byte* const from = at_;
        at_ += size;
        return from;
    }
    /// The descriptor sets that were named last in structures, 0: the latest. Null: none.
    [[nodiscard]] const Object* descriptor_set(unsigned back) const { return sets_[back]; }
    /// The object with the id that comes next; null on failure, or for id 0 where that is allowed.
    [[nodiscard]] Object* object(ObjectType type, bool may_be_null);

  private:
    /// What handles in structures become.
    enum class Handles : uint8_t {
        kDriver,  ///< the driver's
        kGuest,   ///< the guest's ids
        kNone,    ///< 0: output parameters carry garbage
    };

    bool fields(const Layout& layout, void* structure);
    bool field(const Field& field, std::byte* base, unsigned prefix);
    bool array(const Field& field, std::byte* base, unsigned prefix);
    bool elements(const Field& field, uint64_t count, std::byte* base);
    bool next(std::byte* place);
    bool string(std::byte* place);
    bool strings(const Field& field, std::byte* base);
    bool handle(const Field& field, std::byte* place);
    [[nodiscard]] Object* find(ObjectType type, uint64_t id);
    [[nodiscard]] void* room(uint64_t count, size_t size, size_t alignment);
    [[gnu::cold]] bool too_short(uint64_t wanted);
    [[gnu::cold]] bool fail_null(ObjectType type);
    void set_failed(std::string sentence);

    const std::byte* at_;
    const std::byte* end_;
    Arena& arena_;
    Pins& pins_;
    const Checks* const checks_;
    Object* device_ = nullptr;
    std::array<const Object*, 2> sets_{};
    unsigned depth_ = 0;
    Handles handles_ = Handles::kDriver;
    bool failed_ = false;
    std::string sentence_;
};

}  // namespace swede::gfxstream::vulkan
