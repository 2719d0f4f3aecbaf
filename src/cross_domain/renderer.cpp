// SPDX-License-Identifier: Apache-2.0
#include "cross_domain/renderer.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "base/memory_file.h"
#include "cross_domain/blob_copy.h"

namespace swede::cross_domain {
namespace {

log::Module log_("cross_domain");

using rutabaga::Completion;
using rutabaga::ContextId;
using rutabaga::ResourceId;

/// Until a copy is done it has both files. One out of the window is not refused for them, since
/// bytes would be lost: each blob has one at most.
constexpr uint64_t kFilesOfCopy = 2;

rutabaga::Capset make_capset(const Options& options) {
    wire::cross_domain::Capset data{};
    data.version = wire::cross_domain::kCapsetDataVersion;
    for (const ChannelPath& channel : options.channels)
        data.supported_channels |= uint32_t{1} << static_cast<uint32_t>(channel.type);
    data.supports_dmabuf = options.images ? 1 : 0;
    const auto bytes = bytes_of(data);
    return {wire::cross_domain::kCapsetId,
            wire::cross_domain::kCapsetVersion,
            {bytes.begin(), bytes.end()}};
}

std::unexpected<Error> no_pixels(ResourceId resource) {
    return fail(ErrorCode::kUnsupported, "Resource {} is no picture that could be transferred.",
                resource);
}

}  // namespace

Result<std::unique_ptr<CrossDomainRenderer>> CrossDomainRenderer::create(
    Options options, std::shared_ptr<rutabaga::CompletionSink> sink,
    std::shared_ptr<Budget> budget) {
    auto reactor = SWEDE_TRY(Reactor::start());
    return std::unique_ptr<CrossDomainRenderer>(new CrossDomainRenderer(
        std::move(options), std::move(reactor), std::move(sink), std::move(budget)));
}

CrossDomainRenderer::CrossDomainRenderer(Options options, std::unique_ptr<Reactor> reactor,
                                         std::shared_ptr<rutabaga::CompletionSink> sink,
                                         std::shared_ptr<Budget> budget)
    : options_(std::move(options)),
      reactor_(std::move(reactor)),
      sink_(std::move(sink)),
      budget_(std::move(budget)),
      capset_(make_capset(options_)) {}

CrossDomainRenderer::~CrossDomainRenderer() {
    cancelled_->store(true);
    contexts_.clear();  // before the reactor, which closes what they had
}

Context* CrossDomainRenderer::find(ContextId id) {
    const auto found = contexts_.find(id);
    return found == contexts_.end() ? nullptr : found->second.get();
}

void CrossDomainRenderer::when_closed(Completion<> done) {
    reactor_->post([done = std::move(done)]() mutable { done({}); });
}

template <typename Function>
Completion<> CrossDomainRenderer::later(Function function) {
    return Completion<>(sink_, [cancelled = cancelled_,
                                function = std::move(function)](Result<void> result) mutable {
        if (*cancelled) result = fail(ErrorCode::kClosed, "The renderer was reset.");
        function(std::move(result));
    });
}

// --- contexts ---

void CrossDomainRenderer::create_context(ContextId id, const rutabaga::ContextInfo&,
                                         Completion<> done) {
    auto made = std::make_unique<Context>(id, options_, *reactor_, sink_, budget_);
    made->set_paused(paused_);
    contexts_.insert_or_assign(id, std::move(made));
    done({});
}

void CrossDomainRenderer::destroy_context(ContextId id, Completion<> done) {
    contexts_.erase(id);
    when_closed(std::move(done));
}

/// A file of nothing but this memory: a peer that gets a larger one sees, and may write, what is
/// not the guest's to send, above all the whole window.
Result<UniqueFd> CrossDomainRenderer::file_of(const rutabaga::SharedMemory& memory) const {
    const auto file = examine_memory(memory.fd.get());
    if (!file) return fail(ErrorCode::kUnsupported, "It is in a file that is no memory.");
    // Drivers may make a dma-buf larger than what was asked for, and give it to nobody else.
    if (memory.offset == 0 && (file->is_dma_buf || file->size <= memory.size)) {
        UniqueFd fd = memory.fd.duplicate();
        if (!fd) return fail_errno("Cannot duplicate its file", errno);
        return fd;
    }
    if (!options_.window)
        return fail(ErrorCode::kUnsupported, "It is a part of a file, and there is no udmabuf.");
    return options_.window->make(memory.fd.get(), memory.offset, memory.size);
}

/// What has no file, by a limit or by its nature, is attached and cannot be sent.
void CrossDomainRenderer::keep_foreign(ResourceId resource, Attachment& attachment,
                                       const rutabaga::SharedMemory& memory) {
    auto charge = budget_->charge(BudgetKind::kFiles, 1);
    if (!charge) return log_.warn("{}", charge.error().message);
    auto file = file_of(memory);
    if (!file)
        return log_.warn("Resource {} cannot be sent to the host: {}", resource,
                         file.error().message);
    attachment.charge = *std::move(charge);
    attachment.foreign = *std::move(file);
}

void CrossDomainRenderer::attach_resource(ContextId id, ResourceId resource,
                                          const rutabaga::AttachedResource& view) {
    Context* const context = find(id);
    if (context == nullptr) return;
    Attachment attachment;
    attachment.backing = view.backing;
    if (const auto blob = blobs_.find(resource); blob != blobs_.end())
        attachment.blob = blob->second;
    else if (view.memory != nullptr)
        keep_foreign(resource, attachment, *view.memory);
    context->attach(resource, std::move(attachment));
}

void CrossDomainRenderer::detach_resource(ContextId id, ResourceId resource) {
    if (Context* const context = find(id)) context->detach(resource);
}

Result<void> CrossDomainRenderer::submit(ContextId id, std::optional<uint8_t>,
                                         std::span<const std::byte> commands) {
    Context* const context = find(id);
    if (context == nullptr)
        return fail(ErrorCode::kInvalidContext, "The renderer has no context {}.", id);
    return context->submit(commands);
}

void CrossDomainRenderer::create_fence(const rutabaga::Fence& fence) {
    if (Context* const context = find(fence.context))
        context->create_fence(fence);
    else
        sink_->fence_done(fence.ticket);
}

void CrossDomainRenderer::set_paused(bool paused) {
    paused_ = paused;
    for (const auto& [id, context] : contexts_) context->set_paused(paused);
}

// --- resources ---

void CrossDomainRenderer::create_blob(ContextId id, ResourceId resource,
                                      const rutabaga::BlobRequest& request,
                                      std::shared_ptr<Backing>,
                                      Completion<rutabaga::BlobInfo> done) {
    Context* const context = find(id);
    if (context == nullptr)
        return done(fail(ErrorCode::kInvalidContext, "The renderer has no context {}.", id));
    auto made = context->create_blob(request);
    if (!made) return done(std::unexpected(std::move(made).error()));
    const std::shared_ptr<HostBlob> blob = std::move(made->blob);
    const rutabaga::BlobInfo info{blob->map_info()};
    if (made->to_clear) {
        auto memory = blob->map();
        if (!memory) return done(std::unexpected(std::move(memory).error()));
        return clear_later(*reactor_, *std::move(memory), cancelled_,
                           later([this, resource, blob, info,
                                  done = std::move(done)](Result<void> cleared) mutable {
                               if (!cleared)
                                   return done(std::unexpected(std::move(cleared).error()));
                               blobs_.insert_or_assign(resource, blob);
                               done(info);
                           }));
    }
    if (!made->source) {
        blobs_.insert_or_assign(resource, blob);
        return done(info);
    }
    auto files = budget_->charge(BudgetKind::kFiles, kFilesOfCopy);
    if (!files) return done(std::unexpected(std::move(files).error()));
    copy_later(*reactor_, {std::move(made->source), 0}, {blob->duplicate_file(), 0}, blob->size(),
               cancelled_,
               later([this, resource, blob, info, files = *std::move(files),
                      done = std::move(done)](Result<void> copied) mutable {
                   if (!copied) return done(std::unexpected(std::move(copied).error()));
                   blobs_.insert_or_assign(resource, blob);
                   done(info);
               }));
}

void CrossDomainRenderer::create_3d(ResourceId resource, const wire::ResourceCreate3d&,
                                    Completion<> done) {
    done(fail(ErrorCode::kUnsupported, "Resource {} is none of cross-domain.", resource));
}

void CrossDomainRenderer::destroy_resource(ResourceId resource, Completion<> done) {
    blobs_.erase(resource);
    done({});
}

void CrossDomainRenderer::export_blob(ResourceId resource,
                                      Completion<rutabaga::SharedMemory> done) {
    const auto found = blobs_.find(resource);
    if (found == blobs_.end())
        return done(
            fail(ErrorCode::kInvalidResource, "The renderer has no resource {}.", resource));
    done(found->second->share());
}

Result<UniqueFd> CrossDomainRenderer::make_sent(const HostBlob& blob,
                                                const rutabaga::WindowRange& range) const {
    if (!blob.is_shown_in_window()) return UniqueFd();
    if (!options_.window)
        return fail(ErrorCode::kUnsupported, "There is no udmabuf for blobs in the window.");
    return options_.window->make(range.fd, range.offset, blob.size());
}

void CrossDomainRenderer::place_blob(ResourceId resource, const rutabaga::WindowRange& range,
                                     Completion<> done) {
    const auto found = blobs_.find(resource);
    if (found == blobs_.end() || range.size < found->second->size())
        return done(fail(ErrorCode::kInvalidResource,
                         "The renderer has no resource {} for {:#x} bytes of the window.", resource,
                         range.size));
    const std::shared_ptr<HostBlob> blob = found->second;
    auto files = budget_->charge(BudgetKind::kFiles, 1);
    if (!files) return done(std::unexpected(std::move(files).error()));
    auto sent = make_sent(*blob, range);
    if (!sent) return done(std::unexpected(std::move(sent).error()));
    UniqueFd window(::fcntl(range.fd, F_DUPFD_CLOEXEC, 0));
    if (!window) return done(fail_errno("Cannot place a blob", errno));
    if (blob->is_blank()) {
        blob->enter_window(std::move(window), range.offset, *std::move(sent), *std::move(files));
        return done({});
    }
    auto files_of_copy = budget_->charge(BudgetKind::kFiles, kFilesOfCopy);
    if (!files_of_copy) return done(std::unexpected(std::move(files_of_copy).error()));
    UniqueFd copied_to = window.duplicate();
    UniqueFd file = blob->duplicate_file();
    if (!copied_to || !file) return done(fail_errno("Cannot place a blob", errno));
    copy_later(
        *reactor_, {std::move(file), 0}, {std::move(copied_to), range.offset}, blob->size(),
        cancelled_,
        later([blob, window = std::move(window), offset = range.offset, sent = *std::move(sent),
               files = *std::move(files), files_of_copy = *std::move(files_of_copy),
               done = std::move(done)](Result<void> copied) mutable {
            if (copied)
                blob->enter_window(std::move(window), offset, std::move(sent), std::move(files));
            done(std::move(copied));
        }));
}

void CrossDomainRenderer::displace_blob(ResourceId resource, Completion<> done) {
    const auto found = blobs_.find(resource);
    if (found == blobs_.end() || !found->second->is_placed()) return done({});
    const std::shared_ptr<HostBlob> blob = found->second;
    auto window = blob->share();
    UniqueFd file = blob->duplicate_file();
    // What the peer sent it has itself; what the guest wrote there besides is nobody's.
    if (!blob->is_shown_in_window() || !window || !file) {
        blob->leave_window();
        return done({});
    }
    copy_later(*reactor_, {std::move(window->fd), window->offset}, {std::move(file), 0},
               blob->size(), cancelled_,
               later([blob, done = std::move(done)](Result<void> copied) mutable {
                   blob->leave_window();
                   done(std::move(copied));
               }));
}

void CrossDomainRenderer::transfer_to_host(ContextId, ResourceId resource,
                                           const wire::TransferHost3d&, Completion<> done) {
    done(no_pixels(resource));
}

void CrossDomainRenderer::transfer_from_host(ContextId, ResourceId resource,
                                             const wire::TransferHost3d&, Completion<> done) {
    done(no_pixels(resource));
}

void CrossDomainRenderer::reset(Completion<> done) {
    cancelled_->store(true);
    cancelled_ = std::make_shared<std::atomic<bool>>(false);
    contexts_.clear();
    blobs_.clear();
    // A piece that is copied now posts the one that gives up behind what is posted here, and what
    // it answers goes over the device thread twice (later()). So does this: once the reset is
    // answered, all else has been.
    reactor_->post([&reactor = *reactor_, sink = sink_, done = std::move(done)]() mutable {
        reactor.post([sink = std::move(sink), done = std::move(done)]() mutable {
            sink->post([done = std::move(done)]() mutable { done({}); });
        });
    });
}

}  // namespace swede::cross_domain
