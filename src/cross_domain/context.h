// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>

#include "base/backing.h"
#include "cross_domain/channel.h"
#include "cross_domain/host_blob.h"
#include "cross_domain/options.h"
#include "rutabaga/renderer.h"

namespace swede::cross_domain {

/// What a context may see of a resource.
struct Attachment {
    std::shared_ptr<Backing> backing;  ///< guest memory; a ring
    std::shared_ptr<HostBlob> blob;    ///< one of ours
    UniqueFd foreign;                  ///< another renderer's, as a file
    Budget::Charge charge;             ///< of `foreign`
};

/// Parses the commands of one guest context and keeps what they name. Device thread; what goes on
/// by itself is the Channel's.
class Context {
  public:
    Context(rutabaga::ContextId id, const Options& options, Reactor& reactor,
            std::shared_ptr<rutabaga::CompletionSink> sink, std::shared_ptr<Budget> budget);
    ~Context() { channel_->close(); }
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    void attach(rutabaga::ResourceId resource, Attachment attachment);
    void detach(rutabaga::ResourceId resource) { attached_.erase(resource); }

    /// Commands one after the other; those before one that fails are executed.
    [[nodiscard]] Result<void> submit(std::span<const std::byte> commands);
    void create_fence(const rutabaga::Fence& fence);
    void set_paused(bool paused) { channel_->set_paused(paused); }
    [[nodiscard]] Result<HostBlob::Adopted> create_blob(const rutabaga::BlobRequest& request);

  private:
    [[nodiscard]] Result<void> execute(std::span<const std::byte> command);
    [[nodiscard]] Result<void> init(std::span<const std::byte> command);
    [[nodiscard]] Result<wire::cross_domain::ImageRequirements> lay_out(
        const wire::cross_domain::GetImageRequirements& image) const;
    [[nodiscard]] Result<void> get_image_requirements(std::span<const std::byte> command);
    [[nodiscard]] Result<void> send(std::span<const std::byte> command);
    [[nodiscard]] Result<void> write(std::span<const std::byte> command);
    [[nodiscard]] Result<void> add_file(uint32_t identifier, uint32_t type);
    [[nodiscard]] Result<std::shared_ptr<Backing>> ring_of(rutabaga::ResourceId resource,
                                                           uint64_t size);

    const rutabaga::ContextId id_;
    const Options& options_;
    const std::shared_ptr<rutabaga::CompletionSink> sink_;
    const std::shared_ptr<Budget> budget_;
    const std::shared_ptr<Channel> channel_;

    std::unordered_map<rutabaga::ResourceId, Attachment> attached_;
    std::shared_ptr<Backing> query_ring_;
    Dialect dialect_;
    bool connected_ = false;  ///< an INIT has succeeded
    bool polled_ = false;     ///< the next fence of the channel ring asks for a message
    /// Ids of images by width, height, format and flags: guests ask for the same again and again.
    std::map<std::array<uint32_t, 4>, wire::cross_domain::ImageRequirements> images_;

    // Of one SEND; kept for their memory.
    std::vector<OutgoingFile> files_;
    struct NewPipe {
        uint32_t id;
        UniqueFd read_end;
    };
    std::vector<NewPipe> pipes_;
};

}  // namespace swede::cross_domain
