// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/budget.h"
#include "gfxstream/color_buffer.h"
#include "gfxstream/context.h"
#include "gfxstream/context_closer.h"
#include "gfxstream/executor.h"
#include "rutabaga/renderer.h"

namespace swede::gfxstream {

/// What a GfxstreamRenderer is made of.
struct RendererParts {
    ExecutorFactory executors;
    /// Of what this guest makes us hold; shared with executors.
    std::shared_ptr<Budget> budget;
    uint32_t color_buffer_index = 0;  ///< for the capset
    /// For a picture of a format of virgl.
    std::function<Result<ColorBufferLayout>(uint32_t format, uint32_t width, uint32_t height)>
        color_buffer_layout =
            [](uint32_t, uint32_t width, uint32_t height) { return guess_layout(width, height); };
    /// False: the driver keeps the pages of imported memory, so it would not see where the memory
    /// went when it is placed into a window.
    bool memory_can_move = true;
    /// Ends the process, if it is the renderer's own: too many contexts are stuck in the driver.
    /// Where it returns, there are no new contexts while they are.
    std::function<void()> give_up = [] {};
};

/// Serves the Vulkan driver of Mesa's gfxstream: capset 3. Its resources are ring blobs (blob id
/// 0), blobs of memory that a context's executor published, and colour buffers. Lives in a renderer
/// process, on its main thread; contexts have threads of their own.
class GfxstreamRenderer final : public rutabaga::Renderer {
  public:
    GfxstreamRenderer(std::shared_ptr<rutabaga::CompletionSink> sink, RendererParts parts);
    ~GfxstreamRenderer() override;

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

    // What tests look at.
    [[nodiscard]] size_t num_contexts() const { return contexts_.size(); }
    [[nodiscard]] size_t num_resources() const { return resources_.size(); }
    [[nodiscard]] size_t num_closing() const { return closer_.closing(); }

  private:
    struct Resource {
        std::shared_ptr<HostMemory> memory;
        std::shared_ptr<ColorBuffer> color_buffer;  ///< of a 3D resource
        std::shared_ptr<Backing> backing;           ///< of a 3D resource
        bool is_ring = false;
        std::vector<rutabaga::ContextId> contexts;  ///< that made or attached it
    };

    [[nodiscard]] Context* find(rutabaga::ContextId context);
    [[nodiscard]] Result<Resource*> resource_of(rutabaga::ResourceId resource);
    [[nodiscard]] Result<std::shared_ptr<HostMemory>> make_blob(
        rutabaga::ContextId context, const rutabaga::BlobRequest& request);
    [[nodiscard]] Result<ColorBufferLayout> layout_of(const wire::ResourceCreate3d& request,
                                                      uint32_t stride) const;
    /// `memory`: another guest's or the VMM's, or without a file to make new one.
    [[nodiscard]] Result<void> make_3d(rutabaga::ResourceId resource,
                                       const wire::ResourceCreate3d& request,
                                       rutabaga::SharedMemory memory);
    [[nodiscard]] Result<void> transfer_pixels(rutabaga::ResourceId resource,
                                               const wire::TransferHost3d& transfer,
                                               TransferDirection direction);
    /// Out of the window: whatever still runs must not reach what comes there next.
    static void displace(Resource& resource);

    std::shared_ptr<rutabaga::CompletionSink> sink_;
    const RendererParts parts_;
    rutabaga::Capset capset_;
    std::unordered_map<rutabaga::ContextId, std::unique_ptr<Context>> contexts_;
    std::unordered_map<rutabaga::ResourceId, Resource> resources_;
    ContextCloser closer_;
};

}  // namespace swede::gfxstream
