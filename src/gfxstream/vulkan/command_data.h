// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/budget.h"
#include "gfxstream/vulkan/handle_table.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

struct CommandPoolData : ObjectData {
    /// Guests record by themselves and send it when they submit, which two threads may do at the
    /// same time with command buffers of one pool. Recursive: a recording may let go of a command
    /// buffer that another ring freed.
    std::recursive_mutex mutex;

    /// Uses of its command buffers by submissions, and by recordings that take them in. One that
    /// the guest freed is no child any more, and lies in the pool's memory until its use is over.
    [[nodiscard]] bool start_use() {
        int64_t before = uses_;
        while (before != kResetting && !uses_.compare_exchange_weak(before, before + 1)) {
        }
        return before != kResetting;
    }
    void end_use() { --uses_; }
    [[nodiscard]] bool in_use() const { return uses_ != 0; }
    /// While the driver resets it, nothing of it comes into use. False: something is in use.
    [[nodiscard]] bool start_reset() {
        int64_t none = 0;
        return uses_.compare_exchange_strong(none, kResetting);
    }
    void end_reset() { uses_ = 0; }

  private:
    static constexpr int64_t kResetting = -1;
    std::atomic<int64_t> uses_ = 0;
};

/// "Command Buffer Lifecycle" of the specification, as far as the guest must not choose. "Pending"
/// is CommandBufferData::in_use().
enum class Recording : uint8_t {
    kInitial,
    kRecording,
    kExecutable,
    kInvalid,  ///< the driver failed to record it; its device counts as lost
};

/// The pass that a recording is in: drivers follow what they take for its attachments.
struct PassInHand {
    enum class Kind : uint8_t { kNone, kRenderPass, kRendering, kInherited };

    Kind kind = Kind::kNone;
    uint32_t next_subpasses = 0;  ///< of a render pass
    uint32_t colors = 0;          ///< attachments; of an inherited one: see `needed`
    std::shared_ptr<const std::vector<uint32_t>> all_colors =
        nullptr;  ///< of each subpass of a render pass
    /// Where it draws: texels up to its lower right corner, and layers. Inherited: whatever.
    VkExtent2D end{UINT32_MAX, UINT32_MAX};
    uint32_t layers = UINT32_MAX;
    /// What the pass must have that a secondary command buffer is executed in.
    struct Needs {
        uint32_t colors = 0;
        VkExtent2D end{};
        uint32_t layers = 0;
    } needed{};

    [[nodiscard]] bool has(const Needs& needs) const {
        return needs.colors <= colors && needs.end.width <= end.width &&
               needs.end.height <= end.height && needs.layers <= layers;
    }
};

/// A command buffer, and what its recording names. Drivers follow pointers to all of that when the
/// recording runs, so that it is looked for when it is submitted, and stays until it has run.
class CommandBufferData : public ObjectData {
  public:
    /// Of a secondary command buffer that a primary one executes.
    struct Secondary {
        uint64_t id = 0;
        uint64_t recording = 0;
    };

    /// `pool` is its parent's, which outlives it.
    CommandBufferData(CommandPoolData& pool, bool is_primary) : primary(is_primary), pool_(pool) {}

    const bool primary;
    Budget::Charge charge;
    // Guarded by the pool's mutex:
    PassInHand pass;
    Budget::Charge recorded;  ///< what the driver keeps of the recording

    [[nodiscard]] Recording state() const { return state_; }
    /// Submitted and not done yet, or being executed into another one: it must not change.
    [[nodiscard]] bool in_use() const { return users_ != 0 || readers_ != 0; }

    // For the thread that records; the pool's mutex is held.

    /// To kInitial or kRecording, with nothing named. False: it is in use.
    [[nodiscard]] bool start_again(Recording state);
    /// Each object is listed once. Not for command buffers, nor for objects that may go before the
    /// recording runs: layouts (vkDestroyPipelineLayout).
    void name(std::span<Object* const> objects);
    void name(const Secondary& secondary) { secondaries_.push_back(secondary); }
    /// The end of the recording, from where on others may use it.
    void finish(Recording state) { state_ = state; }

    // From any thread.

    /// While another command buffer's recording takes it in. The number of its recording; 0: it is
    /// not complete.
    [[nodiscard]] uint64_t start_reading();
    void end_reading() {
        --readers_;
        pool_.end_use();
    }

    /// Holds what it names until end_use(). False, and nothing is held: it is not complete, it has
    /// been recorded anew since `recording` (0: never mind), or something is gone.
    [[nodiscard]] bool start_use(HandleTable& table, uint64_t recording);
    void end_use(HandleTable& table);
    /// While it is in use.
    [[nodiscard]] const std::vector<Secondary>& secondaries() const { return secondaries_; }

  private:
    CommandPoolData& pool_;
    std::mutex mutex_;  ///< of all changes of state_ to or from kExecutable, and of uses
    std::atomic<Recording> state_ = Recording::kInitial;
    std::atomic<uint32_t> users_ = 0;
    std::atomic<uint32_t> readers_ = 0;
    std::atomic<uint64_t> recording_ = 0;
    // Changed while it records, by one thread; read while it is in use.
    std::vector<uint64_t> named_;  ///< ids
    std::vector<Secondary> secondaries_;
    std::vector<Object*> held_;  ///< while users_ is not 0; guarded by mutex_
};

}  // namespace swede::gfxstream::vulkan
