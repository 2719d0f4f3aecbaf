// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rutabaga_gfx/rutabaga_gfx_ffi.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "base/fd.h"
#include "rutabaga/gpu.h"
#include "transports/c_abi/callback_queue.h"
#include "transports/c_abi/fence_book.h"
#include "transports/c_abi/mapped_blobs.h"
#include "transports/c_abi/renderers.h"
#include "transports/c_abi/waiting_sink.h"

namespace swede::c_abi {

/// A descriptor that the VMM gave away, and what it says of it.
struct GivenHandle {
    UniqueFd fd;
    uint32_t type = 0;  ///< RUTABAGA_HANDLE_TYPE_*

    [[nodiscard]] bool is_none() const { return !fd && type == 0; }
};

/// What rutabaga_init() was asked for.
struct Options {
    Callbacks callbacks;  ///< with a fence callback
    uint64_t capset_mask = 0;
    std::vector<Channel> channels;
    std::string renderer_features;
    Budget::Limits limits = Budget::default_limits();
    /// For a renderer's answer; a call that waits longer fails. As for a renderer process.
    std::chrono::milliseconds answer_limit{10'000};
    MappedBlobs::Clock clock = std::chrono::steady_clock::now;
};

/// One guest's GPU in the VMM's process: what stands behind a `struct rutabaga`. Owned by the table
/// of instances and by the calls that are in it.
///
/// Calls come through call(), from any thread, one at a time; the one that is in is the device
/// thread. Callbacks go out after it, and from a thread of the CallbackQueue if there are
/// renderers.
class Instance {
  public:
    [[nodiscard]] static Result<std::shared_ptr<Instance>> create(
        Options options, const RendererFactory& factory = make_renderers);
    ~Instance();
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

    /// Runs `function` (Result<void>(Instance&)), which may call the functions below, then the
    /// callbacks. 0 or a negative errno; `name` is for the message that tells the error.
    template <typename Function>
    [[nodiscard]] int32_t call(std::string_view name, Function function) {
        return finish_call(name, run_call(std::ref(function)));
    }
    /// rutabaga_finish(). False when it has been called before.
    bool finish();

    [[nodiscard]] uint32_t num_capsets() const;
    [[nodiscard]] Result<const rutabaga::Capset*> capset_at(uint32_t index) const;
    /// Fills all of `to`.
    [[nodiscard]] Result<void> get_capset(uint32_t id, uint32_t version, std::span<uint8_t> to);

    [[nodiscard]] Result<void> create_context(uint32_t id, uint32_t context_init, std::string name);
    [[nodiscard]] Result<void> destroy_context(uint32_t id);
    [[nodiscard]] Result<void> attach_resource(uint32_t context, uint32_t resource);
    [[nodiscard]] Result<void> detach_resource(uint32_t context, uint32_t resource);
    [[nodiscard]] Result<void> submit(uint32_t context, std::span<const uint8_t> commands);
    [[nodiscard]] Result<void> create_fence(const rutabaga_fence& fence);

    // Resources: instance_resources.cpp.
    [[nodiscard]] Result<void> create_3d(uint32_t id, rutabaga_create_3d request);
    [[nodiscard]] Result<void> create_blob(uint32_t context, uint32_t id,
                                           const rutabaga_create_blob& request,
                                           std::span<const iovec> memory, GivenHandle handle);
    [[nodiscard]] Result<void> import_resource(uint32_t id, GivenHandle handle,
                                               const rutabaga_import_data& data);
    [[nodiscard]] Result<void> unref(uint32_t id);
    [[nodiscard]] Result<void> attach_backing(uint32_t id, std::span<const iovec> memory);
    [[nodiscard]] Result<void> detach_backing(uint32_t id);
    /// `to` null: the backing.
    [[nodiscard]] Result<void> transfer_read(uint32_t context, uint32_t id,
                                             const rutabaga_transfer& transfer, const iovec* to);
    [[nodiscard]] Result<void> transfer_write(uint32_t context, uint32_t id,
                                              const rutabaga_transfer& transfer);
    [[nodiscard]] Result<rutabaga_handle> export_blob(uint32_t id);
    [[nodiscard]] Result<rutabaga_mapping> map(uint32_t id);
    [[nodiscard]] Result<void> unmap(uint32_t id);
    [[nodiscard]] Result<uint32_t> map_info(uint32_t id);

    // What snapshots and tests look at.
    [[nodiscard]] rutabaga::Gpu& gpu() { return *gpu_; }
    [[nodiscard]] size_t pending_fences() const { return fences_->pending(); }
    [[nodiscard]] const MappedBlobs& mapped() const { return mapped_; }
    void warn(std::string sentence);

  private:
    explicit Instance(Options options);

    [[nodiscard]] Result<void> start(const RendererFactory& factory);
    [[nodiscard]] Result<void> run_call(const std::function<Result<void>(Instance&)>& function);
    [[nodiscard]] int32_t finish_call(std::string_view name, Result<void> result);
    /// Calls `begin` with a Completion and waits for its answer.
    template <typename T = void, typename Begin>
    [[nodiscard]] Result<T> ask(Begin begin);

    [[nodiscard]] Result<rutabaga::Resource*> find(uint32_t id);
    [[nodiscard]] Result<rutabaga::Resource*> find_mappable(uint32_t id);
    [[nodiscard]] Result<void> check_context(uint32_t context) const;
    [[nodiscard]] Result<void> read_pixels(const rutabaga::Resource& resource,
                                           const rutabaga_transfer& transfer, const iovec& to);

    const Options options_;
    const std::shared_ptr<Budget> budget_;
    const std::shared_ptr<CallbackQueue> callbacks_;
    const std::shared_ptr<FenceBook> fences_;
    const std::shared_ptr<WaitingSink> sink_;

    std::mutex mutex_;  ///< of calls; guards what follows. No callback runs under it.
    std::unique_ptr<rutabaga::Gpu> gpu_;  ///< null once finished
    MappedBlobs mapped_;
    std::vector<uint8_t> commands_;  ///< of a submission; kept for its memory
};

template <typename T, typename Begin>
Result<T> Instance::ask(Begin begin) {
    // Shared, for an answer that comes when nobody waits for it any more.
    const auto answer = std::make_shared<std::optional<Result<T>>>();
    begin(rutabaga::Completion<T>(
        sink_, [answer](Result<T> result) { answer->emplace(std::move(result)); }));
    if (!sink_->run_until([&answer] { return answer->has_value(); }, options_.answer_limit))
        return fail(ErrorCode::kDeviceLost, "A renderer has not answered within {} ms.",
                    options_.answer_limit.count());
    return *std::move(*answer);
}

}  // namespace swede::c_abi
