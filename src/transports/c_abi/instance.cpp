// SPDX-License-Identifier: Apache-2.0
#include "transports/c_abi/instance.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "transports/c_abi/capset_names.h"
#include "transports/c_abi/qemu_quirks.h"

namespace swede::c_abi {
namespace {

constexpr size_t kKeptCommandBytes = 64 << 10;  // of memory between submissions

/// This thread is the device thread while it lives.
class Turn {
  public:
    explicit Turn(WaitingSink& sink) : sink_(sink) { sink_.enter(); }
    ~Turn() { sink_.leave(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

  private:
    WaitingSink& sink_;
};

std::string name_or_number(uint32_t capset) {
    const std::string_view name = capset_name(capset);
    return name.empty() ? fmt::format("{}", capset) : fmt::format("{} ({})", capset, name);
}

}  // namespace

Instance::Instance(Options options)
    : options_(std::move(options)),
      budget_(Budget::create(options_.limits)),
      callbacks_(CallbackQueue::create(options_.callbacks)),
      fences_(std::make_shared<FenceBook>(callbacks_)),
      sink_(std::make_shared<WaitingSink>(fences_, callbacks_)),
      mapped_(options_.clock) {}

Instance::~Instance() {
    finish();
}

Result<std::shared_ptr<Instance>> Instance::create(Options options,
                                                   const RendererFactory& factory) {
    std::shared_ptr<Instance> instance(new Instance(std::move(options)));
    Result<void> started = instance->start(factory);
    if (!started) {
        instance->callbacks_->push_message(RUTABAGA_DEBUG_ERROR,
                                           "rutabaga_init: " + started.error().message);
        instance->finish();
        return std::unexpected(std::move(started).error());
    }
    instance->callbacks_->deliver();
    return instance;
}

Result<void> Instance::start(const RendererFactory& factory) {
    const std::scoped_lock lock(mutex_);
    const Turn turn(*sink_);
    MadeRenderers made;
    if (options_.capset_mask != 0)
        made = factory(
            {options_.capset_mask, options_.channels, options_.renderer_features, budget_, sink_});
    for (std::string& complaint : made.complaints) warn(std::move(complaint));
    const bool any = !made.renderers.empty();
    gpu_ = std::make_unique<rutabaga::Gpu>(budget_, sink_, std::move(made.renderers));
    sink_->on_context_lost([this](rutabaga::ContextId context, const Error& why) {
        gpu_->lose_context(context, why);
    });

    uint64_t missing = options_.capset_mask;
    for (size_t i = 0; i < gpu_->num_capsets(); ++i)
        missing &= ~(uint64_t{1} << (gpu_->capset_at(i)->id % 64));
    for (uint64_t left = missing; left != 0; left &= left - 1)
        warn(fmt::format("Capset {} is not to be had.",
                         name_or_number(static_cast<uint32_t>(std::countr_zero(left)))));
    // QEMU takes an instance without a capset for one that failed, does not say so, and crashes.
    if (options_.capset_mask != 0 && gpu_->num_capsets() == 0)
        return fail(ErrorCode::kUnsupported, "No capset of the mask {:#x} is to be had.",
                    options_.capset_mask);
    if (any) return callbacks_->start_thread();
    return {};
}

Result<void> Instance::run_call(const std::function<Result<void>(Instance&)>& function) {
    const std::scoped_lock lock(mutex_);
    if (!gpu_) return fail(ErrorCode::kInvalidParameter, "The instance is finished.");
    const Turn turn(*sink_);
    sink_->run_posted();
    return function(*this);
}

int32_t Instance::finish_call(std::string_view name, Result<void> result) {
    if (!result)
        callbacks_->push_message(RUTABAGA_DEBUG_ERROR,
                                 fmt::format("{}: {}", name, result.error().message));
    callbacks_->deliver();
    return result ? 0 : -errno_of(result.error().code);
}

bool Instance::finish() {
    bool was_alive = false;
    {
        const std::scoped_lock lock(mutex_);
        const Turn turn(*sink_);
        was_alive = gpu_ != nullptr;
        gpu_.reset();
        mapped_.clear();
        sink_->close();
        fences_->complete_all();
        commands_ = {};
    }
    callbacks_->close();
    return was_alive;
}

void Instance::warn(std::string sentence) {
    callbacks_->push_message(RUTABAGA_DEBUG_WARN, std::move(sentence));
}

uint32_t Instance::num_capsets() const {
    return static_cast<uint32_t>(gpu_->num_capsets());
}

Result<const rutabaga::Capset*> Instance::capset_at(uint32_t index) const {
    if (const rutabaga::Capset* const capset = gpu_->capset_at(index)) return capset;
    return fail(ErrorCode::kInvalidParameter, "There are {} capsets and no number {}.",
                gpu_->num_capsets(), index);
}

Result<void> Instance::get_capset(uint32_t id, uint32_t version, std::span<uint8_t> to) {
    std::ranges::fill(to, uint8_t{0});
    const rutabaga::Capset* const capset = gpu_->capset(id);
    if (capset == nullptr || version > capset->version)
        return fail(ErrorCode::kInvalidParameter, "Capset {} in version {} is not offered.", id,
                    version);
    const size_t size = std::min(to.size(), capset->data.size());
    if (size != 0) std::memcpy(to.data(), capset->data.data(), size);
    return {};
}

Result<void> Instance::create_context(uint32_t id, uint32_t context_init, std::string name) {
    if (gpu_->has_context(id)) {
        // QEMU keeps quiet about contexts that end with the guest's system.
        warn(fmt::format("Context {} is made anew: it was not destroyed.", id));
        SWEDE_TRY(destroy_context(id));
    }
    fences_->add_context(id);  // before it can be lost
    Result<void> created = ask([&](auto done) {
        gpu_->create_context(id, {context_init & wire::kContextInitCapsetIdMask, std::move(name)},
                             std::move(done));
    });
    if (!created) fences_->remove_context(id);
    return created;
}

Result<void> Instance::destroy_context(uint32_t id) {
    SWEDE_TRY(check_context(id));
    Result<void> destroyed = ask([&](auto done) { gpu_->destroy_context(id, std::move(done)); });
    fences_->remove_context(id);
    return destroyed;
}

Result<void> Instance::check_context(uint32_t context) const {
    if (gpu_->has_context(context)) return {};
    return fail(ErrorCode::kInvalidContext, "There is no context {}.", context);
}

Result<void> Instance::attach_resource(uint32_t context, uint32_t resource) {
    if (!gpu_->attaches_memory(context, resource)) return gpu_->attach_resource(context, resource);
    return ask([&](auto done) { gpu_->attach_with_memory(context, resource, std::move(done)); });
}

Result<void> Instance::detach_resource(uint32_t context, uint32_t resource) {
    return gpu_->detach_resource(context, resource);
}

Result<void> Instance::submit(uint32_t context, std::span<const uint8_t> commands) {
    SWEDE_TRY(check_context(context));
    if (commands.size() > qemu::kMaxCommandBytes)
        return fail(ErrorCode::kOutOfMemory, "{} bytes of commands are more than {}.",
                    commands.size(), qemu::kMaxCommandBytes);
    // The VMM may hand over the guest's own memory: renderers read each byte once (I3).
    commands_.assign(commands.begin(), commands.end());
    Result<void> submitted =
        gpu_->submit(context, std::nullopt, std::as_bytes(std::span(commands_)));
    if (commands_.capacity() > kKeptCommandBytes) commands_ = {};
    return submitted;
}

/// QEMU leaves a command whose fence is refused without an answer for ever, so none is.
Result<void> Instance::create_fence(const rutabaga_fence& fence) {
    const std::optional<uint32_t> ring = qemu::ring_of(fence);
    if (ring && *ring > UINT8_MAX) {
        warn(fmt::format("Fence {} is reached at once: there is no ring {}.", fence.fence_id,
                         *ring));
        callbacks_->push_fence(fence);
        return {};
    }
    auto charge = budget_->charge(BudgetKind::kPendingFences, 1);
    if (!charge) {
        warn(
            fmt::format("Fence {} is reached at once: {}", fence.fence_id, charge.error().message));
        callbacks_->push_fence(fence);
        return {};
    }
    std::optional<uint8_t> short_ring;
    if (ring) short_ring = static_cast<uint8_t>(*ring);
    const uint64_t ticket = fences_->accept(fence, short_ring, *std::move(charge));
    if (!fences_->is_lost(fence.ctx_id) &&
        gpu_->create_fence({ticket, fence.fence_id, fence.ctx_id, short_ring}))
        return {};
    if (ring && !gpu_->has_context(fence.ctx_id))
        warn(fmt::format("Fence {} is reached at once: there is no context {}.", fence.fence_id,
                         fence.ctx_id));
    fences_->complete(ticket);
    return {};
}

}  // namespace swede::c_abi
