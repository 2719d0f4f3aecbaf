// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/mapping.h"
#include "delayed_tasks.h"
#include "rutabaga/renderer.h"
#include "test_renderer_commands.h"

namespace swede::test {

/// A renderer for tests: its commands write into resources, delay fences, and on demand break what
/// a renderer can break. It owns 3D resources too, as plain bytes. Runs in process or in a renderer
/// process. Owned by the device or the server, on its thread; a thread of its own completes what is
/// delayed.
class TestRenderer final : public rutabaga::Renderer {
  public:
    enum class Faults : bool {
        kNone,  ///< in the device's process a crash or hang is refused
        kAll,
    };

    TestRenderer(std::shared_ptr<rutabaga::CompletionSink> sink, Faults faults);

    [[nodiscard]] std::span<const rutabaga::Capset> capsets() const override {
        return std::span(&capset_, 1);
    }
    [[nodiscard]] bool owns_3d_resources() const override { return true; }
    void create_context(rutabaga::ContextId context, const rutabaga::ContextInfo& info,
                        rutabaga::Completion<> done) override;
    void destroy_context(rutabaga::ContextId context, rutabaga::Completion<> done) override;
    void attach_resource(rutabaga::ContextId context, rutabaga::ResourceId resource,
                         const rutabaga::AttachedResource& view) override;
    void detach_resource(rutabaga::ContextId context, rutabaga::ResourceId resource) override;
    void create_blob(rutabaga::ContextId context, rutabaga::ResourceId resource,
                     const rutabaga::BlobRequest& request, std::shared_ptr<Backing> backing,
                     rutabaga::Completion<rutabaga::BlobInfo> done) override;
    void create_3d(rutabaga::ResourceId resource, const wire::ResourceCreate3d& request,
                   rutabaga::Completion<> done) override;
    void import_3d(rutabaga::ResourceId resource, const wire::ResourceCreate3d& request,
                   rutabaga::SharedMemory memory, rutabaga::Completion<> done) override;
    void attach_backing(rutabaga::ResourceId resource, std::shared_ptr<Backing> backing) override;
    void detach_backing(rutabaga::ResourceId resource) override;
    void destroy_resource(rutabaga::ResourceId resource, rutabaga::Completion<> done) override;
    void export_blob(rutabaga::ResourceId resource,
                     rutabaga::Completion<rutabaga::SharedMemory> done) override;
    void place_blob(rutabaga::ResourceId resource, const rutabaga::WindowRange& range,
                    rutabaga::Completion<> done) override;
    void displace_blob(rutabaga::ResourceId resource, rutabaga::Completion<> done) override;
    void transfer_to_host(rutabaga::ContextId context, rutabaga::ResourceId resource,
                          const wire::TransferHost3d& transfer,
                          rutabaga::Completion<> done) override;
    void transfer_from_host(rutabaga::ContextId context, rutabaga::ResourceId resource,
                            const wire::TransferHost3d& transfer,
                            rutabaga::Completion<> done) override;
    [[nodiscard]] Result<void> submit(rutabaga::ContextId context, std::optional<uint8_t> ring,
                                      std::span<const std::byte> commands) override;
    void create_fence(const rutabaga::Fence& fence) override;
    void reset(rutabaga::Completion<> done) override;

  private:
    using Clock = DelayedTasks::Clock;

    struct Memory {
        UniqueFd file;    ///< where it lives while it is not in the window
        Mapping home;     ///< of `file`; empty while placed
        Mapping placed;   ///< of the window
        UniqueFd window;  ///< its file, while placed
        uint64_t window_offset = 0;
        std::shared_ptr<Backing> backing;
        uint64_t size = 0;  ///< bytes
        bool is_3d = false;
        uint32_t stride = 0;  ///< bytes, of a 3D resource

        [[nodiscard]] std::span<std::byte> bytes() const;
    };
    struct Timeline {
        Clock::time_point busy_until{};
        bool stalled = false;
    };
    using TimelineId = std::pair<rutabaga::ContextId, int>;  ///< ring, or -1
    struct Context {
        /// Guest memory of resources that are not the renderer's.
        std::unordered_map<rutabaga::ResourceId, std::shared_ptr<Backing>> attached;
        std::unordered_map<rutabaga::ResourceId, uint64_t> sizes;  ///< bytes, of all attached
    };
    using Command = swede_test_command;

    /// Answers now, late, wrongly or never, as the commands asked for.
    template <typename T, typename Value>
    void answer(rutabaga::Completion<T> done, Value value);
    Memory* memory_of(rutabaga::ResourceId resource);
    [[nodiscard]] Result<void> add_3d(rutabaga::ResourceId resource, uint32_t width, uint64_t size,
                                      UniqueFd file);
    [[nodiscard]] Result<void> execute(rutabaga::ContextId context, TimelineId timeline,
                                       const Command& command, std::span<const std::byte> data);
    [[nodiscard]] Result<void> write(rutabaga::ContextId context, rutabaga::ResourceId resource,
                                     uint64_t offset, std::span<const std::byte> bytes);
    [[nodiscard]] Result<void> read(rutabaga::ContextId context, rutabaga::ResourceId resource,
                                    uint64_t offset, std::span<std::byte> bytes);
    [[nodiscard]] Result<void> fill(rutabaga::ContextId context, const Command& command);
    void transfer(bool to_host, rutabaga::ResourceId resource, const wire::TransferHost3d& transfer,
                  rutabaga::Completion<> done);

    std::shared_ptr<rutabaga::CompletionSink> sink_;
    const Faults faults_;
    rutabaga::Capset capset_;
    std::unordered_map<rutabaga::ContextId, Context> contexts_;
    std::unordered_map<rutabaga::ResourceId, Memory> resources_;
    std::map<TimelineId, Timeline> timelines_;
    std::chrono::milliseconds slow_{0};
    bool fail_ = false;
    bool never_answer_ = false;
    std::vector<std::move_only_function<void()>> unanswered_;  ///< kept so that they stay so
    DelayedTasks delayed_;
};

/// What a device, or a renderer process, without any other renderer is given.
[[nodiscard]] inline Result<std::vector<std::unique_ptr<rutabaga::Renderer>>> only_test_renderer(
    std::shared_ptr<rutabaga::CompletionSink> sink, TestRenderer::Faults faults) {
    std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
    renderers.push_back(std::make_unique<TestRenderer>(std::move(sink), faults));
    return renderers;
}

}  // namespace swede::test
