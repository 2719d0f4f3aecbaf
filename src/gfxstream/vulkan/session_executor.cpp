// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/session_executor.h"

#include <utility>

#include "gfxstream/vulkan/commands.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream {
namespace {

class SessionStream final : public CommandStream {
  public:
    explicit SessionStream(vulkan::Session& session) : session_(session) {}

    [[nodiscard]] Result<std::span<const std::byte>> execute(
        uint32_t opcode, std::span<const std::byte> parameters) override {
        SWEDE_TRY(session_.execute(opcode, parameters, state_));
        return state_.reply.bytes();
    }

  private:
    vulkan::Session& session_;
    vulkan::RingState state_;
};

class SessionExecutor final : public CommandExecutor, private vulkan::SessionServices {
  public:
    SessionExecutor(std::shared_ptr<vulkan::Host> host, ExecutorServices& services)
        : services_(services), host_(std::move(host)) {}

    [[nodiscard]] Result<void> open() {
        session_ = SWEDE_TRY(vulkan::Session::create(*host_, *this));
        return {};
    }

    [[nodiscard]] std::optional<CommandTraits> traits_of(uint32_t opcode) const override {
        const vulkan::Command* const command = vulkan::find_command(opcode);
        // Commands of command buffers come in the payload of vkQueueFlushCommandsGOOGLE only.
        if (command == nullptr || (command->flags & vulkan::kCommandBuffer) != 0)
            return std::nullopt;
        return CommandTraits{(command->flags & vulkan::kSequenced) != 0,
                             (command->flags & vulkan::kRelaxed) != 0};
    }
    [[nodiscard]] std::unique_ptr<CommandStream> open_stream() override {
        return std::make_unique<SessionStream>(*session_);
    }
    [[nodiscard]] Result<std::shared_ptr<HostMemory>> take_blob(uint64_t blob_id,
                                                                uint64_t size) override {
        return session_->take_blob(blob_id, size);
    }
    [[nodiscard]] ExportedFence mark_fence(uint64_t fence) override {
        const vulkan::FenceMark mark = session_->mark_fence(fence);
        return {mark.fence, mark.resets};
    }
    [[nodiscard]] bool wait_for_fence(const ExportedFence& fence,
                                      std::chrono::nanoseconds limit) override {
        return session_->wait_for_fence(vulkan::FenceMark{fence.fence, fence.resets}, limit);
    }
    void abandon() override { session_->abandon(); }

  private:
    // SessionServices.
    [[nodiscard]] std::shared_ptr<ColorBuffer> color_buffer(uint32_t resource) override {
        return services_.color_buffer(resource);
    }
    [[nodiscard]] const std::shared_ptr<Budget>& budget() override { return services_.budget(); }

    ExecutorServices& services_;
    std::shared_ptr<vulkan::Host> host_;
    std::shared_ptr<vulkan::Session> session_;  ///< uses the rest, so it dies first
};

}  // namespace

Result<std::unique_ptr<CommandExecutor>> make_session_executor(std::shared_ptr<vulkan::Host> host,
                                                               ExecutorServices& services) {
    auto executor = std::make_unique<SessionExecutor>(std::move(host), services);
    SWEDE_TRY(executor->open());
    return executor;
}

}  // namespace swede::gfxstream
