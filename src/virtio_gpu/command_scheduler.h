// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace swede::virtio_gpu {

/// What commands are serialised on.
enum class KeyKind : uint8_t {
    kResource,
    kContext,
    kScanout,  ///< which frame it shows
    kCursor,   ///< of which scanout
    kCount,
};
inline constexpr size_t kKeyKinds = static_cast<size_t>(KeyKind::kCount);

/// The part of a command that the scheduler knows. The command owns it and outlives its scheduling.
struct Scheduled {
    std::array<uint64_t, kKeyKinds> keys{};      ///< id plus one, by kind; 0: kind not used
    std::array<Scheduled*, kKeyKinds> behind{};  ///< the next one on the same key
    Scheduled* next_ready = nullptr;
    uint8_t blocked = 0;     ///< keys on which another stands before it
    bool scheduled = false;  ///< it stands on its keys, running or waiting

    /// Any id is a key, also 0 (a scanout) and the largest.
    void set_key(KeyKind kind, uint32_t id) { keys[static_cast<size_t>(kind)] = uint64_t{id} + 1; }
};

/// Keeps commands on one resource or context in order when one of them answers later (decision 7).
/// A command runs when none before it stands on one of its keys. Pure logic on the device thread.
/// Commands that answer at once never enter while nothing is out; nodes are kept for reuse, so that
/// steady state allocates nothing.
class CommandScheduler {
  public:
    /// True when nobody stands on the command's keys: it may run now.
    [[nodiscard]] bool is_free(const Scheduled& command) const {
        return queues_.empty() || all_keys_free(command);
    }

    /// Puts a command that is not free behind the others on its keys; take_ready() gives it back in
    /// its turn. Or one that is free and runs, but answers later: what comes after it on its keys
    /// waits. Nothing for one that stands there already.
    void hold(Scheduled& command);

    /// A command that runs is done. Nothing for one that never was held.
    void release(Scheduled& command);

    /// The next command whose turn has come, in the order in which they became ready; null: none.
    [[nodiscard]] Scheduled* take_ready();

    /// Forgets everything (device reset).
    void clear();

    [[nodiscard]] size_t busy_keys() const { return queues_.size(); }

  private:
    /// Kind and id in one word.
    using Key = uint64_t;
    struct Queue {
        Scheduled* first = nullptr;  ///< the one that may run
        Scheduled* last = nullptr;
    };
    using Queues = std::unordered_map<Key, Queue>;

    [[nodiscard]] bool all_keys_free(const Scheduled& command) const;

    Queues queues_;                         ///< keys that somebody stands on
    std::vector<Queues::node_type> spare_;  ///< nodes to reuse
    Scheduled* first_ready_ = nullptr;
    Scheduled* last_ready_ = nullptr;
};

}  // namespace swede::virtio_gpu
