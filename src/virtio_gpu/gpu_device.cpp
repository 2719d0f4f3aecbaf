// SPDX-License-Identifier: Apache-2.0
#include "virtio_gpu/gpu_device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/log.h"
#include "virtio_gpu/completion_queue.h"
#include "virtio_gpu/edid.h"
#include "virtio_gpu/processor.h"

namespace swede::virtio_gpu {
namespace {

log::Module log_("virtio_gpu");

/// Checks what the program asks for; none of it is the guest's.
Result<void> check_outputs(std::span<const OutputSize> outputs) {
    if (outputs.empty() || outputs.size() > wire::kMaxScanouts)
        return fail(ErrorCode::kInvalidParameter, "A device has 1 to {} outputs, not {}.",
                    wire::kMaxScanouts, outputs.size());
    for (const OutputSize& output : outputs)
        if (output.width == 0 || output.width > kMaxEdidSize || output.height == 0 ||
            output.height > kMaxEdidSize)
            return fail(ErrorCode::kInvalidParameter, "An output of {}x{} px is not 1x1 to {}x{}.",
                        output.width, output.height, kMaxEdidSize, kMaxEdidSize);
    return {};
}

class GpuDeviceImpl final : public GpuDevice, private CompletionQueue::Receiver {
  public:
    GpuDeviceImpl(EventLoop& loop, const Options& options, const DoorAbilities& door,
                  virtio::GuestMemory& memory, HostVisibleWindow& window, virtio::DeviceHost& host,
                  rutabaga::DisplaySink& sink)
        : door_(door),
          memory_(memory),
          window_(window),
          host_(host),
          completions_(CompletionQueue::create(loop, *this)),
          queues_{virtio::Virtqueue(memory), virtio::Virtqueue(memory)},
          scanouts_(options.outputs, sink),
          cursors_(scanouts_.count(), sink) {}

    ~GpuDeviceImpl() override {
        completions_->close();
        processor_.reset();
        mapper_.reset();
        gpu_.reset();  // the renderers let go of the window before it is emptied
        window_.reset();
        scanouts_.reset();
        cursors_.reset();
    }

    [[nodiscard]] Result<void> start(EventLoop& loop, const Options& options);

    [[nodiscard]] uint64_t features() const override;
    void set_features(uint64_t features) override {
        processor_->set_features(features & this->features());
    }
    [[nodiscard]] std::span<virtio::Virtqueue> queues() override { return queues_; }
    void read_config(uint32_t offset, std::span<std::byte> to) override;
    void write_config(uint32_t offset, std::span<const std::byte> from) override;
    void process_queue(uint16_t queue) override;
    void set_paused(bool paused) override { gpu_->set_paused(paused); }
    void reset(std::move_only_function<void()> done) override;

    [[nodiscard]] Result<void> set_output(uint32_t scanout, const OutputSize& size) override;
    [[nodiscard]] std::span<const OutputSize> outputs() const override {
        return scanouts_.outputs();
    }
    [[nodiscard]] Census census() const override;

  private:
    void on_fence_done(uint64_t ticket) override { processor_->fence_done(ticket); }
    void on_context_lost(rutabaga::ContextId context, const Error& why) override {
        // One that is reported during a reset is of the guest that is gone.
        if (resets_.empty()) processor_->context_lost(context, why);
    }
    void on_drained() override { processor_->settle(); }

    void serve(uint16_t queue);
    void look_for_share();
    void reset_done();
    [[nodiscard]] bool has_3d() const { return gpu_->num_capsets() != 0; }

    DoorAbilities door_;
    virtio::GuestMemory& memory_;
    HostVisibleWindow& window_;
    virtio::DeviceHost& host_;
    std::shared_ptr<CompletionQueue> completions_;
    std::array<virtio::Virtqueue, kNumQueues> queues_;
    Scanouts scanouts_;
    Cursors cursors_;
    Budget::Charge window_charge_;  ///< what the guest can fill of the window (decision 9)
    std::unique_ptr<rutabaga::Gpu> gpu_;
    std::unique_ptr<BlobMapper> mapper_;
    std::unique_ptr<Processor> processor_;
    std::array<bool, kNumQueues> posted_{};  ///< the rest of a batch is posted
    bool served_ = false;                    ///< there was a command since the reset
    bool asked_ = false;  ///< the control queue was empty when we were asked to serve it
    bool told_unshared_ = false;
    std::vector<std::move_only_function<void()>> resets_;  ///< to call when the renderers let go
};

Result<void> GpuDeviceImpl::start(EventLoop& loop, const Options& options) {
    Budget::Limits limits = options.limits;
    uint64_t& host_bytes = limits[static_cast<size_t>(BudgetKind::kHostBytes)];
    host_bytes = checked_add(host_bytes, window_.committed()).value_or(~uint64_t{0});
    const std::shared_ptr<Budget> budget = Budget::create(limits);
    window_charge_ = SWEDE_TRY(budget->charge(BudgetKind::kHostBytes, window_.committed()));
    std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
    if (options.renderers)
        renderers = SWEDE_TRY(
            options.renderers({loop, memory_, completions_, budget, window_.is_static()}));
    std::set<uint32_t> ids;
    for (const auto& renderer : renderers)
        for (const rutabaga::Capset& capset : renderer->capsets())
            if (!ids.insert(capset.id).second)
                return fail(ErrorCode::kInvalidParameter, "Two renderers offer capset {}.",
                            capset.id);
    gpu_ = std::make_unique<rutabaga::Gpu>(budget, completions_, std::move(renderers));
    mapper_ = std::make_unique<BlobMapper>(*gpu_, scanouts_, window_);
    processor_ = std::make_unique<Processor>(Processor::Parts{.gpu = *gpu_,
                                                              .scanouts = scanouts_,
                                                              .cursors = cursors_,
                                                              .mapper = *mapper_,
                                                              .memory = memory_,
                                                              .queues = queues_,
                                                              .host = host_});
    return {};
}

/// Decision 13: what has handlers, and the door passes, and a renderer stands behind.
uint64_t GpuDeviceImpl::features() const {
    uint64_t wanted = wire::kFeatureEdid | wire::kFeatureResourceUuid;
    if (door_.blobs) wanted |= wire::kFeatureResourceBlob;
    if (door_.virgl && has_3d()) wanted |= wire::kFeatureVirgl;
    // CTX_CREATE and the fences' rings take the bit into account; it has no command of its own.
    const uint64_t handled = features_with_handlers();
    if (door_.blobs && has_3d() && (handled & wire::kFeatureVirgl) != 0)
        return (wanted & handled) | wire::kFeatureContextInit;
    return wanted & handled;
}

void GpuDeviceImpl::read_config(uint32_t offset, std::span<std::byte> to) {
    const bool with_3d = (features() & wire::kFeatureVirgl) != 0;
    const wire::Config config =
        scanouts_.config(with_3d ? static_cast<uint32_t>(gpu_->num_capsets()) : 0);
    std::ranges::fill(to, std::byte{0});
    if (offset >= sizeof(config)) return;
    const auto bytes = bytes_of(config).subspan(offset);
    std::ranges::copy(bytes.first(std::min(bytes.size(), to.size())), to.begin());
}

void GpuDeviceImpl::write_config(uint32_t offset, std::span<const std::byte> from) {
    constexpr uint32_t kAt = offsetof(wire::Config, events_clear);
    uint32_t clear = 0;
    for (uint32_t i = 0; i < sizeof(clear); ++i)
        if (kAt + i >= offset && kAt + i - offset < from.size())
            clear |= std::to_integer<uint32_t>(from[kAt + i - offset]) << (8 * i);
    if (scanouts_.clear_events(clear)) host_.config_interrupt();
}

void GpuDeviceImpl::process_queue(uint16_t queue) {
    if (queue < kNumQueues && resets_.empty()) serve(queue);
}

void GpuDeviceImpl::serve(uint16_t index) {
    virtio::Virtqueue& queue = queues_[index];
    if (!queue.enabled() || queue.broken()) return;
    const Processor::Served served = processor_->serve(index);
    if (served.commands != 0)
        served_ = true;
    else if (index == wire::kControlQueue && !served_)
        look_for_share();
    if (!served.more || std::exchange(posted_[index], true)) return;
    completions_->post([this, index] {
        posted_[index] = false;
        process_queue(index);
    });
}

/// A driver's first notification over empty rings: guest RAM that is not shared looks like that,
/// and nothing else tells. The first time may be the transport that has just enabled the queue.
void GpuDeviceImpl::look_for_share() {
    if (!std::exchange(asked_, true) || told_unshared_ ||
        !queues_[wire::kControlQueue].looks_unshared())
        return;
    told_unshared_ = true;
    log_.error(
        "The guest notified the control queue, and its ring reads as zero: the guest's memory is "
        "not shared with the device. QEMU's memory backend needs share=on (-object "
        "memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0).");
}

void GpuDeviceImpl::reset(std::move_only_function<void()> done) {
    resets_.push_back(std::move(done));
    for (virtio::Virtqueue& queue : queues_) queue.reset();
    processor_->reset();
    mapper_->clear();
    scanouts_.reset();
    cursors_.reset();
    served_ = false;
    asked_ = false;
    if (resets_.size() > 1) return;  // the renderers are letting go already
    gpu_->reset(rutabaga::Completion<>(completions_, [this](Result<void>) { reset_done(); }));
}

void GpuDeviceImpl::reset_done() {
    window_.reset();  // after the renderers: nothing writes to it any more
    auto resets = std::exchange(resets_, {});
    for (uint16_t queue = 0; queue < kNumQueues; ++queue)
        if (queues_[queue].enabled()) completions_->post([this, queue] { process_queue(queue); });
    // Last: one of them may end the device.
    for (auto& done : resets) done();
}

Result<void> GpuDeviceImpl::set_output(uint32_t scanout, const OutputSize& size) {
    if (SWEDE_TRY(scanouts_.set_output(scanout, size))) host_.config_interrupt();
    return {};
}

Census GpuDeviceImpl::census() const {
    return {.resources = gpu_->num_resources(),
            .contexts = gpu_->num_contexts(),
            .mappings = mapper_->count(),
            .pending_commands = processor_->pending_commands(),
            .pending_fences = processor_->pending_fences(),
            .host_bytes = gpu_->budget().used(BudgetKind::kHostBytes) - window_charge_.amount(),
            .commands = processor_->commands()};
}

}  // namespace

Result<std::unique_ptr<GpuDevice>> GpuDevice::create(
    EventLoop& loop, const Options& options, const DoorAbilities& door, virtio::GuestMemory& memory,
    HostVisibleWindow& window, virtio::DeviceHost& host, rutabaga::DisplaySink& sink) {
    SWEDE_TRY(check_outputs(options.outputs));
    auto device = std::make_unique<GpuDeviceImpl>(loop, options, door, memory, window, host, sink);
    SWEDE_TRY(device->start(loop, options));
    return device;
}

}  // namespace swede::virtio_gpu
