// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unordered_map>

#include "rutabaga/renderer.h"

namespace swede::rutabaga {

/// The renderer of resources whose memory the VMM made and gave to us: it holds their files, hands
/// them out, and executes nothing. It offers no capset, so that no context is ever its own. Owned
/// by the Gpu, on the device thread.
class GivenMemory final : public Renderer {
  public:
    /// `memory` is steady, and no resource of that id is here.
    void add(ResourceId resource, SharedMemory memory);
    void clear() { memory_.clear(); }

    [[nodiscard]] std::span<const Capset> capsets() const override { return {}; }
    void create_context(ContextId context, const ContextInfo& info, Completion<> done) override;
    void destroy_context(ContextId context, Completion<> done) override;
    void attach_resource(ContextId, ResourceId, const AttachedResource&) override {}
    void detach_resource(ContextId, ResourceId) override {}
    void create_blob(ContextId context, ResourceId resource, const BlobRequest& request,
                     std::shared_ptr<Backing> backing, Completion<BlobInfo> done) override;
    void create_3d(ResourceId resource, const wire::ResourceCreate3d& request,
                   Completion<> done) override;
    void attach_backing(ResourceId, std::shared_ptr<Backing>) override {}
    void detach_backing(ResourceId) override {}
    void destroy_resource(ResourceId resource, Completion<> done) override;
    void export_blob(ResourceId resource, Completion<SharedMemory> done) override;
    void place_blob(ResourceId resource, const WindowRange& range, Completion<> done) override;
    void displace_blob(ResourceId resource, Completion<> done) override;
    void transfer_to_host(ContextId context, ResourceId resource,
                          const wire::TransferHost3d& transfer, Completion<> done) override;
    void transfer_from_host(ContextId context, ResourceId resource,
                            const wire::TransferHost3d& transfer, Completion<> done) override;
    [[nodiscard]] Result<void> submit(ContextId context, std::optional<uint8_t> ring,
                                      std::span<const std::byte> commands) override;
    void create_fence(const Fence&) override {}
    void reset(Completion<> done) override;

  private:
    std::unordered_map<ResourceId, SharedMemory> memory_;
};

}  // namespace swede::rutabaga
