// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "gfxstream/executor.h"

namespace swede::gfxstream::testing {

/// Commands of the fake executor.
enum Opcode : uint32_t {
    kEcho = 100,   ///< replies with its parameters
    kNote,         ///< notes the first word of its parameters; no reply
    kReplyOf,      ///< replies with as many bytes as its first word says, counting up
    kWaitRelaxed,  ///< waits for open_gate(), its number passed on; replies with 4 bytes
    kWait,         ///< the same, and its number waits too
    kWaitStuck,    ///< the same, and no abandon() wakes it
    kFail,         ///< loses the context
    kUnnumbered,   ///< notes its first word, and has no number
};

/// Executes the commands above. Tests share it with the context under test.
class FakeExecutor final : public CommandExecutor {
  public:
    /// What tests look at; outlives the executor.
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        std::vector<uint32_t> notes;
        std::map<uint64_t, std::shared_ptr<HostMemory>> blobs;
        std::map<uint64_t, bool> fences;  ///< id: signalled
        bool gate_is_open = false;
        bool abandoned = false;
        int waiting = 0;  ///< commands at the gate
        int streams = 0;
        bool destroyed = false;
        ExecutorServices* services = nullptr;

        void open_gate() {
            const std::scoped_lock lock(mutex);
            gate_is_open = true;
            changed.notify_all();
        }
        void wait_for_waiting(int count) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return waiting == count; });
        }
        void wait_for_notes(size_t count) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return notes.size() >= count; });
        }
        void signal(uint64_t fence) {
            const std::scoped_lock lock(mutex);
            fences[fence] = true;
            changed.notify_all();
        }
    };

    explicit FakeExecutor(std::shared_ptr<State> state) : state_(std::move(state)) {}
    ~FakeExecutor() override {
        const std::scoped_lock lock(state_->mutex);
        state_->destroyed = true;
        state_->changed.notify_all();
    }

    [[nodiscard]] std::optional<CommandTraits> traits_of(uint32_t opcode) const override {
        if (opcode < kEcho || opcode > kUnnumbered) return std::nullopt;
        return CommandTraits{opcode != kUnnumbered, opcode == kWaitRelaxed};
    }
    [[nodiscard]] std::unique_ptr<CommandStream> open_stream() override {
        return std::make_unique<Stream>(state_);
    }
    [[nodiscard]] Result<std::shared_ptr<HostMemory>> take_blob(uint64_t blob_id,
                                                                uint64_t) override {
        const std::scoped_lock lock(state_->mutex);
        const auto found = state_->blobs.find(blob_id);
        if (found == state_->blobs.end())
            return fail(ErrorCode::kInvalidParameter, "No blob {}.", blob_id);
        return found->second;
    }
    [[nodiscard]] ExportedFence mark_fence(uint64_t fence) override {
        const std::scoped_lock lock(state_->mutex);
        return {state_->fences.contains(fence) ? fence : 0, 0};
    }
    [[nodiscard]] bool wait_for_fence(const ExportedFence& fence,
                                      std::chrono::nanoseconds limit) override {
        std::unique_lock lock(state_->mutex);
        return state_->changed.wait_for(
            lock, limit, [&] { return state_->abandoned || state_->fences[fence.fence]; });
    }
    void abandon() override {
        const std::scoped_lock lock(state_->mutex);
        state_->abandoned = true;
        state_->changed.notify_all();
    }

  private:
    class Stream final : public CommandStream {
      public:
        explicit Stream(std::shared_ptr<State> state) : state_(std::move(state)) { count(1); }
        ~Stream() override { count(-1); }

        [[nodiscard]] Result<std::span<const std::byte>> execute(
            uint32_t opcode, std::span<const std::byte> parameters) override {
            uint32_t word = 0;
            if (parameters.size() >= sizeof(word))
                std::memcpy(&word, parameters.data(), sizeof(word));
            reply_.clear();
            std::unique_lock lock(state_->mutex);
            switch (opcode) {
                case kEcho:
                    reply_.assign(parameters.begin(), parameters.end());
                    break;
                case kReplyOf:
                    reply_.resize(word);
                    for (uint32_t i = 0; i < word; ++i) reply_[i] = static_cast<std::byte>(i % 251);
                    break;
                case kWaitRelaxed:
                case kWait:
                case kWaitStuck:
                    ++state_->waiting;
                    state_->changed.notify_all();
                    state_->changed.wait(lock, [&] {
                        return state_->gate_is_open || (opcode != kWaitStuck && state_->abandoned);
                    });
                    --state_->waiting;
                    reply_.resize(4);
                    break;
                case kFail:
                    return fail(ErrorCode::kProtocol, "The test asked for it.");
                default:
                    state_->notes.push_back(word);
                    state_->changed.notify_all();
                    break;
            }
            return reply_;
        }

      private:
        void count(int change) {
            const std::scoped_lock lock(state_->mutex);
            state_->streams += change;
        }
        std::shared_ptr<State> state_;
        std::vector<std::byte> reply_;
    };

    std::shared_ptr<State> state_;
};

/// A factory that hands out executors on one state.
inline ExecutorFactory fake_executors(const std::shared_ptr<FakeExecutor::State>& state) {
    return [state](ExecutorServices& services) -> Result<std::unique_ptr<CommandExecutor>> {
        state->services = &services;
        return std::make_unique<FakeExecutor>(state);
    };
}

}  // namespace swede::gfxstream::testing
