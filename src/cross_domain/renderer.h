// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/budget.h"
#include "cross_domain/context.h"
#include "cross_domain/host_blob.h"
#include "cross_domain/options.h"
#include "cross_domain/reactor.h"
#include "rutabaga/renderer.h"

namespace swede::cross_domain {

/// Serves capset 5: contexts that are connections to the host's compositor, or another socket of
/// the host, and memory shared with it. Lives in the device's process, so that a message costs no
/// second hop; one thread of its own serves all the sockets.
///
/// Memory is files of its own. In a static window it is placed instead, and what the compositor
/// gets is made of the window's pages by udmabuf.
class CrossDomainRenderer final : public rutabaga::Renderer {
  public:
    [[nodiscard]] static Result<std::unique_ptr<CrossDomainRenderer>> create(
        Options options, std::shared_ptr<rutabaga::CompletionSink> sink,
        std::shared_ptr<Budget> budget);
    ~CrossDomainRenderer() override;

    [[nodiscard]] std::span<const rutabaga::Capset> capsets() const override {
        return std::span(&capset_, 1);
    }
    [[nodiscard]] bool wants_memory_of_attached() const override { return true; }
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
    void attach_backing(rutabaga::ResourceId, std::shared_ptr<Backing>) override {}
    void detach_backing(rutabaga::ResourceId) override {}
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
    void set_paused(bool paused) override;
    void reset(rutabaga::Completion<> done) override;

  private:
    CrossDomainRenderer(Options options, std::unique_ptr<Reactor> reactor,
                        std::shared_ptr<rutabaga::CompletionSink> sink,
                        std::shared_ptr<Budget> budget);

    [[nodiscard]] Context* find(rutabaga::ContextId context);
    /// What the host's peer is to have of the blob while it is in the window.
    [[nodiscard]] Result<UniqueFd> make_sent(const HostBlob& blob,
                                             const rutabaga::WindowRange& range) const;
    [[nodiscard]] Result<UniqueFd> file_of(const rutabaga::SharedMemory& memory) const;
    void keep_foreign(rutabaga::ResourceId resource, Attachment& attachment,
                      const rutabaga::SharedMemory& memory);
    /// Answers once the reactor has hung up what was closed before: peers' files may still be on
    /// their way to be closed (base/file_closer.h).
    void when_closed(rutabaga::Completion<> done);
    /// `function` (void(Result<void>)) runs on the device thread; when this is gone or was reset,
    /// with an error.
    template <typename Function>
    [[nodiscard]] rutabaga::Completion<> later(Function function);

    const Options options_;
    const std::unique_ptr<Reactor> reactor_;
    const std::shared_ptr<rutabaga::CompletionSink> sink_;
    const std::shared_ptr<Budget> budget_;
    rutabaga::Capset capset_;
    bool paused_ = false;
    std::unordered_map<rutabaga::ContextId, std::unique_ptr<Context>> contexts_;
    std::unordered_map<rutabaga::ResourceId, std::shared_ptr<HostBlob>> blobs_;
    /// True once the copies that are out shall end, and no answer come.
    std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace swede::cross_domain
