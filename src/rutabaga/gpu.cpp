// SPDX-License-Identifier: Apache-2.0
#include "rutabaga/gpu.h"

#include <algorithm>

#include "base/log.h"
#include "rutabaga/gpu_internal.h"
#include "rutabaga/pixel_storage.h"

namespace swede::rutabaga {
namespace {

log::Module log_("rutabaga");

/// A renderer that is gone has nothing left to destroy.
Result<void> destroyed(Result<void> answer) {
    if (!answer && answer.error().code == ErrorCode::kDeviceLost) return {};
    return answer;
}

/// For one answer once all renderers have given theirs.
struct Waiting {
    size_t renderers;  ///< that have not answered
    Completion<> done;
};

}  // namespace

Gpu::Gpu(std::shared_ptr<Budget> budget, std::shared_ptr<CompletionSink> sink,
         std::vector<std::unique_ptr<Renderer>> renderers)
    : budget_(std::move(budget)), sink_(std::move(sink)), renderers_(std::move(renderers)) {}

Gpu::~Gpu() {
    epoch_.reset();
    for (const auto& [id, resource] : resources_) drop_backing(*resource);
}

size_t Gpu::num_capsets() const {
    size_t count = 0;
    for (const auto& renderer : renderers_) count += renderer->capsets().size();
    return count;
}

const Capset* Gpu::capset_at(size_t index) const {
    for (const auto& renderer : renderers_) {
        const auto capsets = renderer->capsets();
        if (index < capsets.size()) return &capsets[index];
        index -= capsets.size();
    }
    return nullptr;
}

const Capset* Gpu::capset(uint32_t id) const {
    for (const auto& renderer : renderers_)
        for (const Capset& capset : renderer->capsets())
            if (capset.id == id) return &capset;
    return nullptr;
}

Renderer* Gpu::renderer_of_3d() const {
    const auto found = std::ranges::find_if(
        renderers_, [](const auto& renderer) { return renderer->owns_3d_resources(); });
    return found == renderers_.end() ? nullptr : found->get();
}

Renderer* Gpu::renderer_of_capset(uint32_t capset_id) const {
    if (capset_id == 0) {
        // A guest without CONTEXT_INIT means the GL renderer that the VIRGL feature stands for.
        if (Renderer* const renderer = renderer_of_3d()) return renderer;
        return renderers_.empty() ? nullptr : renderers_.front().get();
    }
    for (const auto& renderer : renderers_)
        for (const Capset& capset : renderer->capsets())
            if (capset.id == capset_id) return renderer.get();
    return nullptr;
}

Result<Gpu::Context*> Gpu::context_of(ContextId id) {
    const auto found = contexts_.find(id);
    if (found == contexts_.end() || found->second->state != Context::State::kLive)
        return fail(ErrorCode::kInvalidContext, "There is no context {}.", id);
    return found->second.get();
}

Result<Gpu::Context*> Gpu::working_context_of(ContextId id) {
    Context* const context = SWEDE_TRY(context_of(id));
    if (context->lost)
        return fail(ErrorCode::kDeviceLost, "Context {} is lost and can only be destroyed.", id);
    return context;
}

bool Gpu::has_context(ContextId context) const {
    const auto found = contexts_.find(context);
    return found != contexts_.end() && found->second->state == Context::State::kLive;
}

void Gpu::create_context(ContextId id, const ContextInfo& info, Completion<> done) {
    if (id == 0) return done(fail(ErrorCode::kInvalidContext, "Context id 0 cannot be used."));
    if (contexts_.contains(id))
        return done(fail(ErrorCode::kInvalidContext, "Context {} exists.", id));
    Renderer* const renderer = renderer_of_capset(info.capset_id);
    if (renderer == nullptr)
        return done(renderers_.empty()
                        ? fail(ErrorCode::kUnsupported, "No renderer serves contexts.")
                        : fail(ErrorCode::kInvalidParameter, "No renderer offers capset {}.",
                               info.capset_id));
    auto charge = budget_->charge(BudgetKind::kContexts, 1);
    if (!charge) return done(std::unexpected(std::move(charge).error()));

    auto context = std::make_unique<Context>();
    context->id = id;
    context->renderer = renderer;
    context->charge = std::move(*charge);
    contexts_.emplace(id, std::move(context));
    renderer->create_context(id, info,
                             when_answered<void>(std::move(done), [this, id](Result<void> answer) {
                                 if (answer)
                                     contexts_.find(id)->second->state = Context::State::kLive;
                                 else
                                     contexts_.erase(id);
                                 return answer;
                             }));
}

void Gpu::destroy_context(ContextId id, Completion<> done) {
    const auto context = context_of(id);
    if (!context) return done(std::unexpected(context.error()));
    (*context)->state = Context::State::kDestroying;
    for (const auto& [resource, charge] : (*context)->attached)
        std::erase(resources_.find(resource)->second->contexts, id);
    (*context)->attached.clear();
    (*context)->renderer->destroy_context(
        id, when_answered<void>(std::move(done), [this, id](Result<void> answer) {
            contexts_.erase(id);
            return destroyed(std::move(answer));
        }));
}

bool Gpu::attaches_memory(ContextId context_id, ResourceId resource_id) {
    const auto context = context_of(context_id);
    const Resource* const resource = find(resource_id);
    return context && resource != nullptr && (*context)->renderer->wants_memory_of_attached() &&
           resource->renderer != nullptr && resource->renderer != (*context)->renderer &&
           !(*context)->attached.contains(resource_id);
}

void Gpu::attach_with_memory(ContextId context, ResourceId resource, Completion<> done) {
    export_blob(resource,
                when_answered<SharedMemory>(
                    std::move(done), [this, context, resource](const Result<SharedMemory>& memory) {
                        // What is no file can be attached all the same.
                        return attach_resource(context, resource, memory ? &*memory : nullptr);
                    }));
}

Result<void> Gpu::attach_resource(ContextId context_id, ResourceId resource_id,
                                  const SharedMemory* memory) {
    Context* const context = SWEDE_TRY(context_of(context_id));
    Resource* const resource = SWEDE_TRY(resource_of(resource_id));
    if (context->attached.contains(resource_id)) return {};
    Budget::Charge charge = SWEDE_TRY(budget_->charge(BudgetKind::kAttachments, 1));
    context->attached.emplace(resource_id, std::move(charge));
    if (resource->backing) resource->reached_renderer = true;
    resource->contexts.push_back(context_id);
    context->renderer->attach_resource(context_id, resource_id,
                                       {resource->size, resource->backing, memory});
    return {};
}

Result<void> Gpu::detach_resource(ContextId context_id, ResourceId resource_id) {
    const auto context = context_of(context_id);
    if (!context || (*context)->attached.erase(resource_id) == 0) return {};
    std::erase(resources_.find(resource_id)->second->contexts, context_id);
    (*context)->renderer->detach_resource(context_id, resource_id);
    return {};
}

void Gpu::detach_everywhere(Resource& resource) {
    for (const ContextId id : resource.contexts) {
        Context& context = *contexts_.find(id)->second;
        context.attached.erase(resource.id);
        context.renderer->detach_resource(id, resource.id);
    }
    resource.contexts.clear();
}

void Gpu::lose_context(ContextId id, const Error& why) {
    const auto found = contexts_.find(id);
    if (found == contexts_.end() || found->second->lost) return;
    log_.warn("Context {} is lost: {}", id, why.message);
    found->second->lost = true;
}

Result<void> Gpu::submit(ContextId id, std::optional<uint8_t> ring,
                         std::span<const std::byte> commands) {
    Context* const context = SWEDE_TRY(working_context_of(id));
    return context->renderer->submit(id, ring, commands);
}

bool Gpu::create_fence(const Fence& fence) {
    const auto found = contexts_.find(fence.context);
    if (found == contexts_.end() || found->second->state != Context::State::kLive ||
        found->second->lost)
        return false;
    found->second->renderer->create_fence(fence);
    return true;
}

void Gpu::destroy_resource(ResourceId id, Completion<> done) {
    const auto found = resource_of(id);
    if (!found) return done(std::unexpected(found.error()));
    Resource& resource = **found;
    detach_everywhere(resource);
    drop_backing(resource);
    if (resource.renderer == nullptr && !resource.reached_renderer) {
        resources_.erase(id);
        return done({});
    }
    resource.state = Resource::State::kDestroying;
    auto gone = when_answered<void>(std::move(done), [this, id](Result<void> answer) {
        resources_.erase(id);
        return destroyed(std::move(answer));
    });
    if (resource.renderer != nullptr)
        resource.renderer->destroy_resource(id, std::move(gone));
    else
        settle_detaches(std::move(gone));
}

void Gpu::settle_detaches(Completion<> done) {
    if (renderers_.empty()) return done({});
    const auto waiting = std::make_shared<Waiting>(renderers_.size(), std::move(done));
    for (const auto& renderer : renderers_)
        renderer->settle_detaches(Completion<>(sink_, [waiting](Result<void>) {
            // A renderer that fails to answer is gone, and reaches nothing.
            if (--waiting->renderers == 0) waiting->done({});
        }));
}

void Gpu::set_paused(bool paused) {
    for (const auto& renderer : renderers_) renderer->set_paused(paused);
}

void Gpu::reset(Completion<> done) {
    epoch_ = std::make_shared<Epoch>();  // answers to earlier calls change nothing any more
    for (const auto& [id, resource] : resources_) drop_backing(*resource);
    resources_.clear();
    contexts_.clear();
    given_.clear();
    if (renderers_.empty()) return done({});

    const auto waiting = std::make_shared<Waiting>(renderers_.size(), std::move(done));
    for (const auto& renderer : renderers_)
        renderer->reset(Completion<>(sink_, [waiting](Result<void> answer) {
            // What a renderer cannot forget it lost: the guest's things are gone either way.
            if (!answer) log_.warn("A renderer failed to reset: {}", answer.error().message);
            if (--waiting->renderers == 0) waiting->done({});
        }));
}

}  // namespace swede::rutabaga
